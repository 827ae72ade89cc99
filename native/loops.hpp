// The only loops over arrays of numbers.
//
// Contiguous stretches run straight from and to the arrays. Any other operand goes through a block
// on the stack, so every value, wherever it lies, meets the same vector code; so does a tail,
// padded with its own first values (which then raise no flag that the tail does not).
#pragma once

#include "kernel.hpp"
#include "math/round.hpp"

namespace rectifier {
namespace {

constexpr ptrdiff_t block = 256;

template <class Op, class Storage>
struct types {
  static constexpr bool in_float = (Op::on == lanes::same && !is_double<Storage>) ||
                                   (Op::on == lanes::product && sizeof(Storage) == 4);
  template <bool, class A, class B>
  struct choose {
    using type = B;
  };
  template <class A, class B>
  struct choose<true, A, B> {
    using type = A;
  };
  using vector = typename choose<in_float, f32, f64>::type;
  // Parameters come as float64 for float64 values, as float32 for the rest.
  using parameter = typename choose<is_double<Storage>, double, float>::type;
};

template <class V, class Storage>
inline void store_rounded(V v, Storage* out) {
  if constexpr (sizeof(Storage) == 2 && sizeof(V) / V::width == 8) {
    round_to<Storage>(v).store(out);
  } else {
    v.store(out);
  }
}

template <class Op, class Storage, class V>
inline auto prepare(V parameter) {
  if constexpr (requires { Op::template prepare<Storage>(parameter); }) {
    return Op::template prepare<Storage>(parameter);
  } else {
    return parameter;
  }
}

// The last n < V::width values, as a full vector.
template <class V, class T>
inline V load_tail(const T* p, ptrdiff_t n) {
  T padded[V::width];
  for (ptrdiff_t i = 0; i < V::width; ++i) padded[i] = p[i < n ? i : 0];
  return V::load(padded);
}

template <class V, class T>
inline void store_tail(V v, T* p, ptrdiff_t n) {
  T padded[V::width];
  store_rounded(v, padded);
  for (ptrdiff_t i = 0; i < n; ++i) p[i] = padded[i];
}

template <class Op, class T>
void contiguous(const T* x, T* out, ptrdiff_t n) {
  using V = typename types<Op, T>::vector;
  ptrdiff_t i = 0;
  for (; i + V::width <= n; i += V::width) {
    store_rounded(Op::template apply<T>(V::load(x + i)), out + i);
  }
  if (i < n) {
    store_tail(Op::template apply<T>(load_tail<V>(x + i, n - i)), out + i, n - i);
  }
}

// One parameter for all values.
template <class Op, class T, class P>
void contiguous(const T* x, P parameter, T* out, ptrdiff_t n) {
  using V = typename types<Op, T>::vector;
  const auto p = prepare<Op, T>(V(parameter));
  ptrdiff_t i = 0;
  for (; i + V::width <= n; i += V::width) {
    store_rounded(Op::template apply<T>(V::load(x + i), p), out + i);
  }
  if (i < n) {
    store_tail(Op::template apply<T>(load_tail<V>(x + i, n - i), p), out + i, n - i);
  }
}

template <class Op, class T, class P>
void contiguous(const T* x, const P* parameter, T* out, ptrdiff_t n) {
  using V = typename types<Op, T>::vector;
  ptrdiff_t i = 0;
  for (; i + V::width <= n; i += V::width) {
    const auto p = prepare<Op, T>(V::load(parameter + i));
    store_rounded(Op::template apply<T>(V::load(x + i), p), out + i);
  }
  if (i < n) {
    const auto p = prepare<Op, T>(load_tail<V>(parameter + i, n - i));
    store_tail(Op::template apply<T>(load_tail<V>(x + i, n - i), p), out + i, n - i);
  }
}

// n values, contiguous: in place where they are so already, else copied to `buffer`.
template <class T>
inline const T* gather(const char* p, ptrdiff_t stride, ptrdiff_t n, T* buffer) {
  if (stride == static_cast<ptrdiff_t>(sizeof(T))) return reinterpret_cast<const T*>(p);
  for (ptrdiff_t i = 0; i < n; ++i) __builtin_memcpy(buffer + i, p + i * stride, sizeof(T));
  return buffer;
}

template <class T>
inline void scatter(const T* buffer, char* p, ptrdiff_t stride, ptrdiff_t n) {
  for (ptrdiff_t i = 0; i < n; ++i) __builtin_memcpy(p + i * stride, buffer + i, sizeof(T));
}

// Calls run(x, out, start, count) over stretches in which x and out are contiguous.
template <class T, class Run>
inline void stretches(const char* x, ptrdiff_t x_stride, char* out, ptrdiff_t out_stride,
                      ptrdiff_t n, ptrdiff_t longest, Run run) {
  const ptrdiff_t size = sizeof(T);
  if (x_stride == size && out_stride == size && longest >= n) {
    run(reinterpret_cast<const T*>(x), reinterpret_cast<T*>(out), 0, n);
    return;
  }
  T x_block[block], out_block[block];
  for (ptrdiff_t start = 0; start < n; start += block) {
    ptrdiff_t count = n - start < block ? n - start : block;
    const T* from = gather<T>(x + start * x_stride, x_stride, count, x_block);
    char* to = out + start * out_stride;
    if (out_stride == size) {
      run(from, reinterpret_cast<T*>(to), start, count);
    } else {
      run(from, out_block, start, count);
      scatter(out_block, to, out_stride, count);
    }
  }
}

template <class Op, class T>
void unary_loop(char* const* operands, ptrdiff_t n, const ptrdiff_t* strides) {
  stretches<T>(
      operands[0], strides[0], operands[1], strides[1], n, n,
      [](const T* x, T* out, ptrdiff_t, ptrdiff_t count) { contiguous<Op>(x, out, count); });
}

template <class Op, class T>
void parameter_loop(char* const* operands, ptrdiff_t n, const ptrdiff_t* strides) {
  using P = typename types<Op, T>::parameter;
  const char* parameter = operands[1];
  const ptrdiff_t stride = strides[1];
  // A single value may come with any stride.
  if (stride == 0 || n == 1) {
    P p;
    __builtin_memcpy(&p, parameter, sizeof p);
    stretches<T>(operands[0], strides[0], operands[2], strides[2], n, n,
                 [p](const T* x, T* out, ptrdiff_t, ptrdiff_t count) {
                   contiguous<Op, T, P>(x, p, out, count);
                 });
    return;
  }
  const bool flat = stride == static_cast<ptrdiff_t>(sizeof(P));
  stretches<T>(operands[0], strides[0], operands[2], strides[2], n, flat ? n : block,
               [=](const T* x, T* out, ptrdiff_t start, ptrdiff_t count) {
                 P p_block[block];
                 const P* p = flat ? reinterpret_cast<const P*>(parameter) + start
                                   : gather<P>(parameter + start * stride, stride, count, p_block);
                 contiguous<Op, T, P>(x, p, out, count);
               });
}

template <class T>
struct integer_relu {
  static T apply(T x) { return x > 0 ? x : 0; }
};

template <class T, class Unsigned>
struct integer_abs {
  // The smallest value stays as it is, as np.abs leaves it: negation wraps in the unsigned type.
  static T apply(T x) {
    return x < 0 ? static_cast<T>(static_cast<Unsigned>(0u - static_cast<Unsigned>(x))) : x;
  }
};

template <class T>
struct integer_relu6 {
  static T apply(T x, T ceiling) {
    T above = x > 0 ? x : 0;
    return above > ceiling ? ceiling : above;
  }
};

template <class Op, class T>
void integer_unary_loop(char* const* operands, ptrdiff_t n, const ptrdiff_t* strides) {
  stretches<T>(operands[0], strides[0], operands[1], strides[1], n, n,
               [](const T* x, T* out, ptrdiff_t, ptrdiff_t count) {
                 for (ptrdiff_t i = 0; i < count; ++i) out[i] = Op::apply(x[i]);
               });
}

template <class Op, class T>
void integer_parameter_loop(char* const* operands, ptrdiff_t n, const ptrdiff_t* strides) {
  const char* parameter = operands[1];
  const ptrdiff_t stride = strides[1];
  stretches<T>(operands[0], strides[0], operands[2], strides[2], n, block,
               [=](const T* x, T* out, ptrdiff_t start, ptrdiff_t count) {
                 T p_block[block];
                 const T* p = gather<T>(parameter + start * stride, stride, count, p_block);
                 for (ptrdiff_t i = 0; i < count; ++i) out[i] = Op::apply(x[i], p[i]);
               });
}

void stream_lines(char* out, const char* from, ptrdiff_t bytes) {
  for (ptrdiff_t i = 0; i < bytes; i += 64) stream_line(out + i, from + i);
}

}  // namespace
}  // namespace rectifier
