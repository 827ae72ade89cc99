// e^t and e^t - 1, in two precisions.
//
// narrow: for results of 24 bits or fewer; relative error below 2^-51 (polynomial 2^-54.4, the rest
//         rounding).
// wide:   for float64 results; an unevaluated sum of two doubles, within 2^-57 (polynomial
// 2^-58.5).
//
// Both write t = k ln 2 + r with |r| <= ln 2 / 2. Neither uses a table, so the lanes gather
// nothing.
#pragma once

#include "constants.hpp"
#include "double_double.hpp"

namespace rectifier {
namespace {

// Adding 1.5 * 2^52 leaves round-to-nearest of a number below 2^51 in the low bits of the sum.
constexpr double to_integer = 0x1.8p52;

// 2^k from k + to_integer; k in [-1022, 1023].
template <class V>
inline V power_of_two(V shifted) {
  return shift_left<52>(int_add(shifted, from_bits<V>(1023)));
}

template <class V, int terms>
inline V polynomial(const double (&c)[terms], V x) {
  V sum = c[terms - 1];
#pragma GCC unroll 16
  for (int i = terms - 2; i >= 0; --i) sum = fma(sum, x, V(c[i]));
  return sum;
}

template <class V>
inline V clamp(V x, V low, V high) {
  x = select(x < low, low, x);
  return select(x > high, high, x);
}

namespace narrow {

template <class V>
struct reduced {
  V scale;     // 2^k
  V fraction;  // e^r - 1
};

// The clamp keeps k in range and the squares of results normal (a subnormal is slow). It lies
// beyond every finite result of 24 bits, even times or over a float32 parameter: |t| < 210.
template <class V>
inline reduced<V> reduce(V t) {
  t = clamp(t, V(-300.0), V(300.0));
  V shifted = fma(t, V(constants::log2_e), V(to_integer));
  V k = shifted - V(to_integer);
  V r = fma(k, V(-constants::ln2_hi), t);
  r = fma(k, V(-constants::ln2_lo), r);
  V fraction = fma(r * r, polynomial(constants::expm1_narrow, r), r);
  return {power_of_two(shifted), fraction};
}

template <class V>
inline V exp(V t) {
  auto [scale, fraction] = reduce(t);
  return fma(scale, fraction, scale);
}

// No digits cancel: where k != 0, |e^t - 1| > 0.29 while both terms are below its size times 2.
template <class V>
inline V expm1(V t) {
  auto [scale, fraction] = reduce(t);
  return fma(scale, fraction, scale - V(1.0));
}

}  // namespace narrow

namespace wide {

// significand * after: `after` is 1 but near the ends of the range, where it holds a factor of
// 2^±200 that is to be applied last, so that a subnormal result is rounded from all its digits.
template <class V>
struct scaled {
  dd<V> significand;
  V after;
};

template <class V>
struct reduced {
  dd<V> fraction;  // e^r - 1
  V k, scale;      // scale = 2^k, or 2^(k ± 200) near the ends
};

constexpr double deferred_at = 900.0;
constexpr double deferred = 200.0;

// t.hi within [-800, 800], and |t.lo| within half its last place.
template <class V>
inline reduced<V> reduce(dd<V> t) {
  V k = fma(t.hi, V(constants::log2_e), V(to_integer)) - V(to_integer);
  V head = fma(k, V(-constants::ln2_head), t.hi);  // exact: see ln2_head
  dd<V> rest = multiply(k, V(-constants::ln2_rest));
  dd<V> r = two_sum(head, rest.hi);
  // t.lo may be a thousand last places of r: renormalised, it is below one, and its powers vanish.
  r = two_sum(r.hi, r.lo + (rest.lo + t.lo));

  // r + r^2/2 carries a second double; r^3 * polynomial is at most 2 % of the whole, so its own
  // rounding errors are too.
  dd<V> square = multiply(r.hi, r.hi);
  V cubed = square.hi * r.hi;
  V small = fma(cubed, polynomial(constants::expm1_wide, r.hi),
                fma(V(0.5), square.lo, fma(r.lo, r.hi, r.lo)));
  dd<V> sum = two_sum(r.hi, V(0.5) * square.hi);
  dd<V> fraction = fast_two_sum(sum.hi, sum.lo + small);

  V shift = select(k < V(-deferred_at), V(deferred), V(0.0));
  shift = select(k > V(deferred_at), V(-deferred), shift);
  return {fraction, k, power_of_two((k + shift) + V(to_integer))};
}

template <class V>
inline scaled<V> exp(dd<V> t) {
  auto [fraction, k, scale] = reduce(t);
  dd<V> whole = add(V(1.0), fraction);
  V after = select(k < V(-deferred_at), V(0x1p-200), V(1.0));
  after = select(k > V(deferred_at), V(0x1p200), after);
  return {{whole.hi * scale, whole.lo * scale}, after};
}

template <class V>
inline scaled<V> expm1(dd<V> t) {
  auto [fraction, k, scale] = reduce(t);
  dd<V> whole = add(V(1.0), fraction);
  // Near the ends `scale` is 2^±200 off, but there e^t - 1 is -1, or e^t, to more digits than kept.
  dd<V> moved = add(V(-1.0), dd<V>{whole.hi * scale, whole.lo * scale});
  V after = select(k > V(deferred_at), V(0x1p200), V(1.0));
  return {select(k == V(0.0), fraction, moved), after};
}

// A bound on arguments: beyond it e^t is 0 or infinite in float64.
template <class V>
inline V within_range(V t) {
  return clamp(t, V(-800.0), V(800.0));
}

// factor * x, clamped. The second double is dropped where the clamp acts: there it would be NaN.
template <class V>
inline dd<V> scaled_argument(V factor, V x) {
  dd<V> t = multiply(factor, x);
  V hi = within_range(t.hi);
  return {hi, select(hi == t.hi, t.lo, V(0.0))};
}

}  // namespace wide
}  // namespace
}  // namespace rectifier
