#pragma once

#include "sigmoid.hpp"

namespace rectifier {
namespace {
namespace tanh {

// With u = e^(-2|x|) - 1, tanh |x| = -u / (2 + u): no digits cancel at either end.
//
// From 400 on the result is 1, and doubling a larger |x| could overflow.
template <class V>
inline V doubled(V x) {
  V size = abs_bits(x);
  return V(2.0f) * select(size < V(400.0f), size, V(400.0f));
}

struct value {
  static constexpr lanes on = lanes::same;
  template <class Storage, class V>
  static V apply(V x) {
    V result;
    if constexpr (is_double<Storage>) {
      dd<V> u = wide::expm1(dd<V>{-doubled(x), V(0.0)}).significand;
      result = rectifier::value(divide(-u, add(V(2.0), u)));
    } else {
      auto exact = [](f64 z) {
        f64 u = narrow::expm1(-doubled(z));
        return -u / (f64(2.0) + u);
      };
      if constexpr (quick::is_short<Storage>) {
        auto u = quick::normalised(quick::expm1_below<Storage>(-doubled(x)));
        dd<V> bottom = quick::plus(V(2.0f), u);
        V reciprocal = V(1.0f) / bottom.hi;
        quick::approximation<V> top{-u.hi, -u.lo, u.error};
        auto ratio = quick::quotient<Storage>(top, bottom, reciprocal);
        result = quick::settled<Storage>(ratio, ~(is_nan(x) | (x == V(0.0f))), exact, x);
      } else {
        // Near 0 a quick path in pairs leaves every fifth lane open: slower than the double one.
        result = quick::in_double<Storage>(exact, x);
      }
    }
    return nan_or(x, with_sign_of(abs_bits(result), x));
  }
};

// 1 - tanh^2 = 4 e^(-2|x|) / (1 + e^(-2|x|))^2, which keeps its digits in the tails.
struct derivative {
  static constexpr lanes on = lanes::same;
  template <class Storage, class V>
  static V apply(V x) {
    if constexpr (is_double<Storage>) {
      return nan_or(x, sigmoid::wide_slope(doubled(x), V(4.0)));
    } else {
      auto exact = [](f64 z) { return sigmoid::narrow_slope(doubled(z), f64(4.0)); };
      auto slope = sigmoid::quick_slope<Storage>(doubled(x), 4.0f);
      return nan_or(x, quick::settled<Storage>(slope, ~is_nan(x), exact, x));
    }
  }
};

}  // namespace tanh
}  // namespace
}  // namespace rectifier
