// Advanced SIMD (aarch64) lanes. The contract is in simd.hpp.
#pragma once

#include <arm_neon.h>

namespace rectifier {
namespace {

// Two 16-bit values fill half of the narrowest vector load, so they come through a 32-bit copy.
inline uint16x4_t load_pair(const void* p) {
  uint32_t raw;
  __builtin_memcpy(&raw, p, sizeof raw);
  return vreinterpret_u16_u32(vdup_n_u32(raw));
}
inline void store_pair(void* p, uint16x4_t v) {
  uint32_t raw = vget_lane_u32(vreinterpret_u32_u16(v), 0);
  __builtin_memcpy(p, &raw, sizeof raw);
}
inline float32x4_t widen_half(uint16x4_t raw) { return vcvt_f32_f16(vreinterpret_f16_u16(raw)); }
inline float32x4_t widen_bfloat16(uint16x4_t raw) {
  return vreinterpretq_f32_u32(vshll_n_u16(raw, 16));
}

struct f64 {
  static constexpr int width = 2;
  struct mask {
    uint64x2_t m;
    friend mask operator&(mask a, mask b) { return {vandq_u64(a.m, b.m)}; }
    friend mask operator|(mask a, mask b) { return {vorrq_u64(a.m, b.m)}; }
    friend mask operator~(mask a) { return {veorq_u64(a.m, vdupq_n_u64(~uint64_t{0}))}; }
  };
  float64x2_t v;

  f64() = default;
  f64(float64x2_t raw) : v(raw) {}
  f64(double x) : v(vdupq_n_f64(x)) {}
  static f64 of_bits(uint64x2_t raw) { return vreinterpretq_f64_u64(raw); }
  uint64x2_t bits() const { return vreinterpretq_u64_f64(v); }

  static f64 load(const double* p) { return vld1q_f64(p); }
  static f64 load(const float* p) { return vcvt_f64_f32(vld1_f32(p)); }
  static f64 load(const half* p) { return vcvt_f64_f32(vget_low_f32(widen_half(load_pair(p)))); }
  static f64 load(const bfloat16* p) {
    return vcvt_f64_f32(vget_low_f32(widen_bfloat16(load_pair(p))));
  }

  void store(double* p) const { vst1q_f64(p, v); }
  void store(float* p) const { vst1_f32(p, vcvt_f32_f64(v)); }
  void store(half* p) const {
    float32x2_t f = vcvt_f32_f64(v);
    store_pair(p, vreinterpret_u16_f16(vcvt_f16_f32(vcombine_f32(f, f))));
  }
  void store(bfloat16* p) const {
    float32x2_t f = vcvt_f32_f64(v);
    store_pair(p, vshrn_n_u32(vreinterpretq_u32_f32(vcombine_f32(f, f)), 16));
  }

  friend f64 operator+(f64 a, f64 b) { return vaddq_f64(a.v, b.v); }
  friend f64 operator-(f64 a, f64 b) { return vsubq_f64(a.v, b.v); }
  friend f64 operator*(f64 a, f64 b) { return vmulq_f64(a.v, b.v); }
  friend f64 operator/(f64 a, f64 b) { return vdivq_f64(a.v, b.v); }
  friend f64 operator-(f64 a) { return vnegq_f64(a.v); }
  // fcmgt and fcmge signal on a quiet NaN; the caller's guard drops the invalid flag (module.cpp).
  friend mask operator<(f64 a, f64 b) { return {vcltq_f64(a.v, b.v)}; }
  friend mask operator<=(f64 a, f64 b) { return {vcleq_f64(a.v, b.v)}; }
  friend mask operator>(f64 a, f64 b) { return {vcgtq_f64(a.v, b.v)}; }
  friend mask operator>=(f64 a, f64 b) { return {vcgeq_f64(a.v, b.v)}; }
  friend mask operator==(f64 a, f64 b) { return {vceqq_f64(a.v, b.v)}; }
};

inline f64 fma(f64 a, f64 b, f64 c) { return vfmaq_f64(c.v, a.v, b.v); }
inline f64 sqrt(f64 a) { return vsqrtq_f64(a.v); }
inline f64::mask is_nan(f64 a) { return ~(a == a); }
inline f64 select(f64::mask m, f64 a, f64 b) { return vbslq_f64(m.m, a.v, b.v); }
inline unsigned movemask(f64::mask m) {
  return static_cast<unsigned>((vgetq_lane_u64(m.m, 0) & 1u) | (vgetq_lane_u64(m.m, 1) & 2u));
}
inline f64 bit_and(f64 a, f64 b) { return f64::of_bits(vandq_u64(a.bits(), b.bits())); }
inline f64 bit_andnot(f64 a, f64 b) { return f64::of_bits(vbicq_u64(b.bits(), a.bits())); }
inline f64 bit_or(f64 a, f64 b) { return f64::of_bits(vorrq_u64(a.bits(), b.bits())); }
inline f64 int_add(f64 a, f64 b) { return f64::of_bits(vaddq_u64(a.bits(), b.bits())); }
inline f64 int_sub(f64 a, f64 b) { return f64::of_bits(vsubq_u64(a.bits(), b.bits())); }
template <int n>
inline f64 shift_left(f64 a) {
  return f64::of_bits(vshlq_n_u64(a.bits(), n));
}
template <int n>
inline f64 shift_right(f64 a) {
  return f64::of_bits(vshrq_n_u64(a.bits(), n));
}

struct f32 {
  static constexpr int width = 4;
  struct mask {
    uint32x4_t m;
    friend mask operator&(mask a, mask b) { return {vandq_u32(a.m, b.m)}; }
    friend mask operator|(mask a, mask b) { return {vorrq_u32(a.m, b.m)}; }
    friend mask operator~(mask a) { return {vmvnq_u32(a.m)}; }
  };
  float32x4_t v;

  f32() = default;
  f32(float32x4_t raw) : v(raw) {}
  f32(float x) : v(vdupq_n_f32(x)) {}
  static f32 of_bits(uint32x4_t raw) { return vreinterpretq_f32_u32(raw); }
  uint32x4_t bits() const { return vreinterpretq_u32_f32(v); }

  static f32 load(const float* p) { return vld1q_f32(p); }
  static f32 load(const half* p) {
    return widen_half(vld1_u16(reinterpret_cast<const uint16_t*>(p)));
  }
  static f32 load(const bfloat16* p) {
    return widen_bfloat16(vld1_u16(reinterpret_cast<const uint16_t*>(p)));
  }

  void store(float* p) const { vst1q_f32(p, v); }
  void store(half* p) const {
    vst1_u16(reinterpret_cast<uint16_t*>(p), vreinterpret_u16_f16(vcvt_f16_f32(v)));
  }
  void store(bfloat16* p) const {
    uint32x4_t raw = bits();
    uint32x4_t even = vandq_u32(vshrq_n_u32(raw, 16), vdupq_n_u32(1));
    uint32x4_t near = vaddq_u32(vaddq_u32(raw, vdupq_n_u32(0x7fff)), even);
    uint32x4_t quiet = vorrq_u32(raw, vdupq_n_u32(0x400000));
    uint32x4_t number = vceqq_f32(v, v);
    vst1_u16(reinterpret_cast<uint16_t*>(p), vshrn_n_u32(vbslq_u32(number, near, quiet), 16));
  }

  friend f32 operator+(f32 a, f32 b) { return vaddq_f32(a.v, b.v); }
  friend f32 operator-(f32 a, f32 b) { return vsubq_f32(a.v, b.v); }
  friend f32 operator*(f32 a, f32 b) { return vmulq_f32(a.v, b.v); }
  friend f32 operator/(f32 a, f32 b) { return vdivq_f32(a.v, b.v); }
  friend f32 operator-(f32 a) { return vnegq_f32(a.v); }
  friend mask operator<(f32 a, f32 b) { return {vcltq_f32(a.v, b.v)}; }
  friend mask operator<=(f32 a, f32 b) { return {vcleq_f32(a.v, b.v)}; }
  friend mask operator>(f32 a, f32 b) { return {vcgtq_f32(a.v, b.v)}; }
  friend mask operator>=(f32 a, f32 b) { return {vcgeq_f32(a.v, b.v)}; }
  friend mask operator==(f32 a, f32 b) { return {vceqq_f32(a.v, b.v)}; }
};

inline f32 sqrt(f32 a) { return vsqrtq_f32(a.v); }
inline f32::mask is_nan(f32 a) { return ~(a == a); }
inline f32 select(f32::mask m, f32 a, f32 b) { return vbslq_f32(m.m, a.v, b.v); }
inline unsigned movemask(f32::mask m) {
  const uint32x4_t weights = {1, 2, 4, 8};
  return vaddvq_u32(vandq_u32(m.m, weights));
}
inline f32 bit_and(f32 a, f32 b) { return f32::of_bits(vandq_u32(a.bits(), b.bits())); }
inline f32 bit_andnot(f32 a, f32 b) { return f32::of_bits(vbicq_u32(b.bits(), a.bits())); }
inline f32 bit_or(f32 a, f32 b) { return f32::of_bits(vorrq_u32(a.bits(), b.bits())); }
inline f32 fma(f32 a, f32 b, f32 c) { return vfmaq_f32(c.v, a.v, b.v); }
inline f32 int_add(f32 a, f32 b) { return f32::of_bits(vaddq_u32(a.bits(), b.bits())); }
template <int n>
inline f32 shift_left(f32 a) {
  return f32::of_bits(vshlq_n_u32(a.bits(), n));
}
template <int n>
inline f32 shift_right(f32 a) {
  return f32::of_bits(vshrq_n_u32(a.bits(), n));
}
inline f32::mask no_bits(f32 a, f32 b) { return {vceqzq_u32(vandq_u32(a.bits(), b.bits()))}; }
inline f32 lookup(const float (&table)[16], f32 index) {
  // The four bytes of entry i are bytes 4 i to 4 i + 3 of the table.
  uint32x4_t entry = vandq_u32(index.bits(), vdupq_n_u32(15));
  uint32x4_t bytes = vmlaq_n_u32(vdupq_n_u32(0x03020100), entry, 0x04040404);
  const uint8_t* p = reinterpret_cast<const uint8_t*>(table);
  uint8x16x4_t all = {vld1q_u8(p), vld1q_u8(p + 16), vld1q_u8(p + 32), vld1q_u8(p + 48)};
  return vreinterpretq_f32_u8(vqtbl4q_u8(all, vreinterpretq_u8_u32(bytes)));
}
inline f64 low_half(f32 a) { return vcvt_f64_f32(vget_low_f32(a.v)); }
inline f64 high_half(f32 a) { return vcvt_high_f64_f32(a.v); }
inline f32 join(f64 low, f64 high) { return vcvt_high_f32_f64(vcvt_f32_f64(low.v), high.v); }

// Nothing past the cache here: no machine to measure it on.
inline void stream_line(char* out, const char* from) { __builtin_memcpy(out, from, 64); }

inline f64::mask mask_of(f64, unsigned bits) {
  const uint64_t lanes[2] = {1, 2};
  return {vtstq_u64(vdupq_n_u64(bits), vld1q_u64(lanes))};
}
inline f32::mask mask_of(f32, unsigned bits) {
  const uint32_t lanes[4] = {1, 2, 4, 8};
  return {vtstq_u32(vdupq_n_u32(bits), vld1q_u32(lanes))};
}

}  // namespace
}  // namespace rectifier
