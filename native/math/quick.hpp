// The quick paths of results of 24 bits or fewer: pairs of float32 with a bound on what they miss.
//
// A quick path gives an unevaluated sum hi + lo and a bound on its error. `settled` rounds it where
// every number within the bound rounds alike; lanes where it does not go through the double
// kernels. So a result never depends on the quick path, only the time does: tables and bounds may
// be changed freely as long as the bounds hold.
#pragma once

#include "exp.hpp"
#include "round.hpp"

namespace rectifier {
namespace {
namespace quick {

template <class V>
struct approximation {
  V hi, lo, error;
};

template <class Storage>
constexpr bool is_short = sizeof(Storage) == 2;

// Bits of a float32 that a 16-bit format has no room for.
template <class Storage>
constexpr uint32_t dropped = format<Storage>::dropped - (52 - 23);

// A parameter derived in double, for both halves.
struct halves {
  f64 low, high;
  friend f64 low_half(halves a) { return a.low; }
  friend f64 high_half(halves a) { return a.high; }
};

// f in double lanes, rounded once to Storage, for every lane of the arguments.
template <class Storage, class F, class... V>
inline f32 in_double(F f, V... v) {
  auto rounded = [](f64 exact) {
    if constexpr (is_short<Storage>) {
      return round_to<Storage>(exact);
    } else {
      return exact;
    }
  };
  f64 low = rounded(f(low_half(v)...));
  if constexpr (f32::width == 1) {
    return join(low, low);
  } else {
    return join(low, rounded(f(high_half(v)...)));
  }
}

// The same out of line: inlined beside a quick path it would cost that registers.
template <class Storage, class F, class... V>
[[gnu::noinline]] f32 in_double_apart(F f, V... v) {
  return in_double<Storage>(f, v...);
}

// Lanes whose value, known to a few float32 last places, is not so close to a tie of the 16-bit
// format that these could matter. A tie of subnormals lies elsewhere, so these are never sure.
template <class Storage, class V>
inline typename V::mask clear_of_ties(V value) {
  constexpr uint32_t margin = 16;
  constexpr uint32_t tie = uint32_t{1} << (dropped<Storage> - 1);
  V moved = int_add(value, from_bits32<V>(tie + margin));
  auto near = no_bits(moved, from_bits32<V>(2 * tie - 2 * margin));
  return ~near & (abs_bits(value) >= V(static_cast<float>(format<Storage>::smallest_normal)));
}

// The sum, rounded to Storage or, for 16 bits, ready to be; f(v...) in the lanes of `needed` that
// the bound leaves open.
template <class Storage, class V, class F, class... Arguments>
inline V settled(approximation<V> a, typename V::mask needed, F f, Arguments... v) {
  V up;
  typename V::mask sure;
  if constexpr (is_short<Storage>) {
    up = a.hi;
    sure = clear_of_ties<Storage>(up);
  } else {
    up = a.hi + (a.lo + a.error);
    sure = up == a.hi + (a.lo - a.error);
  }
  auto left = needed & ~sure;
  if (__builtin_expect(movemask(left) != 0, 0))
    return select(left, in_double_apart<Storage>(f, v...), up);
  return up;
}

// e^t = power * (1 + r + rest), for t in [-87, 88]: power = 2^(k/16) rounded, r exact, and
// |r| <= ln 2 / 32. `rest` misses 2^-23.2 r^2 + 2^-44.
template <class V>
struct reduced {
  V power, r, square, rest;
};

template <class Storage, class V>
inline reduced<V> reduce(V t) {
  V shifted = fma(t, V(constants::steps_e), V(0x1.8p23f));
  V k = shifted - V(0x1.8p23f);
  // Exact: t and k * step_hi are multiples of 2^-29 where k is not 0.
  V r = fma(k, V(-constants::step_hi), t);
  V power = int_add(shift_left<19>(shifted), lookup(constants::sixteenths, shifted));
  V tail = V(0.0f);
  if constexpr (is_short<Storage>) {
    tail = k * V(-constants::step_lo);
  } else {
    tail = fma(k, V(-constants::step_lo), lookup(constants::sixteenths_left, shifted));
  }
  // The polynomial is of r + tail, or their product would be missed.
  V q = r + tail;
  V square = q * q;
  V p = fma(fma(V(constants::expm1_quick[2]), r, V(constants::expm1_quick[1])), r,
            V(constants::expm1_quick[0]));
  return {power, r, square, fma(square, p, tail)};
}

constexpr float square_share = 0x1p-22f;
constexpr float rest_share = 0x1p-42f;

// In a bound: more than underflow can cost, so that it leaves every result near it open.
constexpr float underflow = 0x1p-120f;

// e^t; 16-bit storage: one float32, within three last places.
template <class Storage, class V>
inline approximation<V> exp(V t) {
  auto [power, r, square, rest] = reduce<Storage>(t);
  if constexpr (is_short<Storage>) {
    return {fma(power, r + rest, power), V(0.0f), V(0.0f)};
  } else {
    V hi = fma(power, r, power);
    V lo = fma(power, rest, fma(power, r, power - hi));
    return {hi, lo, fma(power, fma(square, V(square_share), V(rest_share)), V(underflow))};
  }
}

// e^t - 1 for t <= 0. Where k = 0 the bound falls with r^2, and so stays below the result.
template <class Storage, class V>
inline approximation<V> expm1(V t) {
  auto [power, r, square, rest] = reduce<Storage>(t);
  V top = power - V(1.0f);
  if constexpr (is_short<Storage>) {
    return {fma(power, r + rest, top), V(0.0f), V(0.0f)};
  } else {
    V hi = fma(power, r, top);
    // Exact, as top is 0 or at least 1.9 times power * |r|.
    V low = fma(power, r, top - hi) + (power - (top + V(1.0f)));
    V lo = fma(power, rest, low);
    return {hi, lo, fma(square, V(square_share), top * V(-rest_share))};
  }
}

// e^t for t <= 0, with a bound that settles no subnormal nor what is near one.
template <class Storage, class V>
inline approximation<V> exp_below(V t) {
  auto far = t < V(-80.0f);
  auto e = exp<Storage>(select(far, V(-80.0f), t));
  if constexpr (is_short<Storage>) e.hi = select(far, V(0.0f), e.hi);
  return e;
}

// e^t - 1 for t <= 0. Further left than -20 it is -1.
template <class Storage, class V>
inline approximation<V> expm1_below(V t) {
  return expm1<Storage>(select(t < V(-20.0f), V(-20.0f), t));
}

// The product with c, constants within [1, 2].
template <class Storage, class V>
inline approximation<V> multiply(approximation<V> a, V c_hi, V c_lo) {
  V hi = c_hi * a.hi;
  if constexpr (is_short<Storage>) return {hi, a.lo, a.error};
  V lo = fma(c_hi, a.lo, fma(c_hi, a.hi, -hi));
  return {hi, fma(c_lo, a.hi, lo),
          fma(V(2.0f), a.error, fma(abs_bits(hi), V(0x1p-44f), V(underflow)))};
}

template <class V>
inline approximation<V> select(typename V::mask m, approximation<V> a, approximation<V> b) {
  return {select(m, a.hi, b.hi), select(m, a.lo, b.lo), select(m, a.error, b.error)};
}

// What a relation of a few operations on pairs costs beside the errors of its arguments.
constexpr float pair_share = 0x1p-41f;

// The same sum with |lo| at most half the last place of hi.
template <class V>
inline approximation<V> normalised(approximation<V> a) {
  V hi = a.hi + a.lo;
  return {hi, a.lo - (hi - a.hi), a.error};
}

// whole + v, for |v| <= whole.
template <class V>
inline dd<V> plus(V whole, approximation<V> v) {
  V hi = whole + v.hi;
  return {hi, (v.hi - (hi - whole)) + v.lo};
}

// a / b given a float32 next to 1 / b.hi; the error is left as it was.
template <class Storage, class V>
inline approximation<V> quotient(approximation<V> a, dd<V> b, V reciprocal) {
  V hi = a.hi * reciprocal;
  if constexpr (is_short<Storage>) return {hi, a.lo, a.error};
  V left = fma(-hi, b.hi, a.hi) + fma(-hi, b.lo, a.lo);
  return {hi, left * reciprocal, a.error};
}

// Of f^3, whose third the last step of the logarithm is: seven roundings of 2^-24 at most.
constexpr float cubic_share = 0x1p-22f;

// log(1 + v) + above, for v in [0, 1] and above >= 0.
template <class Storage, class V>
inline approximation<V> log1p_plus(approximation<V> v, V above) {
  using namespace constants;
  V index = fma(v.hi, V(15.0f), V(0x1.8p23f));
  V reciprocal = lookup(fifteenths, index);
  auto first = no_bits(index, from_bits32<V>(15));
  V base = lookup(fifteenths_log, index);
  V f;
  dd<V> parts;
  if constexpr (is_short<Storage>) {
    f = fma(v.hi, reciprocal, reciprocal - V(1.0f));
  } else {
    // v in steps of 2^-18, and what is left of it: the product is exact.
    V shifted = v.hi + V(48.0f);
    V left = (v.hi - (shifted - V(48.0f))) + v.lo;
    parts.hi = select(first, v.hi, fma(shifted - V(47.0f), reciprocal, V(-1.0f)));
    parts.lo = select(first, v.lo, left * reciprocal);
    f = parts.hi + parts.lo;
  }
  V square = f * f;
  V p = fma(V(log1p_quick[3]), f, V(log1p_quick[2]));
  p = fma(fma(p, f, V(log1p_quick[1])), f, V(log1p_quick[0]));
  if constexpr (is_short<Storage>) {
    return {above + (base + fma(square, fma(p, f, V(-0.5f)), f)), V(0.0f), V(0.0f)};
  } else {
    dd<V> sum = two_sum(above, base);
    // Where the sum is not 0 it is above 1/16, and f below 1/29.
    dd<V> whole = fast_two_sum(sum.hi, parts.hi);
    V minus_half = V(-0.5f) * f;
    dd<V> second{minus_half * f, fma(minus_half, f, V(0.5f) * square)};
    dd<V> total = fast_two_sum(whole.hi, second.hi);
    V small = (sum.lo + whole.lo) + (lookup(fifteenths_log_lo, index) + parts.lo);
    // parts.hi + parts.lo is f to 2^-25 of it, and what is left counts in the square.
    V left = (parts.hi - f) + parts.lo;
    V cubic = square * f;
    small = (small + total.lo) + fma(-f, left, second.lo);
    V error = fma(abs_bits(cubic), V(cubic_share), fma(total.hi, V(pair_share), v.error));
    return {total.hi, fma(cubic, p, small), error};
  }
}

}  // namespace quick
}  // namespace
}  // namespace rectifier
