#pragma once

#include "../kernel.hpp"
#include "../math/log.hpp"
#include "../math/quick.hpp"

namespace rectifier {
namespace {
namespace selu {

template <class V>
inline dd<V> lambda_alpha() {
  return {V(constants::selu_lambda_alpha_hi), V(constants::selu_lambda_alpha_lo)};
}

struct value {
  static constexpr lanes on = lanes::same;
  template <class Storage, class V>
  static V apply(V x) {
    V below = negative_part(x);
    auto left = x < V(0.0f);
    // The positive branch multiplies only what it keeps: lambda times a large |x| overflows.
    V right = select(left, V(0.0f), x);
    if constexpr (is_double<Storage>) {
      dd<V> e = wide::expm1(dd<V>{wide::within_range(below), V(0.0)}).significand;
      V curved = rectifier::value(multiply(lambda_alpha<V>(), e));
      return select(left, curved, right * V(constants::selu_lambda));
    } else {
      auto exact = [](f64 z) {
        f64 curved = f64(constants::selu_lambda_alpha_hi) * narrow::expm1(negative_part(z));
        return select(z < f64(0.0), curved, zero_if_negative(z) * f64(constants::selu_lambda));
      };
      constexpr float product = constants::selu_lambda_alpha_hi, lambda = constants::selu_lambda;
      constexpr float product_lo = constants::selu_lambda_alpha_hi - product;
      constexpr float lambda_lo = constants::selu_lambda - lambda;
      // One product serves both sides: right of 0 the curve is that of 0, which leaves all but the
      // first float32 at 0 too.
      auto both = quick::expm1_below<Storage>(below);
      both.hi = select(left, both.hi, right);
      both = quick::multiply<Storage>(both, select(left, V(product), V(lambda)),
                                      select(left, V(product_lo), V(lambda_lo)));
      auto zero = x == V(0.0f);
      return select(zero, x, quick::settled<Storage>(both, ~zero, exact, x));
    }
  }
};

struct derivative {
  static constexpr lanes on = lanes::same;
  template <class Storage, class V>
  static V apply(V x) {
    V below = negative_part(x);
    V curved, above;
    if constexpr (is_double<Storage>) {
      auto e = wide::exp(dd<V>{wide::within_range(below), V(0.0)});
      curved = rectifier::value(multiply(lambda_alpha<V>(), e.significand)) * e.after;
      above = V(constants::selu_lambda);
    } else {
      auto exact = [](f64 z) { return f64(constants::selu_lambda_alpha_hi) * narrow::exp(z); };
      constexpr float product = constants::selu_lambda_alpha_hi;
      constexpr float product_lo = constants::selu_lambda_alpha_hi - product;
      auto e =
          quick::multiply<Storage>(quick::exp_below<Storage>(below), V(product), V(product_lo));
      curved = quick::settled<Storage>(e, ~(x > V(0.0f)), exact, below);
      above = V(static_cast<float>(constants::selu_lambda));
    }
    return nan_or(x, select(x > V(0.0f), above, curved));
  }
};

// From h = f(x): h + lambda alpha, which has lost digits where h is near -lambda alpha.
struct derivative_from_output {
  static constexpr lanes on = lanes::same;
  template <class Storage, class V>
  static V apply(V h) {
    V lambda = V(static_cast<float>(constants::selu_lambda));
    V curved = negative_part(h) + V(static_cast<float>(constants::selu_lambda_alpha_hi));
    if constexpr (is_double<Storage>) {
      lambda = V(constants::selu_lambda);
      curved = negative_part(h) + V(constants::selu_lambda_alpha_hi);
    }
    return nan_or(h, select(h > V(0.0f), lambda, curved));
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
