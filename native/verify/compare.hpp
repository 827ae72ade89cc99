// Results held to the exact function: how many are not the nearest value, and how far the worst one
// is off.
//
// Formats of 24 bits or fewer are judged in double first. Where both ends of the interval in which
// the exact value must lie round to the same result, that result is right; that leaves some
// thousands of 2^32 inputs to long double, and of these the few that long double cannot decide are
// handed back, for arithmetic of any precision. float64 starts in long double.
#pragma once

#include <algorithm>
#include <vector>

#include "format.hpp"
#include "reference.hpp"

namespace verify {

struct verdict {
  int64_t misrounded = 0;
  double worst =
      -1;  // in units of the last place; infinite for NaN, infinity or the sign of zero where wrong
  int64_t worst_at = -1;
  std::vector<int64_t> near_ties;
};

// Relative error of the references. 2^-44: the C library's is below 2^-51, an argument of up to 110
// that was rounded to double adds 110 * 2^-53, and the rest is margin. 2^-60 in long double for the
// same reasons, where it is wider than double; where not, it decides nothing.
constexpr double narrow_slack = 0x1p-44;
constexpr bool long_double_is_wider = std::numeric_limits<long double>::digits >= 64;
constexpr long double wide_slack = long_double_is_wider ? 0x1p-60L : 0x1p-44L;
// Arguments of 24 bits leave the quotient's error 2^-64 * 110 in long double too.
constexpr long double second_slack = long_double_is_wider ? 0x1p-55L : 0x1p-44L;

inline bool same(double a, double b) {
  return std::bit_cast<uint64_t>(a) == std::bit_cast<uint64_t>(b) ||
         (std::isnan(a) && std::isnan(b));
}

template <class Format, class R>
double error_of(double got, R exact, double want) {
  if (same(got, want) && (!std::isfinite(want) || exact == R(want))) return 0;
  if (!std::isfinite(got) || !std::isfinite(want)) return std::numeric_limits<double>::infinity();
  if (got == 0 && want == 0 && std::signbit(got) != std::signbit(want)) {
    return std::numeric_limits<double>::infinity();
  }
  int exponent = exact == 0 ? Format::low : std::max(std::ilogb(exact), Format::low);
  return static_cast<double>(std::ldexp(std::fabs(R(got) - exact), Format::digits - 1 - exponent));
}

template <class Format, class R>
void judge(verdict& v, int64_t i, double got, R exact, double want) {
  if (!same(got, want)) ++v.misrounded;
  double error = error_of<Format>(got, exact, want);
  if (error > v.worst) {
    v.worst = error;
    v.worst_at = i;
  }
}

template <class Format, class F, bool exact>
void judge_in_long_double(verdict& v, int64_t i, double x, double got, double p,
                          long double slack) {
  using R = long double;
  R reference = std::isnan(x) ? nan<R> : F::template at<R>(x, p);
  double below = Format::round(reference * (1 - slack)),
         above = Format::round(reference * (1 + slack));
  if (!exact && !same(below, above)) {
    v.near_ties.push_back(i);
    return;
  }
  judge<Format>(v, i, got, reference, Format::round(reference));
}

// 1 / (unit of the last place of v), from v's exponent alone; for formats whose exponents double
// holds with room.
template <class Format>
double per_unit(double v) {
  int64_t exponent = static_cast<int64_t>(std::bit_cast<uint64_t>(v) >> 52 & 0x7ff);
  exponent = std::min<int64_t>(std::max<int64_t>(exponent, Format::low + 1023), 1023 + 200);
  return std::bit_cast<double>(static_cast<uint64_t>(2 * 1023 + Format::digits - 1 - exponent)
                               << 52);
}

template <class Format, class F>
void compare_narrow(verdict& v, const typename Format::bits* x, const typename Format::bits* got,
                    int64_t n, double p) {
  constexpr int block = 512;
  double reference[block], error[block];
  bool settled[block];
  for (int64_t start = 0; start < n; start += block) {
    int size = static_cast<int>(std::min<int64_t>(block, n - start));
    const auto *xs = x + start, *gots = got + start;
    for (int i = 0; i < size; ++i) {
      double wide = Format::load(xs[i]);
      reference[i] = wide != wide ? wide : F::template at<double>(wide, p);
    }
    // The common case without a branch: decided, right, finite, and an error that is a number.
    for (int i = 0; i < size; ++i) {
      double r = reference[i], g = Format::load(gots[i]);
      double below = F::exact_narrow ? Format::round(r) : Format::round(r * (1 - narrow_slack));
      double above = F::exact_narrow ? below : Format::round(r * (1 + narrow_slack));
      settled[i] = (std::bit_cast<uint64_t>(below) == std::bit_cast<uint64_t>(g)) &
                   (std::bit_cast<uint64_t>(above) == std::bit_cast<uint64_t>(g));
      error[i] = std::fabs(g - r) * per_unit<Format>(r);
    }
    for (int i = 0; i < size; ++i) {
      if (settled[i] && error[i] <= v.worst) continue;
      double wide = Format::load(xs[i]), g = Format::load(gots[i]), r = reference[i];
      if (settled[i]) {
        judge<Format>(v, start + i, g, r, g);
      } else if (r != r) {
        judge<Format>(v, start + i, g, r, r);
      } else if (F::exact_narrow) {
        judge<Format>(v, start + i, g, r, Format::round(r));
      } else {
        judge_in_long_double<Format, F, false>(v, start + i, wide, g, p, second_slack);
      }
    }
  }
}

template <class Format, class F>
void compare(verdict& v, const void* x, const void* got, int64_t n, double p) {
  auto* xs = static_cast<const typename Format::bits*>(x);
  auto* gots = static_cast<const typename Format::bits*>(got);
  if constexpr (Format::digits <= 24) {
    compare_narrow<Format, F>(v, xs, gots, n, p);
  } else {
    for (int64_t i = 0; i < n; ++i) {
      judge_in_long_double<Format, F, F::exact_wide>(v, i, Format::load(xs[i]),
                                                     Format::load(gots[i]), p, wide_slack);
    }
  }
}

}  // namespace verify
