#pragma once

#include "../kernel.hpp"
#include "../math/log.hpp"

namespace rectifier {
namespace {
namespace elu {

struct value {
  static constexpr lanes on = lanes::wide;
  template <class Storage, class V>
  static V apply(V x, V alpha) {
    V below = negative_part(x);
    V curved;
    if constexpr (is_double<Storage>) {
      dd<V> e = wide::expm1(dd<V>{wide::within_range(below), V(0.0)}).significand;
      dd<V> product = multiply(alpha, e);
      curved = rectifier::value(product);
      // A product that underflows is -0.0, which adding the second double, +0.0, would lose.
      curved = select(curved == V(0.0), product.hi, curved);
    } else {
      curved = alpha * narrow::expm1(below);
    }
    return select(x < V(0.0), curved, x);
  }
};

struct derivative {
  static constexpr lanes on = lanes::wide;
  template <class Storage, class V>
  static V apply(V x, V alpha) {
    V below = negative_part(x);
    V curved;
    if constexpr (is_double<Storage>) {
      auto e = wide::exp(dd<V>{wide::within_range(below), V(0.0)});
      curved = rectifier::value(multiply(alpha, e.significand)) * e.after;
    } else {
      curved = alpha * narrow::exp(below);
    }
    return nan_or(x, select(x > V(0.0), V(1.0), curved));
  }
};

// log1p(h / alpha) below 0. float64 arithmetic serves every storage: speed is no concern here.
struct inverse {
  static constexpr lanes on = lanes::wide;
  template <class Storage, class V>
  static V apply(V h, V alpha) {
    dd<V> share = divide(dd<V>{negative_part(h), V(0.0)}, dd<V>{alpha, V(0.0)});
    // An infinite quotient leaves a second double of NaN.
    share.lo = select(is_nan(share.lo), V(0.0), share.lo);
    return select(h < V(0.0), rectifier::value(wide::log1p(share)), h);
  }
};

}  // namespace elu
}  // namespace
}  // namespace rectifier
