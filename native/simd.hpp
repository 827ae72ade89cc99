// The vector types of the instruction set this translation unit is compiled for.
//
// Each simd_<isa>.hpp defines two types with the same members, `f32` and `f64`, and the free
// functions on them. A kernel is written once against these, and every instruction set performs the
// same IEEE operations in the same order: that is why the bits do not depend on the machine.
// Minimum, maximum and rounding instructions are absent on purpose, since they differ between
// machines on NaN and ±0.
//
//   V::width, V(number), V::load(pointer), v.store(pointer)   storage: double, float, half,
//   bfloat16
//   + - * /, fma(a, b, c), sqrt(a), -v
//   a < b, a <= b, a > b, a >= b, a == b, is_nan(a)            quiet; give V::mask with & | ~
//   select(mask, then, otherwise), movemask(mask)              bit i of the result is lane i
//   mask_of(V(), bits)                                         the way back: lane i is bit i
//   bit_and, bit_or, bit_xor(a, b)                             on the bits of the lanes
//   stream_line(out, from)                          64 bytes, past the cache where it can
//   int_add(a, b), shift_left<n>, shift_right<n>    lanes as integers
//   int_sub(a, b)                                   f64 only
//   no_bits(a, b)                                   f32 only: lanes with a & b == 0
//   lookup(table, index)                            f32 only: by the low four bits of a lane
//   low_half, high_half(f32) -> f64, join(low, high) -> f32    the halves of an f32 as doubles
//
// f64::store to half or bfloat16 expects a value that these hold exactly (see math/round.hpp);
// f32::store to them rounds to nearest even.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace rectifier {

// Storage of the 16-bit formats: tags with a size, so that overloads can tell them apart.
struct half {
  uint16_t bits;
};
struct bfloat16 {
  uint16_t bits;
};

}  // namespace rectifier

#if defined(RECTIFIER_ISA_AVX512)
#include "simd_avx512.hpp"
#elif defined(RECTIFIER_ISA_AVX2)
#include "simd_avx2.hpp"
#elif defined(RECTIFIER_ISA_NEON)
#include "simd_neon.hpp"
#else
#include "simd_baseline.hpp"
#endif

namespace rectifier {
namespace {

template <class V>
inline V from_bits(uint64_t bits) {
  return V(__builtin_bit_cast(double, bits));
}

template <class V>
inline V from_bits32(uint32_t bits) {
  return V(__builtin_bit_cast(float, bits));
}

template <class V>
inline V abs_bits(V v) {
  return bit_andnot(V(-0.0f), v);
}

// The magnitude of `size` (which must carry no sign) with the sign of `sign`.
template <class V>
inline V with_sign_of(V size, V sign) {
  return bit_or(size, bit_and(V(-0.0f), sign));
}

}  // namespace
}  // namespace rectifier
