// A value with its gate in one pass, and the backward pass from the gate.
//
// Sixteen values at a time, whatever the lanes: two bytes of bits. The rest goes through buffers,
// padded with its own first value.
#pragma once

#include "loops.hpp"

namespace rectifier {
namespace {

enum class planes { none, zeros, inside };

inline void put_sixteen(uint8_t* to, unsigned bits) {
  uint16_t both = static_cast<uint16_t>(bits);
  __builtin_memcpy(to, &both, 2);
}

inline void put_bits(uint8_t* to, unsigned bits, ptrdiff_t n) {
  if (n < 16) bits &= (1u << n) - 1;
  to[0] = static_cast<uint8_t>(bits);
  if (n > 8) to[1] = static_cast<uint8_t>(bits >> 8);
}

inline unsigned get_bits(const uint8_t* from, ptrdiff_t n) {
  return n > 8 ? from[0] | static_cast<unsigned>(from[1]) << 8 : from[0];
}

// Parameters [start, start + n), and on to a multiple of 16 the first of the last sixteen.
template <class P>
inline void lay_out(const pattern& p, ptrdiff_t start, ptrdiff_t n, P* to) {
  const P* values = reinterpret_cast<const P*>(p.values);
  ptrdiff_t place = start % p.inner, index = start / p.inner % p.period;
  for (ptrdiff_t i = 0; i < n;) {
    ptrdiff_t run = p.inner - place < n - i ? p.inner - place : n - i;
    for (ptrdiff_t j = 0; j < run; ++j) to[i + j] = values[index];
    i += run;
    place = 0;
    if (++index == p.period) index = 0;
  }
  for (ptrdiff_t i = n; i % 16 != 0; ++i) to[i] = to[n - n % 16];
}

// Calls run(first, count, parameters) over stretches; parameters(j) is what apply takes for the
// lanes from `first` + j on.
template <class Op, class T, class Run>
inline void with_parameters(const pattern& p, ptrdiff_t start, ptrdiff_t n, Run run) {
  using V = typename types<Op, T>::vector;
  using P = typename types<Op, T>::parameter;
  if (p.period == 1) {
    const auto same = prepare<Op, T>(V(*reinterpret_cast<const P*>(p.values)));
    run(0, n, [=](ptrdiff_t) { return same; });
    return;
  }
  P laid_out[block];
  for (ptrdiff_t first = 0; first < n; first += block) {
    ptrdiff_t count = n - first < block ? n - first : block;
    lay_out(p, start + first, count, laid_out);
    const P* const here = laid_out;
    run(first, count, [here](ptrdiff_t j) { return prepare<Op, T>(V::load(here + j)); });
  }
}

struct sixteen_bits {
  unsigned gate, plane;
};

template <class Op, class T, planes kept, class At>
inline sixteen_bits sixteen_gated(const T* x, T* out, At at) {
  using V = typename types<Op, T>::vector;
  sixteen_bits bits{0, 0};
#pragma GCC unroll 16
  for (int j = 0; j < 16; j += V::width) {
    V v = V::load(x + j);
    auto open = ~(v <= V(0.0f));
    bits.gate |= movemask(open) << j;
    if constexpr (kept == planes::zeros) bits.plane |= movemask(v == V(0.0f)) << j;
    // A NaN is open in this plane too.
    if constexpr (kept == planes::inside) bits.plane |= movemask(open & ~(v >= at(j))) << j;
    if constexpr (requires { Op::template apply<T>(v); }) {
      store_rounded(Op::template apply<T>(v), out + j);
    } else {
      store_rounded(Op::template apply<T>(v, at(j)), out + j);
    }
  }
  return bits;
}

// The bytes of bits may lie anywhere for all the compiler knows, so what the loop needs is in its
// own variables.
template <class Op, class T, planes kept, class Parameters>
inline bool gated_stretch(const T* x, T* out, ptrdiff_t n, Parameters parameters, uint8_t* gate,
                          uint8_t* plane) {
  uint64_t any = 0;
  ptrdiff_t i = 0;
  // One store of bits for every four cache lines of floats.
  for (; i + 64 <= n; i += 64) {
    uint64_t gates = 0, second = 0;
#pragma GCC unroll 4
    for (int k = 0; k < 64; k += 16) {
      sixteen_bits bits = sixteen_gated<Op, T, kept>(
          x + i + k, out + i + k, [=](ptrdiff_t j) { return parameters(i + k + j); });
      gates |= uint64_t{bits.gate} << k;
      second |= uint64_t{bits.plane} << k;
    }
    __builtin_memcpy(gate + i / 8, &gates, 8);
    if constexpr (kept != planes::none) {
      __builtin_memcpy(plane + i / 8, &second, 8);
      any |= second;
    }
  }
  for (; i + 16 <= n; i += 16) {
    sixteen_bits bits =
        sixteen_gated<Op, T, kept>(x + i, out + i, [=](ptrdiff_t j) { return parameters(i + j); });
    put_sixteen(gate + i / 8, bits.gate);
    if constexpr (kept != planes::none) {
      put_sixteen(plane + i / 8, bits.plane);
      any |= bits.plane;
    }
  }
  if (i == n) return any != 0;
  T padded[16], results[16];
  for (ptrdiff_t j = 0; j < 16; ++j) padded[j] = x[i + j < n ? i + j : i];
  sixteen_bits bits =
      sixteen_gated<Op, T, kept>(padded, results, [=](ptrdiff_t j) { return parameters(i + j); });
  put_bits(gate + i / 8, bits.gate, n - i);
  if constexpr (kept != planes::none) put_bits(plane + i / 8, bits.plane, n - i);
  for (ptrdiff_t j = 0; i + j < n; ++j) out[i + j] = results[j];
  return (any | bits.plane) != 0;
}

template <class Op, class T, planes kept>
bool gated(const char* values, char* result, ptrdiff_t start, ptrdiff_t n, const pattern& parameter,
           uint8_t* gate, uint8_t* plane) {
  const T* const x = reinterpret_cast<const T*>(values);
  T* const out = reinterpret_cast<T*>(result);
  bool any = false;
  with_parameters<Op, T>(
      parameter, start, n, [&](ptrdiff_t first, ptrdiff_t count, auto parameters) {
        any |= gated_stretch<Op, T, kept>(x + first, out + first, count, parameters,
                                          gate + first / 8, plane ? plane + first / 8 : nullptr);
      });
  return any;
}

// What a closed gate makes of dh. An open one lets it through, multiplied by 1 or not at all: the
// lanes that are not used raise no flag.
namespace closed {

// relu; relu6 with its own plane for the gate
struct nothing {
  static constexpr lanes on = lanes::same;
  template <class V, class M>
  static V apply(V dh, M open, M, V) {
    return select(open, dh, V(0.0f));
  }
};

// leaky_relu, prelu
struct slope {
  static constexpr lanes on = lanes::product;
  template <class V, class M>
  static V apply(V dh, M open, M, V below) {
    return dh * select(open, V(1.0f), below);
  }
};

// abs
struct mirror {
  static constexpr lanes on = lanes::same;
  template <class V, class M>
  static V apply(V dh, M open, M zero, V) {
    return select(zero, V(0.0f), dh * select(open, V(1.0f), V(-1.0f)));
  }
};

// relu with a derivative at 0
struct share {
  static constexpr lanes on = lanes::product;
  template <class V, class M>
  static V apply(V dh, M open, M zero, V at_zero) {
    return select(open | zero, dh * select(zero, at_zero, V(1.0f)), V(0.0f));
  }
};

}  // namespace closed

template <class Op, class T, class At>
inline void sixteen_backward(const T* dh, T* out, unsigned gate, unsigned plane, At at) {
  using V = typename types<Op, T>::vector;
#pragma GCC unroll 16
  for (int j = 0; j < 16; j += V::width) {
    auto open = mask_of(V(), gate >> j), zero = mask_of(V(), plane >> j);
    store_rounded(Op::apply(V::load(dh + j), open, zero, at(j)), out + j);
  }
}

template <class Op, class T>
void backward(const char* values, char* result, ptrdiff_t start, ptrdiff_t n,
              const pattern& parameter, const uint8_t* gate, const uint8_t* plane) {
  const T* const dh = reinterpret_cast<const T*>(values);
  T* const out = reinterpret_cast<T*>(result);
  with_parameters<Op, T>(
      parameter, start, n, [&](ptrdiff_t first, ptrdiff_t count, auto parameters) {
        auto bits = [&](const uint8_t* from, ptrdiff_t i, ptrdiff_t values_here) {
          return from ? get_bits(from + (first + i) / 8, values_here) : 0;
        };
        ptrdiff_t i = 0;
        for (; i + 16 <= count; i += 16) {
          sixteen_backward<Op, T>(dh + first + i, out + first + i, bits(gate, i, 16),
                                  bits(plane, i, 16),
                                  [&](ptrdiff_t j) { return parameters(i + j); });
        }
        if (i == count) return;
        T padded[16], results[16];
        for (ptrdiff_t j = 0; j < 16; ++j) padded[j] = dh[first + (i + j < count ? i + j : i)];
        // The padding is gated as the value that it repeats, so it raises no other flag.
        unsigned gates = bits(gate, i, count - i), zeros = bits(plane, i, count - i);
        const unsigned beyond = 0xffffu << (count - i);
        gates = gates & 1 ? gates | beyond : gates & ~beyond;
        zeros = zeros & 1 ? zeros | beyond : zeros & ~beyond;
        sixteen_backward<Op, T>(padded, results, gates, zeros,
                                [&](ptrdiff_t j) { return parameters(i + j); });
        for (ptrdiff_t j = 0; i + j < count; ++j) out[first + i + j] = results[j];
      });
}

}  // namespace
}  // namespace rectifier
