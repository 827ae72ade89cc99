#pragma once

#include "../kernel.hpp"

namespace rectifier {
namespace {
namespace leaky_relu {

template <class V>
struct slope {
  V below;   // the slope left of 0
  V lowest;  // inputs are raised to this
};

struct value {
  static constexpr lanes on = lanes::product;

  template <class Storage, class V>
  static slope<V> prepare(V negative_slope) {
    // 0 * -inf would be NaN; 0 times the most negative finite number has the limit's value and
    // sign.
    V finite(is_double<Storage> ? -0x1.fffffffffffffp1023 : -0x1.fffffep127f);
    return {negative_slope, select(negative_slope == V(0.0f), finite, V(-__builtin_inff()))};
  }

  template <class Storage, class V>
  static V apply(V x, slope<V> s) {
    V factor = select(x > V(0.0f), V(1.0f), s.below);
    return select(x < s.lowest, s.lowest, x) * factor;
  }
};

struct derivative {
  static constexpr lanes on = lanes::same;
  template <class Storage, class V>
  static V apply(V x, V negative_slope) {
    return nan_or(x, select(x > V(0.0f), V(1.0f), negative_slope));
  }
};

// By the slope: min(0, x).
struct slope_derivative {
  static constexpr lanes on = lanes::same;
  template <class Storage, class V>
  static V apply(V x) {
    return select(x > V(0.0f), V(0.0f), x);
  }
};

struct inverse {
  static constexpr lanes on = lanes::product;
  template <class Storage, class V>
  static V apply(V h, V negative_slope) {
    return h / select(h > V(0.0f), V(1.0f), negative_slope);
  }
};

}  // namespace leaky_relu
}  // namespace
}  // namespace rectifier
