// The formats judged: how a value is read, and how a number of a wider type is rounded to one.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace verify {

// To nearest even with `digits` bits, the smallest normal exponent `low` and the largest `high`.
template <int digits, int low, int high, class R>
double rounded(R v) {
  if (!std::isfinite(v) || v == 0) return static_cast<double>(v);
  int exponent = std::ilogb(v);
  R unit = std::ldexp(R(1), (exponent < low ? low : exponent) - digits + 1);
  double result = static_cast<double>(std::nearbyint(v / unit) * unit);
  double beyond = std::ldexp(1.0, high + 1);
  return std::fabs(result) < beyond
             ? result
             : std::copysign(std::numeric_limits<double>::infinity(), result);
}

struct float16 {
  using bits = uint16_t;
  static constexpr int digits = 11, low = -14;
  static double load(bits b) {
    int exponent = (b >> 10) & 31;
    double significand = b & 1023;
    double size = exponent == 31  ? (significand == 0 ? std::numeric_limits<double>::infinity()
                                                      : std::numeric_limits<double>::quiet_NaN())
                  : exponent == 0 ? std::ldexp(significand, -24)
                                  : std::ldexp(significand + 1024, exponent - 25);
    return b >> 15 ? -size : size;
  }
  template <class R>
  static double round(R v) {
    return rounded<11, -14, 15>(v);
  }
};

struct bfloat16 {
  using bits = uint16_t;
  static constexpr int digits = 8, low = -126;
  static double load(bits b) { return std::bit_cast<float>(uint32_t{b} << 16); }
  template <class R>
  static double round(R v) {
    return rounded<8, -126, 127>(v);
  }
};

struct float32 {
  using bits = uint32_t;
  static constexpr int digits = 24, low = -126;
  static double load(bits b) { return std::bit_cast<float>(b); }
  template <class R>
  static double round(R v) {
    return static_cast<float>(v);
  }
};

struct float64 {
  using bits = uint64_t;
  static constexpr int digits = 53, low = -1022;
  static double load(bits b) { return std::bit_cast<double>(b); }
  template <class R>
  static double round(R v) {
    return static_cast<double>(v);
  }
};

}  // namespace verify
