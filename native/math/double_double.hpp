// Unevaluated sums of two doubles, for the float64 kernels.
#pragma once

#include "../simd.hpp"

namespace rectifier {
namespace {

template <class V>
struct dd {
  V hi, lo;
};

// Exact for any a, b (Knuth).
template <class V>
inline dd<V> two_sum(V a, V b) {
  V sum = a + b;
  V part = sum - a;
  return {sum, (a - (sum - part)) + (b - part)};
}

// Exact where |a| >= |b| or a is 0 (Dekker).
template <class V>
inline dd<V> fast_two_sum(V a, V b) {
  V sum = a + b;
  return {sum, b - (sum - a)};
}

template <class V>
inline dd<V> add(V a, dd<V> b) {
  dd<V> s = two_sum(a, b.hi);
  return fast_two_sum(s.hi, s.lo + b.lo);
}

template <class V>
inline dd<V> add(dd<V> a, dd<V> b) {
  dd<V> s = two_sum(a.hi, b.hi);
  return fast_two_sum(s.hi, s.lo + (a.lo + b.lo));
}

template <class V>
inline dd<V> multiply(V a, V b) {
  V product = a * b;
  return {product, fma(a, b, -product)};
}

template <class V>
inline dd<V> multiply(V a, dd<V> b) {
  V product = a * b.hi;
  return {product, fma(a, b.lo, fma(a, b.hi, -product))};
}

template <class V>
inline dd<V> multiply(dd<V> a, dd<V> b) {
  V product = a.hi * b.hi;
  return {product, fma(a.hi, b.lo, fma(a.lo, b.hi, fma(a.hi, b.hi, -product)))};
}

// One Newton step on the rounded quotient: what is left is below 2^-100 of it.
template <class V>
inline dd<V> divide(dd<V> a, dd<V> b) {
  V quotient = a.hi / b.hi;
  V left = fma(-quotient, b.hi, a.hi) + fma(-quotient, b.lo, a.lo);
  return {quotient, left / b.hi};
}

template <class V>
inline V value(dd<V> a) {
  return a.hi + a.lo;
}

template <class V>
inline dd<V> operator-(dd<V> a) {
  return {-a.hi, -a.lo};
}

template <class V>
inline dd<V> select(typename V::mask m, dd<V> a, dd<V> b) {
  return {select(m, a.hi, b.hi), select(m, a.lo, b.lo)};
}

}  // namespace
}  // namespace rectifier
