#pragma once

#include "../kernel.hpp"
#include "../math/log.hpp"

namespace rectifier {
namespace {
namespace celu {

template <class V>
struct scale {
  V alpha, reciprocal;
};

// 16-bit and float32 results stand the 2^-45 that a rounded reciprocal costs at |x / alpha| = 100.
template <class V>
inline scale<V> scale_of(V alpha) {
  return {alpha, V(1.0) / alpha};
}

// x / alpha to two doubles, clamped; the second is dropped where the clamp acts (it would be NaN).
template <class V>
inline dd<V> quotient(V x, V alpha) {
  dd<V> t = divide(dd<V>{x, V(0.0)}, dd<V>{alpha, V(0.0)});
  V hi = wide::within_range(t.hi);
  return {hi, select(hi == t.hi, t.lo, V(0.0))};
}

struct value {
  static constexpr lanes on = lanes::wide;
  template <class Storage, class V>
  static scale<V> prepare(V alpha) {
    return scale_of(alpha);
  }

  template <class Storage, class V>
  static V apply(V x, scale<V> s) {
    V below = negative_part(x);
    V curved;
    if constexpr (is_double<Storage>) {
      dd<V> t = quotient(below, s.alpha);
      auto e = wide::expm1(t);
      curved = rectifier::value(multiply(s.alpha, e.significand)) * e.after;
      // x + x^2 / (2 alpha) + ...: here x to 2^-60, and x / alpha may have lost digits to
      // underflow.
      curved = select(abs_bits(t.hi) < V(0x1p-60), below, curved);
    } else {
      curved = s.alpha * narrow::expm1(below * s.reciprocal);
    }
    return select(x < V(0.0), curved, x);
  }
};

struct derivative {
  static constexpr lanes on = lanes::wide;
  template <class Storage, class V>
  static scale<V> prepare(V alpha) {
    return scale_of(alpha);
  }

  template <class Storage, class V>
  static V apply(V x, scale<V> s) {
    V below = negative_part(x);
    V curved;
    if constexpr (is_double<Storage>) {
      auto e = wide::exp(quotient(below, s.alpha));
      curved = rectifier::value(e.significand) * e.after;
    } else {
      curved = narrow::exp(below * s.reciprocal);
    }
    return nan_or(x, select(x > V(0.0), V(1.0), curved));
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
