// AVX2 lanes with FMA and F16C. The contract is in simd.hpp.
#pragma once

#include <immintrin.h>

namespace rectifier {
namespace {

inline __m128 widen(const half* p) {
  return _mm_cvtph_ps(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
}
inline __m128 widen(const bfloat16* p) {
  __m128i raw = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
  return _mm_castsi128_ps(_mm_slli_epi32(_mm_cvtepu16_epi32(raw), 16));
}

struct f64 {
  static constexpr int width = 4;
  struct mask {
    __m256d m;
    friend mask operator&(mask a, mask b) { return {_mm256_and_pd(a.m, b.m)}; }
    friend mask operator|(mask a, mask b) { return {_mm256_or_pd(a.m, b.m)}; }
    friend mask operator~(mask a) {
      return {_mm256_xor_pd(a.m, _mm256_castsi256_pd(_mm256_set1_epi64x(-1)))};
    }
  };
  __m256d v;

  f64() = default;
  f64(__m256d raw) : v(raw) {}
  f64(double x) : v(_mm256_set1_pd(x)) {}

  static f64 load(const double* p) { return _mm256_loadu_pd(p); }
  static f64 load(const float* p) { return _mm256_cvtps_pd(_mm_loadu_ps(p)); }
  static f64 load(const half* p) { return _mm256_cvtps_pd(widen(p)); }
  static f64 load(const bfloat16* p) { return _mm256_cvtps_pd(widen(p)); }

  void store(double* p) const { _mm256_storeu_pd(p, v); }
  void store(float* p) const { _mm_storeu_ps(p, _mm256_cvtpd_ps(v)); }
  void store(half* p) const {
    __m128i raw = _mm_cvtps_ph(_mm256_cvtpd_ps(v), _MM_FROUND_TO_NEAREST_INT);
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), raw);
  }
  void store(bfloat16* p) const {
    __m128i wide = _mm_srli_epi32(_mm_castps_si128(_mm256_cvtpd_ps(v)), 16);
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packus_epi32(wide, wide));
  }

  friend f64 operator+(f64 a, f64 b) { return _mm256_add_pd(a.v, b.v); }
  friend f64 operator-(f64 a, f64 b) { return _mm256_sub_pd(a.v, b.v); }
  friend f64 operator*(f64 a, f64 b) { return _mm256_mul_pd(a.v, b.v); }
  friend f64 operator/(f64 a, f64 b) { return _mm256_div_pd(a.v, b.v); }
  friend f64 operator-(f64 a) { return _mm256_xor_pd(a.v, _mm256_set1_pd(-0.0)); }
  friend mask operator<(f64 a, f64 b) { return {_mm256_cmp_pd(a.v, b.v, _CMP_LT_OQ)}; }
  friend mask operator<=(f64 a, f64 b) { return {_mm256_cmp_pd(a.v, b.v, _CMP_LE_OQ)}; }
  friend mask operator>(f64 a, f64 b) { return {_mm256_cmp_pd(a.v, b.v, _CMP_GT_OQ)}; }
  friend mask operator>=(f64 a, f64 b) { return {_mm256_cmp_pd(a.v, b.v, _CMP_GE_OQ)}; }
  friend mask operator==(f64 a, f64 b) { return {_mm256_cmp_pd(a.v, b.v, _CMP_EQ_OQ)}; }
};

inline f64 fma(f64 a, f64 b, f64 c) { return _mm256_fmadd_pd(a.v, b.v, c.v); }
inline f64 sqrt(f64 a) { return _mm256_sqrt_pd(a.v); }
inline f64::mask is_nan(f64 a) { return {_mm256_cmp_pd(a.v, a.v, _CMP_UNORD_Q)}; }
inline f64 select(f64::mask m, f64 a, f64 b) { return _mm256_blendv_pd(b.v, a.v, m.m); }
inline unsigned movemask(f64::mask m) { return static_cast<unsigned>(_mm256_movemask_pd(m.m)); }
inline f64 bit_and(f64 a, f64 b) { return _mm256_and_pd(a.v, b.v); }
inline f64 bit_andnot(f64 a, f64 b) { return _mm256_andnot_pd(a.v, b.v); }
inline f64 bit_or(f64 a, f64 b) { return _mm256_or_pd(a.v, b.v); }
inline f64 int_add(f64 a, f64 b) {
  return _mm256_castsi256_pd(_mm256_add_epi64(_mm256_castpd_si256(a.v), _mm256_castpd_si256(b.v)));
}
inline f64 int_sub(f64 a, f64 b) {
  return _mm256_castsi256_pd(_mm256_sub_epi64(_mm256_castpd_si256(a.v), _mm256_castpd_si256(b.v)));
}
template <int n>
inline f64 shift_left(f64 a) {
  return _mm256_castsi256_pd(_mm256_slli_epi64(_mm256_castpd_si256(a.v), n));
}
template <int n>
inline f64 shift_right(f64 a) {
  return _mm256_castsi256_pd(_mm256_srli_epi64(_mm256_castpd_si256(a.v), n));
}

struct f32 {
  static constexpr int width = 8;
  struct mask {
    __m256 m;
    friend mask operator&(mask a, mask b) { return {_mm256_and_ps(a.m, b.m)}; }
    friend mask operator|(mask a, mask b) { return {_mm256_or_ps(a.m, b.m)}; }
    friend mask operator~(mask a) {
      return {_mm256_xor_ps(a.m, _mm256_castsi256_ps(_mm256_set1_epi32(-1)))};
    }
  };
  __m256 v;

  f32() = default;
  f32(__m256 raw) : v(raw) {}
  f32(float x) : v(_mm256_set1_ps(x)) {}

  static f32 load(const float* p) { return _mm256_loadu_ps(p); }
  static f32 load(const half* p) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static f32 load(const bfloat16* p) {
    __m128i raw = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(raw), 16));
  }

  void store(float* p) const { _mm256_storeu_ps(p, v); }
  void store(half* p) const {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
  }
  void store(bfloat16* p) const {
    __m256i raw = _mm256_castps_si256(v);
    __m256i even = _mm256_and_si256(_mm256_srli_epi32(raw, 16), _mm256_set1_epi32(1));
    __m256i near = _mm256_add_epi32(_mm256_add_epi32(raw, _mm256_set1_epi32(0x7fff)), even);
    __m256i quiet = _mm256_or_si256(raw, _mm256_set1_epi32(0x400000));
    __m256 nan = _mm256_cmp_ps(v, v, _CMP_UNORD_Q);
    __m256 both = _mm256_blendv_ps(_mm256_castsi256_ps(near), _mm256_castsi256_ps(quiet), nan);
    __m256i top = _mm256_srli_epi32(_mm256_castps_si256(both), 16);
    __m128i packed =
        _mm_packus_epi32(_mm256_castsi256_si128(top), _mm256_extracti128_si256(top, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), packed);
  }

  friend f32 operator+(f32 a, f32 b) { return _mm256_add_ps(a.v, b.v); }
  friend f32 operator-(f32 a, f32 b) { return _mm256_sub_ps(a.v, b.v); }
  friend f32 operator*(f32 a, f32 b) { return _mm256_mul_ps(a.v, b.v); }
  friend f32 operator/(f32 a, f32 b) { return _mm256_div_ps(a.v, b.v); }
  friend mask operator<(f32 a, f32 b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ)}; }
  friend mask operator<=(f32 a, f32 b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LE_OQ)}; }
  friend mask operator>(f32 a, f32 b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_GT_OQ)}; }
  friend mask operator>=(f32 a, f32 b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_GE_OQ)}; }
  friend mask operator==(f32 a, f32 b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_EQ_OQ)}; }
};

inline f32 operator-(f32 a) { return _mm256_xor_ps(a.v, _mm256_set1_ps(-0.0f)); }
inline f32 fma(f32 a, f32 b, f32 c) { return _mm256_fmadd_ps(a.v, b.v, c.v); }
inline f32 sqrt(f32 a) { return _mm256_sqrt_ps(a.v); }
inline f32::mask is_nan(f32 a) { return {_mm256_cmp_ps(a.v, a.v, _CMP_UNORD_Q)}; }
inline f32 select(f32::mask m, f32 a, f32 b) { return _mm256_blendv_ps(b.v, a.v, m.m); }
inline unsigned movemask(f32::mask m) { return static_cast<unsigned>(_mm256_movemask_ps(m.m)); }
inline f32 bit_and(f32 a, f32 b) { return _mm256_and_ps(a.v, b.v); }
inline f32 bit_andnot(f32 a, f32 b) { return _mm256_andnot_ps(a.v, b.v); }
inline f32 bit_or(f32 a, f32 b) { return _mm256_or_ps(a.v, b.v); }
inline f32 int_add(f32 a, f32 b) {
  return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(a.v), _mm256_castps_si256(b.v)));
}
template <int n>
inline f32 shift_left(f32 a) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(a.v), n));
}
template <int n>
inline f32 shift_right(f32 a) {
  return _mm256_castsi256_ps(_mm256_srli_epi32(_mm256_castps_si256(a.v), n));
}
inline f32::mask no_bits(f32 a, f32 b) {
  __m256i both = _mm256_castps_si256(_mm256_and_ps(a.v, b.v));
  return {_mm256_castsi256_ps(_mm256_cmpeq_epi32(both, _mm256_setzero_si256()))};
}
inline f32 lookup(const float (&table)[16], f32 index) {
  __m256i i = _mm256_castps_si256(index.v);
  __m256 first = _mm256_permutevar8x32_ps(_mm256_loadu_ps(table), i);
  __m256 second = _mm256_permutevar8x32_ps(_mm256_loadu_ps(table + 8), i);
  return _mm256_blendv_ps(first, second, _mm256_castsi256_ps(_mm256_slli_epi32(i, 28)));
}
inline f64 low_half(f32 a) { return _mm256_cvtps_pd(_mm256_castps256_ps128(a.v)); }
inline f64 high_half(f32 a) { return _mm256_cvtps_pd(_mm256_extractf128_ps(a.v, 1)); }
inline f32 join(f64 low, f64 high) {
  return _mm256_set_m128(_mm256_cvtpd_ps(high.v), _mm256_cvtpd_ps(low.v));
}

inline void stream_line(char* out, const char* from) {
  const __m256i* line = reinterpret_cast<const __m256i*>(from);
  __m256i* to = reinterpret_cast<__m256i*>(out);
  __m256i a = _mm256_loadu_si256(line), b = _mm256_loadu_si256(line + 1);
  _mm256_stream_si256(to, a);
  _mm256_stream_si256(to + 1, b);
}

inline f64::mask mask_of(f64, unsigned bits) {
  const __m256i lane = _mm256_setr_epi64x(1, 2, 4, 8);
  __m256i own = _mm256_and_si256(_mm256_set1_epi64x(bits), lane);
  return {_mm256_castsi256_pd(_mm256_cmpeq_epi64(own, lane))};
}
inline f32::mask mask_of(f32, unsigned bits) {
  const __m256i lane = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  __m256i own = _mm256_and_si256(_mm256_set1_epi32(static_cast<int>(bits)), lane);
  return {_mm256_castsi256_ps(_mm256_cmpeq_epi32(own, lane))};
}

}  // namespace
}  // namespace rectifier
