// The gate of an array: one bit a value, set where it is positive or NaN.
//
// Bits are in the order of the values, the first in the lowest bit of the first byte; the last byte
// is filled up with zeros.
#pragma once

#include "loops.hpp"

namespace rectifier {
namespace {

struct gate_lanes {
  static constexpr lanes on = lanes::same;
};

template <class T>
using gate_vector = typename types<gate_lanes, T>::vector;

// Eight values from p.
template <class T>
inline unsigned eight_gates(const T* p) {
  using V = gate_vector<T>;
  unsigned bits = 0;
#pragma GCC unroll 8
  for (int i = 0; i < 8; i += V::width) {
    bits |= movemask(~(V::load(p + i) <= V(0.0f))) << i;
  }
  return bits;
}

template <class T>
void pack_floating(const char* values, ptrdiff_t n, uint8_t* bits) {
  using V = gate_vector<T>;
  const T* x = reinterpret_cast<const T*>(values);
  ptrdiff_t i = 0;
  if constexpr (V::width == 16) {
    for (; i + 16 <= n; i += 16) {
      unsigned gates = movemask(~(V::load(x + i) <= V(0.0f)));
      uint16_t two_bytes = static_cast<uint16_t>(gates);
      __builtin_memcpy(bits + i / 8, &two_bytes, 2);
    }
  } else {
    for (; i + 8 <= n; i += 8) bits[i / 8] = static_cast<uint8_t>(eight_gates(x + i));
  }
  if (i < n) {
    T padded[16] = {};
    for (ptrdiff_t j = i; j < n; ++j) padded[j - i] = x[j];
    unsigned gates;
    if constexpr (V::width == 16) {
      gates = movemask(~(V::load(padded) <= V(0.0f)));
    } else {
      gates = eight_gates(padded);
    }
    for (ptrdiff_t j = i; j < n; j += 8) bits[j / 8] = static_cast<uint8_t>(gates >> (j - i));
  }
}

template <class T>
void pack_integer(const char* values, ptrdiff_t n, uint8_t* bits) {
  const T* x = reinterpret_cast<const T*>(values);
  for (ptrdiff_t i = 0; i < n; i += 8) {
    ptrdiff_t count = n - i < 8 ? n - i : 8;
    unsigned gates = 0;
    for (ptrdiff_t j = 0; j < count; ++j) gates |= static_cast<unsigned>(x[i + j] > 0) << j;
    bits[i / 8] = static_cast<uint8_t>(gates);
  }
}

}  // namespace
}  // namespace rectifier
