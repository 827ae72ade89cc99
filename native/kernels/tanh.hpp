#pragma once

#include "sigmoid.hpp"

namespace rectifier {
namespace {
namespace tanh {

// With u = e^(-2|x|) - 1, tanh |x| = -u / (2 + u): no digits cancel at either end.
struct value {
  static constexpr lanes on = lanes::wide;
  template <class Storage, class V>
  static V apply(V x) {
    V size = abs_bits(x);
    // From 400 on the result is 1, and doubling a larger |x| could overflow.
    V doubled = V(-2.0) * select(size < V(400.0), size, V(400.0));
    V result;
    if constexpr (is_double<Storage>) {
      dd<V> u = wide::expm1(dd<V>{doubled, V(0.0)}).significand;
      result = rectifier::value(divide(-u, add(V(2.0), u)));
    } else {
      V u = narrow::expm1(doubled);
      result = -u / (V(2.0) + u);
    }
    return nan_or(x, with_sign_of(abs_bits(result), x));
  }
};

// 1 - tanh^2 = 4 e^(-2|x|) / (1 + e^(-2|x|))^2, which keeps its digits in the tails.
struct derivative {
  static constexpr lanes on = lanes::wide;
  template <class Storage, class V>
  static V apply(V x) {
    V size = abs_bits(x);
    V doubled = V(2.0) * select(size < V(400.0), size, V(400.0));
    if constexpr (is_double<Storage>) {
      return nan_or(x, sigmoid::wide_slope(doubled, V(4.0)));
    } else {
      return nan_or(x, sigmoid::narrow_slope(doubled, V(4.0)));
    }
  }
};

}  // namespace tanh
}  // namespace
}  // namespace rectifier
