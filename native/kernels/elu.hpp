#pragma once

#include "../kernel.hpp"
#include "../math/log.hpp"
#include "../math/quick.hpp"

namespace rectifier {
namespace {
namespace elu {

// alpha, and whether it is 1 in every lane: the quick paths are for that alone.
template <class V>
struct scale {
  V alpha;
  bool usual;
};

template <class V>
inline scale<V> scale_of(V alpha) {
  return {alpha, movemask(~(alpha == V(1.0f))) == 0};
}

template <class V>
inline V wide_value(V x, V alpha) {
  V below = negative_part(x);
  dd<V> e = wide::expm1(dd<V>{wide::within_range(below), V(0.0)}).significand;
  dd<V> product = multiply(alpha, e);
  V curved = rectifier::value(product);
  // A product that underflows is -0.0, which adding the second double, +0.0, would lose.
  curved = select(curved == V(0.0), product.hi, curved);
  return select(x < V(0.0), curved, x);
}

struct value {
  static constexpr lanes on = lanes::same;
  template <class Storage, class V>
  static auto prepare(V alpha) {
    return scale_of(alpha);
  }

  template <class Storage, class V>
  static V apply(V x, scale<V> s) {
    if constexpr (is_double<Storage>) {
      return wide_value(x, s.alpha);
    } else {
      auto exact = [](f64 z, f64 alpha) { return alpha * narrow::expm1(z); };
      auto curve = x < V(0.0f);
      V below = negative_part(x);
      if (!s.usual) return select(curve, quick::in_double_apart<Storage>(exact, below, s.alpha), x);
      auto e = quick::expm1_below<Storage>(below);
      return select(curve, quick::settled<Storage>(e, curve, exact, below, s.alpha), x);
    }
  }
};

struct derivative {
  static constexpr lanes on = lanes::same;
  template <class Storage, class V>
  static auto prepare(V alpha) {
    return scale_of(alpha);
  }

  template <class Storage, class V>
  static V apply(V x, scale<V> s) {
    V below = negative_part(x);
    V curved;
    if constexpr (is_double<Storage>) {
      auto e = wide::exp(dd<V>{wide::within_range(below), V(0.0)});
      curved = rectifier::value(multiply(s.alpha, e.significand)) * e.after;
    } else {
      auto exact = [](f64 z, f64 alpha) { return alpha * narrow::exp(z); };
      if (s.usual) {
        auto e = quick::exp_below<Storage>(below);
        curved = quick::settled<Storage>(e, below < V(0.0f), exact, below, s.alpha);
      } else {
        curved = quick::in_double_apart<Storage>(exact, below, s.alpha);
      }
    }
    return nan_or(x, select(x > V(0.0f), V(1.0f), curved));
  }
};

// From h = f(x): h + alpha, which has lost digits where h is near -alpha.
struct derivative_from_output {
  static constexpr lanes on = lanes::same;
  template <class Storage, class V>
  static V apply(V h, V alpha) {
    return nan_or(h, select(h > V(0.0f), V(1.0f), negative_part(h) + alpha));
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
