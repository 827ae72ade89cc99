// One lane, for machines without the other instruction sets. The contract is in simd.hpp.
//
// fma is the C library's: in software where the machine has none, so slow, but the same bits.
#pragma once

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace rectifier {
namespace {

inline float float_of(uint32_t bits) { return __builtin_bit_cast(float, bits); }
inline uint32_t bits_of(float x) { return __builtin_bit_cast(uint32_t, x); }
inline uint64_t bits_of(double x) { return __builtin_bit_cast(uint64_t, x); }

inline float widen(bfloat16 x) { return float_of(static_cast<uint32_t>(x.bits) << 16); }

inline float widen(half x) {
  uint32_t sign = static_cast<uint32_t>(x.bits & 0x8000u) << 16;
  uint32_t magnitude = x.bits & 0x7fffu;
  if (magnitude >= 0x7c00u) {
    // A NaN is made quiet, as the conversion instructions do.
    uint32_t quiet = magnitude > 0x7c00u ? 0x400000u : 0;
    return float_of(sign | 0x7f800000u | quiet | ((magnitude & 0x3ffu) << 13));
  }
  // Reading the bits as a float32 puts the exponent 112 too low; the product is exact, subnormals
  // too.
  float scaled = float_of(magnitude << 13) * 0x1p112f;
  return float_of(sign | bits_of(scaled));
}

inline bfloat16 narrow_bfloat16(float x) {
  uint32_t raw = bits_of(x);
  if (x != x) return {static_cast<uint16_t>((raw | 0x400000u) >> 16)};
  return {static_cast<uint16_t>((raw + 0x7fffu + ((raw >> 16) & 1u)) >> 16)};
}

inline half narrow_half(float x) {
  uint32_t raw = bits_of(x);
  uint32_t sign = (raw >> 16) & 0x8000u;
  uint32_t magnitude = raw & 0x7fffffffu;
  uint32_t out;
  if (magnitude > 0x7f800000u) {
    out = 0x7e00u | ((magnitude >> 13) & 0x3ffu);
  } else if (magnitude >= 0x477ff000u) {  // 65520, the tie between the largest value and infinity
    out = 0x7c00u;
  } else if (magnitude < 0x38800000u) {
    // Subnormal results: an addition whose last place is 2^-24 rounds to it.
    out = bits_of(float_of(magnitude) + 0.5f) - 0x3f000000u;
  } else {
    out = (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  }
  return {static_cast<uint16_t>(sign | out)};
}

template <class T, class Bits>
struct lane {
  static constexpr int width = 1;
  struct mask {
    bool m;
    friend mask operator&(mask a, mask b) { return {a.m && b.m}; }
    friend mask operator|(mask a, mask b) { return {a.m || b.m}; }
    friend mask operator~(mask a) { return {!a.m}; }
  };
  T v;

  lane() = default;
  lane(T x) : v(x) {}
  static lane of_bits(Bits bits) { return __builtin_bit_cast(T, bits); }
  Bits bits() const { return __builtin_bit_cast(Bits, v); }

  template <class Storage>
  static lane load(const Storage* p) {
    if constexpr (sizeof(Storage) == 2) {
      return static_cast<T>(widen(*p));
    } else if constexpr (sizeof(Storage) < sizeof(T)) {
      // A compiler may drop a conversion and its way back, and with them what they do to a
      // signalling NaN, which the vector instructions make quiet.
      uint32_t raw = bits_of(*p);
      return static_cast<T>(float_of((raw & 0x7fffffffu) > 0x7f800000u ? raw | 0x400000u : raw));
    } else {
      return static_cast<T>(*p);
    }
  }
  void store(double* p) const { *p = static_cast<double>(v); }
  void store(float* p) const { *p = static_cast<float>(v); }
  void store(half* p) const { *p = narrow_half(static_cast<float>(v)); }
  void store(bfloat16* p) const { *p = narrow_bfloat16(static_cast<float>(v)); }

  friend lane operator+(lane a, lane b) { return a.v + b.v; }
  friend lane operator-(lane a, lane b) { return a.v - b.v; }
  friend lane operator*(lane a, lane b) { return a.v * b.v; }
  friend lane operator/(lane a, lane b) { return a.v / b.v; }
  friend lane operator-(lane a) { return -a.v; }
  // The built-in ordered comparisons signal on a quiet NaN; these do not.
  friend mask operator<(lane a, lane b) { return {__builtin_isless(a.v, b.v) != 0}; }
  friend mask operator<=(lane a, lane b) { return {__builtin_islessequal(a.v, b.v) != 0}; }
  friend mask operator>(lane a, lane b) { return {__builtin_isgreater(a.v, b.v) != 0}; }
  friend mask operator>=(lane a, lane b) { return {__builtin_isgreaterequal(a.v, b.v) != 0}; }
  friend mask operator==(lane a, lane b) { return {a.v == b.v}; }

  friend lane sqrt(lane a) {
    if constexpr (sizeof(T) == 8) {
      return static_cast<T>(__builtin_sqrt(a.v));
    } else {
      return static_cast<T>(__builtin_sqrtf(a.v));
    }
  }
  friend mask is_nan(lane a) { return {__builtin_isunordered(a.v, a.v) != 0}; }
  friend lane select(mask m, lane a, lane b) { return m.m ? a : b; }
  friend unsigned movemask(mask m) { return m.m; }
  friend lane bit_and(lane a, lane b) { return of_bits(a.bits() & b.bits()); }
  friend lane bit_andnot(lane a, lane b) { return of_bits(~a.bits() & b.bits()); }
  friend lane bit_or(lane a, lane b) { return of_bits(a.bits() | b.bits()); }
};

using f64 = lane<double, uint64_t>;
using f32 = lane<float, uint32_t>;

inline f64 fma(f64 a, f64 b, f64 c) { return __builtin_fma(a.v, b.v, c.v); }
inline f32 fma(f32 a, f32 b, f32 c) { return __builtin_fmaf(a.v, b.v, c.v); }
inline f32 int_add(f32 a, f32 b) { return f32::of_bits(a.bits() + b.bits()); }
template <int n>
inline f32 shift_left(f32 a) {
  return f32::of_bits(a.bits() << n);
}
template <int n>
inline f32 shift_right(f32 a) {
  return f32::of_bits(a.bits() >> n);
}
inline f32::mask no_bits(f32 a, f32 b) { return {(a.bits() & b.bits()) == 0}; }
inline f32 lookup(const float (&table)[16], f32 index) { return table[index.bits() & 15u]; }
// One lane has no halves: it is both.
inline f64 low_half(f32 a) { return static_cast<double>(a.v); }
inline f64 high_half(f32 a) { return low_half(a); }
inline f32 join(f64 low, f64) { return static_cast<float>(low.v); }
inline f64 int_add(f64 a, f64 b) { return f64::of_bits(a.bits() + b.bits()); }
inline f64 int_sub(f64 a, f64 b) { return f64::of_bits(a.bits() - b.bits()); }
template <int n>
inline f64 shift_left(f64 a) {
  return f64::of_bits(a.bits() << n);
}
template <int n>
inline f64 shift_right(f64 a) {
  return f64::of_bits(a.bits() >> n);
}

inline void stream_line(char* out, const char* from) {
#if defined(__SSE2__)
  for (int i = 0; i < 64; i += 16) {
    __m128i quarter = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i));
    _mm_stream_si128(reinterpret_cast<__m128i*>(out + i), quarter);
  }
#else
  __builtin_memcpy(out, from, 64);
#endif
}

inline f64::mask mask_of(f64, unsigned bits) { return {(bits & 1) != 0}; }
inline f32::mask mask_of(f32, unsigned bits) { return {(bits & 1) != 0}; }

}  // namespace
}  // namespace rectifier
