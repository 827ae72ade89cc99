#pragma once

#include "../kernel.hpp"
#include "../math/exp.hpp"
#include "../math/quick.hpp"

namespace rectifier {
namespace {
namespace sigmoid {

// hi + lo rounded to odd: a later rounding to 51 bits or fewer then acts on the exact sum's side of
// every tie. hi > 0, |lo| at most half its last place.
template <class V>
inline V to_odd(V hi, V lo) {
  V even = int_sub(from_bits<V>(1), bit_and(hi, from_bits<V>(1)));
  V step = select(lo == V(0.0), V(0.0), even);
  return select(lo < V(0.0), int_sub(hi, step), int_add(hi, step));
}

// 1 / (1 + e^-t) for results of 24 bits or fewer. e^-|t| keeps its digits on both sides.
template <class V>
inline V narrow_value(V t) {
  V e = narrow::exp(-abs_bits(t));
  V quotient = select(t < V(0.0), e, V(1.0)) / (V(1.0) + e);
  // 1/2 + t/4 - t^3/48: for small t the sum of the first two may be a tie of the result's format
  // that the third breaks from beyond a double's digits. The next term is below 2^-59 here.
  auto near = abs_bits(t) < V(0x1p-10);
  V small = select(near, t, V(0.0));
  dd<V> line = fast_two_sum(V(0.5), V(0.25) * small);
  V rest = fma(small * small * small, V(-1.0 / 48.0), line.lo);
  dd<V> sum = fast_two_sum(line.hi, rest);
  return select(near, to_odd(sum.hi, sum.lo), quotient);
}

// The same for float64, where t is given by two doubles.
template <class V>
inline V wide_value(dd<V> t) {
  auto negative = t.hi < V(0.0);
  auto e = wide::exp(select(negative, t, -t));
  dd<V> one{V(1.0), V(0.0)};
  // Where e holds a deferred factor it is far below the last place of 1.
  dd<V> bottom = select(e.after == V(1.0), add(V(1.0), e.significand), one);
  auto ratio = divide(select(negative, e.significand, one), bottom);
  return rectifier::value(ratio) * select(negative, e.after, V(1.0));
}

// scale * e^-|t| / (1 + e^-|t|)^2
template <class V>
inline V narrow_slope(V t, V scale) {
  V e = narrow::exp(-abs_bits(t));
  V bottom = V(1.0) + e;
  return scale * e / (bottom * bottom);
}

template <class V>
inline V wide_slope(V t, V scale) {
  auto e = wide::exp(dd<V>{wide::within_range(-abs_bits(t)), V(0.0)});
  dd<V> one{V(1.0), V(0.0)};
  dd<V> root = select(e.after == V(1.0), add(V(1.0), e.significand), one);
  return rectifier::value(divide(e.significand, multiply(root, root))) * (scale * e.after);
}

// The quick 1 / (1 + e^-t).
template <class Storage, class V>
inline quick::approximation<V> quick_value(V t) {
  auto e = quick::normalised(quick::exp_below<Storage>(-abs_bits(t)));
  dd<V> bottom = quick::plus(V(1.0f), e);
  quick::approximation<V> one{V(1.0f), V(0.0f), e.error};
  auto top = quick::select(t < V(0.0f), e, one);
  auto ratio = quick::quotient<Storage>(top, bottom, V(1.0f) / bottom.hi);
  ratio.error = fma(ratio.hi, V(quick::pair_share), e.error);
  return ratio;
}

// The quick scale * e^-|t| / (1 + e^-|t|)^2; scale is 1 or 4.
template <class Storage, class V>
inline quick::approximation<V> quick_slope(V t, float scale) {
  auto e = quick::normalised(quick::exp_below<Storage>(-abs_bits(t)));
  dd<V> bottom = quick::plus(V(1.0f), e);
  V reciprocal = V(1.0f) / bottom.hi;
  auto once = quick::quotient<Storage>(e, bottom, reciprocal);
  auto twice = quick::quotient<Storage>(once, bottom, reciprocal);
  V error = fma(twice.hi, V(quick::pair_share), e.error);
  return {twice.hi * V(scale), twice.lo * V(scale), error * V(scale)};
}

struct value {
  static constexpr lanes on = lanes::same;
  template <class Storage, class V>
  static V apply(V x) {
    if constexpr (is_double<Storage>) {
      return nan_or(x, wide_value(dd<V>{wide::within_range(x), V(0.0)}));
    } else {
      auto exact = [](f64 z) { return narrow_value(z); };
      return nan_or(x, quick::settled<Storage>(quick_value<Storage>(x), ~is_nan(x), exact, x));
    }
  }
};

struct derivative {
  static constexpr lanes on = lanes::same;
  template <class Storage, class V>
  static V apply(V x) {
    if constexpr (is_double<Storage>) {
      return nan_or(x, wide_slope(x, V(1.0)));
    } else {
      auto exact = [](f64 z) { return narrow_slope(z, f64(1.0)); };
      return nan_or(x,
                    quick::settled<Storage>(quick_slope<Storage>(x, 1.0f), ~is_nan(x), exact, x));
    }
  }
};

}  // namespace sigmoid
}  // namespace
}  // namespace rectifier
