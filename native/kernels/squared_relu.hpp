#pragma once

#include "../kernel.hpp"

namespace rectifier {
namespace {
namespace squared_relu {

// NaN is not <= 0, so it goes on; -0.0 becomes +0.0.
template <class V>
inline V positive_part(V x) {
  return select(x <= V(0.0f), V(0.0f), x);
}

// 11 or 8 bits squared are exact in float32, but for bfloat16 near its subnormals, where no 16-bit
// square has both the tie's bit and one that float32 drops.
struct value {
  static constexpr lanes on = lanes::same;
  template <class Storage, class V>
  static V apply(V x) {
    V above = positive_part(x);
    return above * above;
  }
};

struct derivative {
  static constexpr lanes on = lanes::same;
  template <class Storage, class V>
  static V apply(V x) {
    V above = positive_part(x);
    return above + above;
  }
};

// From h = f(x): 2 sqrt(h).
struct derivative_from_output {
  static constexpr lanes on = lanes::same;
  template <class Storage, class V>
  static V apply(V h) {
    V root = sqrt(h);
    return root + root;
  }
};

}  // namespace squared_relu
}  // namespace
}  // namespace rectifier
