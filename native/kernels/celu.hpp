#pragma once

#include "../kernel.hpp"
#include "../math/log.hpp"
#include "../math/quick.hpp"

namespace rectifier {
namespace {
namespace celu {

// alpha, 1 / alpha, and whether alpha is 1 in every lane: the quick paths are for that alone.
//
// 16-bit and float32 results stand the 2^-45 that a rounded reciprocal costs at |x / alpha| = 100.
template <class V>
struct scale {
  V alpha;
  quick::halves reciprocal;
  bool usual;
};

template <class Storage, class V>
inline auto scale_of(V alpha) {
  if constexpr (is_double<Storage>) {
    return alpha;
  } else {
    quick::halves reciprocal{f64(1.0) / low_half(alpha), f64(1.0) / high_half(alpha)};
    return scale<V>{alpha, reciprocal, movemask(~(alpha == V(1.0f))) == 0};
  }
}

// x / alpha to two doubles, clamped; the second is dropped where the clamp acts (it would be NaN).
template <class V>
inline dd<V> quotient(V x, V alpha) {
  dd<V> t = divide(dd<V>{x, V(0.0)}, dd<V>{alpha, V(0.0)});
  V hi = wide::within_range(t.hi);
  return {hi, select(hi == t.hi, t.lo, V(0.0))};
}

struct value {
  static constexpr lanes on = lanes::same;
  template <class Storage, class V>
  static auto prepare(V alpha) {
    return scale_of<Storage>(alpha);
  }

  // Every storage but double.
  template <class Storage, class V>
  static V apply(V x, scale<V> s) {
    auto exact = [](f64 z, f64 alpha, f64 reciprocal) {
      return alpha * narrow::expm1(z * reciprocal);
    };
    auto curve = x < V(0.0f);
    V below = negative_part(x);
    V curved;
    if (s.usual) {
      auto e = quick::expm1_below<Storage>(below);
      curved = quick::settled<Storage>(e, curve, exact, below, s.alpha, s.reciprocal);
    } else {
      curved = quick::in_double_apart<Storage>(exact, below, s.alpha, s.reciprocal);
    }
    return select(curve, curved, x);
  }

  template <class Storage, class V>
  static V apply(V x, V alpha) {
    V below = negative_part(x);
    dd<V> t = quotient(below, alpha);
    auto e = wide::expm1(t);
    V curved = rectifier::value(multiply(alpha, e.significand)) * e.after;
    // x + x^2 / (2 alpha) + ...: here x to 2^-60, and x / alpha may have lost digits to underflow.
    curved = select(abs_bits(t.hi) < V(0x1p-60), below, curved);
    return select(x < V(0.0), curved, x);
  }
};

struct derivative {
  static constexpr lanes on = lanes::same;
  template <class Storage, class V>
  static auto prepare(V alpha) {
    return scale_of<Storage>(alpha);
  }

  template <class Storage, class V>
  static V apply(V x, scale<V> s) {
    auto exact = [](f64 z, f64 reciprocal) { return narrow::exp(z * reciprocal); };
    V below = negative_part(x);
    V curved;
    if (s.usual) {
      auto e = quick::exp_below<Storage>(below);
      curved = quick::settled<Storage>(e, below < V(0.0f), exact, below, s.reciprocal);
    } else {
      curved = quick::in_double_apart<Storage>(exact, below, s.reciprocal);
    }
    return nan_or(x, select(x > V(0.0f), V(1.0f), curved));
  }

  template <class Storage, class V>
  static V apply(V x, V alpha) {
    auto e = wide::exp(quotient(negative_part(x), alpha));
    V curved = rectifier::value(e.significand) * e.after;
    return nan_or(x, select(x > V(0.0), V(1.0), curved));
  }
};

// From h = f(x): (h + alpha) / alpha, which has lost digits where h is near -alpha.
struct derivative_from_output {
  static constexpr lanes on = lanes::same;
  template <class Storage, class V>
  static V apply(V h, V alpha) {
    V curved = (negative_part(h) + alpha) / alpha;
    return nan_or(h, select(h > V(0.0f), V(1.0f), curved));
  }
};

// alpha * log1p(h / alpha) below 0; float64 arithmetic for every storage, as in elu.
struct inverse {
  static constexpr lanes on = lanes::wide;
  template <class Storage, class V>
  static V apply(V h, V alpha) {
    V below = negative_part(h);
    dd<V> t = quotient(below, alpha);
    dd<V> log = wide::log1p(t);
    V curved = rectifier::value(multiply(alpha, log));
    // -inf at h = -alpha, and NaN below: the product's second double would spoil the former.
    curved = select(log.hi == V(-__builtin_inf()), log.hi, curved);
    curved = select(abs_bits(t.hi) < V(0x1p-60), below, curved);
    return select(h < V(0.0), curved, h);
  }
};

}  // namespace celu
}  // namespace
}  // namespace rectifier
