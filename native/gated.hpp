// A value with its gate in one pass, and the backward pass from the gate.
//
// Sixteen values at a time, whatever the lanes: two bytes of bits. The rest goes through buffers,
// padded with its own first value. Past the cache 64 at a time: a word of bits, and whole lines of
// every format. There the lines begin where the result's do, so bits are shifted on their way; the
// first and last values go through the other loop, and some of them twice.
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

inline uint64_t get_word(const uint8_t* from) {
  uint64_t word;
  __builtin_memcpy(&word, from, 8);
  return word;
}

// Bits from `shift` < 64 on, a word at a time; the word that follows is read too.
struct bit_reader {
  static constexpr ptrdiff_t ahead = 512;
  const uint8_t* from;
  unsigned shift;

  uint64_t next() {
    __builtin_prefetch(from + ahead, 0, 3);
    uint64_t low = get_word(from), high = get_word(from += 8);
    return low >> shift | high << 1 << (63 - shift);
  }
};

// Likewise written; `carry` begins as the bits below `shift`.
struct bit_writer {
  static constexpr ptrdiff_t ahead = 512;
  uint8_t* to;
  unsigned shift;
  uint64_t carry;

  void put(uint64_t bits) {
    // Stores leave in order: while the line of this one is fetched, those of the results would
    // wait.
    __builtin_prefetch(to + ahead, 1, 3);
    uint64_t word = carry | bits << shift;
    __builtin_memcpy(to, &word, 8);
    carry = bits >> 1 >> (63 - shift);
    to += 8;
  }
};

inline bit_writer writer_at(uint8_t* to, ptrdiff_t shift) {
  if (!to) return {};
  return {to, static_cast<unsigned>(shift), get_word(to) & ((uint64_t{1} << shift) - 1)};
}

// How many of n values go as whole lines, from before_line on; 0 where it is not worth it. A word
// of bits beyond them is there to be read.
inline ptrdiff_t in_lines(ptrdiff_t n) { return n < 256 ? 0 : n / 64 * 64 - 64; }

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

// Sixty-four values unrolled one lane at a time would be a minute of compiling for the path that
// promises no speed; it writes through the cache.
template <class Op, class T>
constexpr bool by_sixty_four = types<Op, T>::vector::width > 1;

struct sixteen_bits {
  unsigned gate, plane;
};

template <class T>
inline void put_sixty_four(const T* from, T* to) {
#pragma GCC unroll 8
  for (size_t i = 0; i < 64 * sizeof(T); i += 64) {
    stream_line(reinterpret_cast<char*>(to) + i, reinterpret_cast<const char*>(from) + i);
  }
}

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
  for (; by_sixty_four<Op, T> && i + 64 <= n; i += 64) {
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

template <class Op, class T, planes kept, class Parameters>
inline bool gated_lines(const T* x, T* out, ptrdiff_t n, Parameters parameters, bit_writer& gate,
                        bit_writer& plane) {
  bit_writer to = gate, second_to = plane;
  uint64_t any = 0;
  for (ptrdiff_t i = 0; i < n; i += 64) {
    fetch_ahead<64>(x + i);
    alignas(64) T results[64];
    uint64_t gates = 0, second = 0;
#pragma GCC unroll 4
    for (int k = 0; k < 64; k += 16) {
      sixteen_bits bits = sixteen_gated<Op, T, kept>(
          x + i + k, results + k, [=](ptrdiff_t j) { return parameters(i + k + j); });
      gates |= uint64_t{bits.gate} << k;
      second |= uint64_t{bits.plane} << k;
    }
    put_sixty_four(results, out + i);
    to.put(gates);
    if constexpr (kept != planes::none) {
      second_to.put(second);
      any |= second;
    }
  }
  gate = to;
  plane = second_to;
  return any != 0;
}

template <class Op, class T, planes kept>
bool gated(const char* values, char* result, ptrdiff_t start, ptrdiff_t n, const pattern& parameter,
           uint8_t* gate, uint8_t* plane, bool past_cache) {
  const T* const x = reinterpret_cast<const T*>(values);
  T* const out = reinterpret_cast<T*>(result);
  bool any = false;
  auto plain = [&](ptrdiff_t from, ptrdiff_t some) {
    with_parameters<Op, T>(
        parameter, start + from, some, [&](ptrdiff_t first, ptrdiff_t count, auto parameters) {
          first += from;
          any |= gated_stretch<Op, T, kept>(x + first, out + first, count, parameters,
                                            gate + first / 8, plane ? plane + first / 8 : nullptr);
        });
  };
  const ptrdiff_t whole = past_cache && by_sixty_four<Op, T> ? in_lines(n) : 0;
  if (whole == 0) {
    plain(0, n);
    return any;
  }
  const ptrdiff_t head = before_line(out);
  plain(0, 64);
  bit_writer gates = writer_at(gate, head), second = writer_at(plane, head);
  with_parameters<Op, T>(
      parameter, start + head, whole, [&](ptrdiff_t first, ptrdiff_t count, auto parameters) {
        first += head;
        any |= gated_lines<Op, T, kept>(x + first, out + first, count, parameters, gates, second);
      });
  plain(whole, n - whole);
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

// `bits` begin with value 0's; `plane` may be null.
template <class Op, class T, class Parameters>
inline void backward_stretch(const T* dh, T* out, ptrdiff_t n, Parameters parameters,
                             const uint8_t* gate, const uint8_t* plane) {
  auto bits = [](const uint8_t* from, ptrdiff_t i, ptrdiff_t some) {
    return from ? get_bits(from + i / 8, some) : 0;
  };
  ptrdiff_t i = 0;
  for (; by_sixty_four<Op, T> && i + 64 <= n; i += 64) {
    const uint64_t gates = get_word(gate + i / 8), second = plane ? get_word(plane + i / 8) : 0;
#pragma GCC unroll 4
    for (int k = 0; k < 64; k += 16) {
      sixteen_backward<Op>(dh + i + k, out + i + k, static_cast<unsigned>(gates >> k),
                           static_cast<unsigned>(second >> k),
                           [=](ptrdiff_t j) { return parameters(i + k + j); });
    }
  }
  for (; i + 16 <= n; i += 16) {
    sixteen_backward<Op>(dh + i, out + i, bits(gate, i, 16), bits(plane, i, 16),
                         [=](ptrdiff_t j) { return parameters(i + j); });
  }
  if (i == n) return;
  T padded[16], results[16];
  for (ptrdiff_t j = 0; j < 16; ++j) padded[j] = dh[i + j < n ? i + j : i];
  // The padding is gated as the value that it repeats, so it raises no other flag.
  unsigned gates = bits(gate, i, n - i), zeros = bits(plane, i, n - i);
  const unsigned beyond = 0xffffu << (n - i);
  gates = gates & 1 ? gates | beyond : gates & ~beyond;
  zeros = zeros & 1 ? zeros | beyond : zeros & ~beyond;
  sixteen_backward<Op>(padded, results, gates, zeros,
                       [=](ptrdiff_t j) { return parameters(i + j); });
  for (ptrdiff_t j = 0; i + j < n; ++j) out[i + j] = results[j];
}

template <class Op, class T, class Parameters>
inline void backward_lines(const T* dh, T* out, ptrdiff_t n, Parameters parameters,
                           bit_reader& gate, bit_reader& plane) {
  bit_reader from = gate, second_from = plane;
  for (ptrdiff_t i = 0; i < n; i += 64) {
    fetch_ahead<64>(dh + i);
    alignas(64) T results[64];
    const uint64_t gates = from.next(), second = second_from.from ? second_from.next() : 0;
#pragma GCC unroll 4
    for (int k = 0; k < 64; k += 16) {
      sixteen_backward<Op>(dh + i + k, results + k, static_cast<unsigned>(gates >> k),
                           static_cast<unsigned>(second >> k),
                           [=](ptrdiff_t j) { return parameters(i + k + j); });
    }
    put_sixty_four(results, out + i);
  }
  gate = from;
  plane = second_from;
}

template <class Op, class T>
void backward(const char* values, char* result, ptrdiff_t start, ptrdiff_t n,
              const pattern& parameter, const uint8_t* gate, const uint8_t* plane,
              bool past_cache) {
  const T* const dh = reinterpret_cast<const T*>(values);
  T* const out = reinterpret_cast<T*>(result);
  auto plain = [&](ptrdiff_t from, ptrdiff_t some) {
    with_parameters<Op, T>(
        parameter, start + from, some, [&](ptrdiff_t first, ptrdiff_t count, auto parameters) {
          first += from;
          backward_stretch<Op>(dh + first, out + first, count, parameters, gate + first / 8,
                               plane ? plane + first / 8 : nullptr);
        });
  };
  const ptrdiff_t whole = past_cache && by_sixty_four<Op, T> ? in_lines(n) : 0;
  if (whole == 0) {
    plain(0, n);
    return;
  }
  const ptrdiff_t head = before_line(out);
  plain(0, 64);
  bit_reader gates{gate, static_cast<unsigned>(head)}, second{plane, static_cast<unsigned>(head)};
  with_parameters<Op, T>(
      parameter, start + head, whole, [&](ptrdiff_t first, ptrdiff_t count, auto parameters) {
        first += head;
        backward_lines<Op>(dh + first, out + first, count, parameters, gates, second);
      });
  plain(whole, n - whole);
}

}  // namespace
}  // namespace rectifier
