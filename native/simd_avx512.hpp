// AVX-512 (F, DQ, BW, VL) lanes. The contract is in simd.hpp.
#pragma once

#include <immintrin.h>

namespace rectifier {
namespace {

inline __m256 widen(const half* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
inline __m256 widen(const bfloat16* p) {
  __m128i raw = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(raw), 16));
}

struct f64 {
  static constexpr int width = 8;
  struct mask {
    __mmask8 m;
    friend mask operator&(mask a, mask b) { return {static_cast<__mmask8>(a.m & b.m)}; }
    friend mask operator|(mask a, mask b) { return {static_cast<__mmask8>(a.m | b.m)}; }
    friend mask operator~(mask a) { return {static_cast<__mmask8>(~a.m)}; }
  };
  __m512d v;

  f64() = default;
  f64(__m512d raw) : v(raw) {}
  f64(double x) : v(_mm512_set1_pd(x)) {}

  static f64 load(const double* p) { return _mm512_loadu_pd(p); }
  static f64 load(const float* p) { return _mm512_cvtps_pd(_mm256_loadu_ps(p)); }
  static f64 load(const half* p) { return _mm512_cvtps_pd(widen(p)); }
  static f64 load(const bfloat16* p) { return _mm512_cvtps_pd(widen(p)); }

  void store(double* p) const { _mm512_storeu_pd(p, v); }
  void store(float* p) const { _mm256_storeu_ps(p, _mm512_cvtpd_ps(v)); }
  void store(half* p) const {
    __m128i raw = _mm256_cvtps_ph(_mm512_cvtpd_ps(v), _MM_FROUND_TO_NEAREST_INT);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), raw);
  }
  void store(bfloat16* p) const {
    __m256i wide = _mm256_srli_epi32(_mm256_castps_si256(_mm512_cvtpd_ps(v)), 16);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtepi32_epi16(wide));
  }

  friend f64 operator+(f64 a, f64 b) { return _mm512_add_pd(a.v, b.v); }
  friend f64 operator-(f64 a, f64 b) { return _mm512_sub_pd(a.v, b.v); }
  friend f64 operator*(f64 a, f64 b) { return _mm512_mul_pd(a.v, b.v); }
  friend f64 operator/(f64 a, f64 b) { return _mm512_div_pd(a.v, b.v); }
  friend f64 operator-(f64 a) { return _mm512_xor_pd(a.v, _mm512_set1_pd(-0.0)); }
  friend mask operator<(f64 a, f64 b) { return {_mm512_cmp_pd_mask(a.v, b.v, _CMP_LT_OQ)}; }
  friend mask operator<=(f64 a, f64 b) { return {_mm512_cmp_pd_mask(a.v, b.v, _CMP_LE_OQ)}; }
  friend mask operator>(f64 a, f64 b) { return {_mm512_cmp_pd_mask(a.v, b.v, _CMP_GT_OQ)}; }
  friend mask operator>=(f64 a, f64 b) { return {_mm512_cmp_pd_mask(a.v, b.v, _CMP_GE_OQ)}; }
  friend mask operator==(f64 a, f64 b) { return {_mm512_cmp_pd_mask(a.v, b.v, _CMP_EQ_OQ)}; }
};

inline f64 fma(f64 a, f64 b, f64 c) { return _mm512_fmadd_pd(a.v, b.v, c.v); }
inline f64 sqrt(f64 a) { return _mm512_sqrt_pd(a.v); }
inline f64::mask is_nan(f64 a) { return {_mm512_cmp_pd_mask(a.v, a.v, _CMP_UNORD_Q)}; }
inline f64 select(f64::mask m, f64 a, f64 b) { return _mm512_mask_blend_pd(m.m, b.v, a.v); }
inline unsigned movemask(f64::mask m) { return m.m; }
inline f64 bit_and(f64 a, f64 b) { return _mm512_and_pd(a.v, b.v); }
inline f64 bit_andnot(f64 a, f64 b) { return _mm512_andnot_pd(a.v, b.v); }
inline f64 bit_or(f64 a, f64 b) { return _mm512_or_pd(a.v, b.v); }
inline f64 int_add(f64 a, f64 b) {
  return _mm512_castsi512_pd(_mm512_add_epi64(_mm512_castpd_si512(a.v), _mm512_castpd_si512(b.v)));
}
inline f64 int_sub(f64 a, f64 b) {
  return _mm512_castsi512_pd(_mm512_sub_epi64(_mm512_castpd_si512(a.v), _mm512_castpd_si512(b.v)));
}
template <int n>
inline f64 shift_left(f64 a) {
  return _mm512_castsi512_pd(_mm512_slli_epi64(_mm512_castpd_si512(a.v), n));
}
template <int n>
inline f64 shift_right(f64 a) {
  return _mm512_castsi512_pd(_mm512_srli_epi64(_mm512_castpd_si512(a.v), n));
}

struct f32 {
  static constexpr int width = 16;
  struct mask {
    __mmask16 m;
    friend mask operator&(mask a, mask b) { return {static_cast<__mmask16>(a.m & b.m)}; }
    friend mask operator|(mask a, mask b) { return {static_cast<__mmask16>(a.m | b.m)}; }
    friend mask operator~(mask a) { return {static_cast<__mmask16>(~a.m)}; }
  };
  __m512 v;

  f32() = default;
  f32(__m512 raw) : v(raw) {}
  f32(float x) : v(_mm512_set1_ps(x)) {}

  static f32 load(const float* p) { return _mm512_loadu_ps(p); }
  static f32 load(const half* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static f32 load(const bfloat16* p) {
    __m256i raw = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(raw), 16));
  }

  void store(float* p) const { _mm512_storeu_ps(p, v); }
  void store(half* p) const {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                        _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
  }
  void store(bfloat16* p) const {
    __m512i raw = _mm512_castps_si512(v);
    __m512i even = _mm512_and_si512(_mm512_srli_epi32(raw, 16), _mm512_set1_epi32(1));
    __m512i near = _mm512_add_epi32(_mm512_add_epi32(raw, _mm512_set1_epi32(0x7fff)), even);
    __m512i quiet = _mm512_or_si512(raw, _mm512_set1_epi32(0x400000));
    __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
    __m512i both = _mm512_srli_epi32(_mm512_mask_blend_epi32(nan, near, quiet), 16);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(both));
  }

  friend f32 operator+(f32 a, f32 b) { return _mm512_add_ps(a.v, b.v); }
  friend f32 operator-(f32 a, f32 b) { return _mm512_sub_ps(a.v, b.v); }
  friend f32 operator*(f32 a, f32 b) { return _mm512_mul_ps(a.v, b.v); }
  friend f32 operator/(f32 a, f32 b) { return _mm512_div_ps(a.v, b.v); }
  friend mask operator<(f32 a, f32 b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)}; }
  friend mask operator<=(f32 a, f32 b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LE_OQ)}; }
  friend mask operator>(f32 a, f32 b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_GT_OQ)}; }
  friend mask operator>=(f32 a, f32 b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_GE_OQ)}; }
  friend mask operator==(f32 a, f32 b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ)}; }
};

inline f32 operator-(f32 a) { return _mm512_xor_ps(a.v, _mm512_set1_ps(-0.0f)); }
inline f32 fma(f32 a, f32 b, f32 c) { return _mm512_fmadd_ps(a.v, b.v, c.v); }
inline f32 sqrt(f32 a) { return _mm512_sqrt_ps(a.v); }
inline f32::mask is_nan(f32 a) { return {_mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q)}; }
inline f32 select(f32::mask m, f32 a, f32 b) { return _mm512_mask_blend_ps(m.m, b.v, a.v); }
inline unsigned movemask(f32::mask m) { return m.m; }
inline f32 bit_and(f32 a, f32 b) { return _mm512_and_ps(a.v, b.v); }
inline f32 bit_andnot(f32 a, f32 b) { return _mm512_andnot_ps(a.v, b.v); }
inline f32 bit_or(f32 a, f32 b) { return _mm512_or_ps(a.v, b.v); }
inline f32 int_add(f32 a, f32 b) {
  return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(a.v), _mm512_castps_si512(b.v)));
}
template <int n>
inline f32 shift_left(f32 a) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(a.v), n));
}
template <int n>
inline f32 shift_right(f32 a) {
  return _mm512_castsi512_ps(_mm512_srli_epi32(_mm512_castps_si512(a.v), n));
}
inline f32::mask no_bits(f32 a, f32 b) {
  return {_mm512_testn_epi32_mask(_mm512_castps_si512(a.v), _mm512_castps_si512(b.v))};
}
inline f32 lookup(const float (&table)[16], f32 index) {
  return _mm512_permutexvar_ps(_mm512_castps_si512(index.v), _mm512_loadu_ps(table));
}
inline f64 low_half(f32 a) { return _mm512_cvtps_pd(_mm512_castps512_ps256(a.v)); }
inline f64 high_half(f32 a) { return _mm512_cvtps_pd(_mm512_extractf32x8_ps(a.v, 1)); }
inline f32 join(f64 low, f64 high) {
  __m512 result = _mm512_castps256_ps512(_mm512_cvtpd_ps(low.v));
  return _mm512_insertf32x8(result, _mm512_cvtpd_ps(high.v), 1);
}

// A cache line past the cache; `out` lies on a line's start.
inline void stream_line(char* out, const char* from) {
  _mm512_stream_si512(reinterpret_cast<__m512i*>(out), _mm512_loadu_si512(from));
}

inline f64::mask mask_of(f64, unsigned bits) { return {static_cast<__mmask8>(bits)}; }
inline f32::mask mask_of(f32, unsigned bits) { return {static_cast<__mmask16>(bits)}; }

}  // namespace
}  // namespace rectifier
