#pragma once

#include "../kernel.hpp"
#include "../math/log.hpp"

namespace rectifier {
namespace {
namespace selu {

template <class V>
inline dd<V> lambda_alpha() {
  return {V(constants::selu_lambda_alpha_hi), V(constants::selu_lambda_alpha_lo)};
}

struct value {
  static constexpr lanes on = lanes::wide;
  template <class Storage, class V>
  static V apply(V x) {
    V below = negative_part(x);
    V curved;
    if constexpr (is_double<Storage>) {
      dd<V> e = wide::expm1(dd<V>{wide::within_range(below), V(0.0)}).significand;
      curved = rectifier::value(multiply(lambda_alpha<V>(), e));
    } else {
      curved = V(constants::selu_lambda_alpha_hi) * narrow::expm1(below);
    }
    // The positive branch multiplies only what it keeps: lambda times a large |x| overflows.
    V above = select(x < V(0.0), V(0.0), x) * V(constants::selu_lambda);
    return select(x < V(0.0), curved, above);
  }
};

struct derivative {
  static constexpr lanes on = lanes::wide;
  template <class Storage, class V>
  static V apply(V x) {
    V below = negative_part(x);
    V curved;
    if constexpr (is_double<Storage>) {
      auto e = wide::exp(dd<V>{wide::within_range(below), V(0.0)});
      curved = rectifier::value(multiply(lambda_alpha<V>(), e.significand)) * e.after;
    } else {
      curved = V(constants::selu_lambda_alpha_hi) * narrow::exp(below);
    }
    return nan_or(x, select(x > V(0.0), V(constants::selu_lambda), curved));
  }
};

// h / lambda above 0, log1p(h / (lambda alpha)) below; float64 arithmetic for every storage.
struct inverse {
  static constexpr lanes on = lanes::wide;
  template <class Storage, class V>
  static V apply(V h) {
    dd<V> share = divide(dd<V>{negative_part(h), V(0.0)}, lambda_alpha<V>());
    share.lo = select(is_nan(share.lo), V(0.0), share.lo);
    V curved = rectifier::value(wide::log1p(share));
    return select(h < V(0.0), curved, h / V(constants::selu_lambda));
  }
};

}  // namespace selu
}  // namespace
}  // namespace rectifier
