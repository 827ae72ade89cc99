// What every kernel shares: which lanes it runs on, and small selections.
//
// A kernel is a type with
//   static constexpr lanes on = ...;
//   template <class Storage, class V> static V apply(V x);             or
//   template <class Storage, class V> static V apply(V x, P parameter);
// and, where work on the parameter can be shared between values,
//   template <class Storage, class V> static P prepare(V parameter);
// Storage is double, float, half or bfloat16; apply's result is rounded to it once by the store.
#pragma once

#include "simd.hpp"

namespace rectifier {
namespace {

enum class lanes {
  same,     // f64 for double, f32 for the rest: the result is a choice, or exact in float32
  product,  // f32 for float, f64 for the rest: a 16-bit value times a float32 is exact only in f64
  wide,     // f64 for all
};

template <class Storage>
constexpr bool is_double = false;
template <>
constexpr bool is_double<double> = true;

template <class V>
inline V zero_if_negative(V x) {
  return select(x < V(0.0f), V(0.0f), x);
}

// The negative part, 0 for the rest and for NaN: no lane that is not used may raise a flag.
template <class V>
inline V negative_part(V x) {
  return select(x < V(0.0f), x, V(0.0f));
}

template <class V>
inline V nan_or(V x, V otherwise) {
  return select(is_nan(x), x, otherwise);
}

}  // namespace
}  // namespace rectifier
