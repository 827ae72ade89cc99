// Rounding a double lane once, to nearest even, into a 16-bit format.
//
// Going through float32 would round twice, and where the first rounding lands on a tie of the
// second the result is wrong. So the double is rounded to a value the format holds exactly, and the
// conversions in the store that follows are then all exact.
#pragma once

#include "../simd.hpp"

namespace rectifier {
namespace {

template <class Storage>
struct format;

template <>
struct format<half> {
  static constexpr int dropped = 52 - 10;
  static constexpr double smallest_normal = 0x1p-14;
  // Adding 1.5 * 2^52 times the subnormals' spacing makes that spacing the last place of the sum.
  static constexpr double subnormal_grid = 0x1.8p28;
  static constexpr double overflow = 65536.0;
};

template <>
struct format<bfloat16> {
  static constexpr int dropped = 52 - 7;
  static constexpr double smallest_normal = 0x1p-126;
  static constexpr double subnormal_grid = 0x1.8p-81;
  static constexpr double overflow = 0x1p128;
};

template <class Storage, class V>
inline V round_to(V x) {
  using F = format<Storage>;
  constexpr uint64_t last_place = uint64_t{1} << F::dropped;
  V size = abs_bits(x);
  V odd = bit_and(shift_right<F::dropped>(size), from_bits<V>(1));
  V carried = int_add(int_add(size, from_bits<V>(last_place / 2 - 1)), odd);
  V normal = bit_and(carried, from_bits<V>(~(last_place - 1)));
  // A large `size` would only make this branch's sum inexact, but an infinite one invalid.
  auto tiny = size < V(F::smallest_normal);
  V small = select(tiny, size, V(0.0));
  V subnormal = (small + V(F::subnormal_grid)) - V(F::subnormal_grid);
  V rounded = select(tiny, subnormal, normal);
  rounded = select(rounded >= V(F::overflow), V(__builtin_inf()), rounded);
  return select(is_nan(x), x, with_sign_of(rounded, x));
}

}  // namespace
}  // namespace rectifier
