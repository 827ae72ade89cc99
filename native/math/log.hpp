// Logarithms: log(1 + e) for e in [0, 1], and log of an unevaluated sum of two doubles.
//
// With f = m - 1 and s = f / (2 + f), log m = 2 atanh(s) = 2 s + s^3 * atanh_tail(s^2), and
// |s| <= 3 - 2 sqrt(2) once m is within [sqrt(1/2), sqrt(2)].
#pragma once

#include "exp.hpp"

namespace rectifier {
namespace {

namespace narrow {

// Relative error below 2^-50.
template <class V>
inline V log1p_unit(V e) {
  // Above sqrt(2) - 1 the logarithm of (1 + e) / 2 is taken and ln 2 added.
  auto high = e > V(0x1.a827999fcef32p-2);
  V top = e - select(high, V(1.0), V(0.0));
  V bottom = e + select(high, V(3.0), V(2.0));
  V s = top / bottom;
  V z = s * s;
  V log = fma(s * z, polynomial(constants::atanh_tail, z), s + s);
  return log + select(high, V(constants::ln2_hi), V(0.0));
}

}  // namespace narrow

namespace wide {

// log y within 2^-57 of itself, given y > 0 to about 2^-106 of y - 1. -inf for 0, NaN below.
template <class V>
inline dd<V> log(dd<V> y) {
  // sqrt(1/2) becomes the bit pattern of 1.0, so the exponent field counts from there.
  constexpr uint64_t lowest = 0x3fe6a09e667f3bcd;
  auto tiny = y.hi < V(0x1p-900);
  V up = select(tiny, V(0x1p100), V(1.0));
  V hi = y.hi * up;
  V biased = shift_right<52>(int_add(hi, from_bits<V>((uint64_t{1023} << 52) - lowest)));
  V scale = shift_left<52>(int_sub(from_bits<V>(2046), biased));
  V k = bit_or(biased, V(0x1p52)) - V(0x1p52 + 1023.0);
  k = k - select(tiny, V(100.0), V(0.0));

  dd<V> f = fast_two_sum(hi * scale - V(1.0), y.lo * up * scale);
  // 2 + f, where |f| < 1/2.
  dd<V> bottom = add(V(2.0), f);
  dd<V> s = divide(f, bottom);
  V z = s.hi * s.hi;
  dd<V> small =
      fast_two_sum(s.hi + s.hi, fma(s.hi * z, polynomial(constants::atanh_tail, z), s.lo + s.lo));
  dd<V> base = multiply(k, V(constants::ln2_hi));
  base.lo = fma(k, V(constants::ln2_lo), base.lo);
  dd<V> result = select(k == V(0.0), small, add(base, small));

  V bad = select(y.hi == V(0.0), V(-__builtin_inf()), V(__builtin_nan("")));
  return select(y.hi > V(0.0), result, dd<V>{bad, V(0.0)});
}

// 1 + u, from which log(1 + u) can be had where u is not small.
template <class V>
inline dd<V> one_plus(dd<V> u) {
  dd<V> y = two_sum(V(1.0), u.hi);
  return fast_two_sum(y.hi, y.lo + u.lo);
}

// log(1 + u) given log_y = log(one_plus(u)). Below 2^-30 the sum 1 + u has lost part of u, while
// u - u^2/2 is within u^2/3 < 2^-61 of the whole.
template <class V>
inline dd<V> log1p_from(dd<V> u, dd<V> log_y) {
  auto small = abs_bits(u.hi) < V(0x1p-30);
  V kept = select(small, u.hi, V(0.0));
  return select(small, dd<V>{u.hi, fma(V(-0.5) * kept, kept, u.lo)}, log_y);
}

template <class V>
inline dd<V> log1p(dd<V> u) {
  return log1p_from(u, log(one_plus(u)));
}

}  // namespace wide
}  // namespace
}  // namespace rectifier
