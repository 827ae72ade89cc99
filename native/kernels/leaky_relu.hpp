#pragma once

#include "../kernel.hpp"
#include "../math/quick.hpp"

namespace rectifier {
namespace {
namespace leaky_relu {

template <class V>
struct slope {
  V below;       // the slope left of 0
  V lowest;      // inputs are raised to this
  V tiny;        // products of inputs from here to 0 may be subnormals of float16
  bool bounded;  // no lane of `lowest` acts
};

// float16 alone has subnormals that are not float32's too.
template <class Storage>
constexpr bool own_subnormals = false;
template <>
constexpr bool own_subnormals<half> = true;

// Lanes whose product, rounded to float32, may be a tie of the 16-bit format without being one
// before. A tie of bfloat16 has the same bits everywhere; one of float16 moves in its subnormals.
template <class Storage, class V>
inline typename V::mask near_tie(V x, V product, V tiny) {
  constexpr uint32_t dropped = quick::dropped<Storage>;
  V moved = int_add(product, from_bits32<V>(uint32_t{1} << (dropped - 1)));
  auto tie = no_bits(moved, from_bits32<V>((uint32_t{1} << dropped) - 1));
  if constexpr (!own_subnormals<Storage>) return tie;
  return tie | (x > tiny);
}

struct value {
  static constexpr lanes on = lanes::same;

  template <class Storage, class V>
  static slope<V> prepare(V negative_slope) {
    // 0 * -inf would be NaN; 0 times the most negative finite number has the limit's value and
    // sign.
    V finite(is_double<Storage> ? -0x1.fffffffffffffp1023 : -0x1.fffffep127f);
    auto none = negative_slope == V(0.0f);
    V tiny = V(0.0f);
    if constexpr (own_subnormals<Storage>) {
      // 2^-14 over the slope, and a little more. With a small slope all products are such, with a
      // large one none; with 0 they are exact.
      V size = abs_bits(negative_slope);
      auto usual = (size >= V(0x1p-40f)) & (size <= V(0x1p40f));
      V quotient = V(-0x1.01p-14f) / select(usual, size, V(1.0f));
      tiny =
          select(usual, quotient, select(none | (size > V(1.0f)), V(0.0f), V(-__builtin_inff())));
    }
    return {negative_slope, select(none, finite, V(-__builtin_inff())), tiny, movemask(none) == 0};
  }

  template <class Storage, class V>
  static V apply(V x, slope<V> s) {
    V factor = select(x > V(0.0f), V(1.0f), s.below);
    V bounded = s.bounded ? x : select(x < s.lowest, s.lowest, x);
    V product = bounded * factor;
    if constexpr (quick::is_short<Storage>) {
      auto open = near_tie<Storage>(x, product, s.tiny) & (x < V(0.0f));
      if (__builtin_expect(movemask(open) != 0, 0)) {
        auto exact = [](f64 a, f64 b) { return a * b; };
        return quick::in_double_apart<Storage>(exact, bounded, factor);
      }
    }
    return product;
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
