// The backward pass of the functions that one bit does not tell: f' times dh, in one pass.
//
// f' is computed as for float32 (as for float64 where the values are) and rounded, then the
// product: twice, not three times. 16-bit values stay float32 in between.
#pragma once

#include "gated.hpp"
#include "math/constants.hpp"
#include "math/quick.hpp"

namespace rectifier {
namespace {

template <class Storage>
struct working_type {
  using type = float;
};
template <>
struct working_type<double> {
  using type = double;
};
template <class Storage>
using working = typename working_type<Storage>::type;

// f' far out, where it is below the smallest normal number and has lost digits that the product
// with a large dh would show: e^-90 times 1e10. In long double, as float64 ends there itself.
namespace tails {
struct none {};
struct elu {
  static long double of(double x, double alpha) { return alpha * __builtin_expl(x); }
};
struct celu {
  static long double of(double x, double alpha) {
    return __builtin_expl(static_cast<long double>(x) / alpha);
  }
};
struct selu {
  static long double of(double x, double) {
    constexpr long double product = constants::selu_lambda_alpha_hi;
    return (product + constants::selu_lambda_alpha_lo) * __builtin_expl(x);
  }
};
struct softplus {
  static long double of(double x, double beta) {
    return __builtin_expl(static_cast<long double>(beta) * x);
  }
};
}  // namespace tails

template <class V, class P>
struct with_number {
  V number;
  P ready;
};

// What gated.hpp's with_parameters asks of a kernel.
template <class Derivative>
struct gradient_parameters {
  static constexpr lanes on = lanes::same;
  template <class Storage, class V>
  static auto prepare(V parameter) {
    auto ready = rectifier::prepare<Derivative, working<Storage>>(parameter);
    return with_number<V, decltype(ready)>{parameter, ready};
  }
};

template <class Derivative, class Storage, class V, class P>
inline V derivative_of(V kept, P ready) {
  if constexpr (requires { Derivative::template apply<Storage>(kept); }) {
    return Derivative::template apply<Storage>(kept);
  } else {
    return Derivative::template apply<Storage>(kept, ready);
  }
}

// The lanes of `tiny` once more. Out of line, as they are rare.
template <class Derivative, class Tail, class T, class V>
[[gnu::noinline]] V far_out(typename V::mask tiny, V kept, V dh, V number, V product) {
  if constexpr (is_double<T>) {
    double x[V::width], g[V::width], p[V::width], out[V::width];
    kept.store(x), dh.store(g), number.store(p), product.store(out);
    const unsigned these = movemask(tiny);
    for (int i = 0; i < V::width; ++i) {
      if (these >> i & 1) out[i] = static_cast<double>(Tail::of(x[i], p[i]) * g[i]);
    }
    return V::load(out);
  } else {
    auto exact = [](f64 x, f64 g, f64 p) {
      return derivative_of<Derivative, double>(x, rectifier::prepare<Derivative, double>(p)) * g;
    };
    return select(tiny, quick::in_double<T>(exact, kept, dh, number), product);
  }
}

template <class Derivative, class Tail, class T, class V, class P>
inline V gradient_at(V kept, V dh, with_number<V, P> p) {
  V slope = derivative_of<Derivative, working<T>>(kept, p.ready);
  V product = slope * dh;
  if constexpr (requires { Tail::of(0.0, 0.0); }) {
    constexpr double smallest = is_double<T> ? 0x1p-1022 : 0x1p-126;
    auto tiny = abs_bits(slope) < V(static_cast<working<T>>(smallest));
    if (__builtin_expect(movemask(tiny) != 0, 0))
      return far_out<Derivative, Tail, T>(tiny, kept, dh, p.number, product);
    return product;
  } else if constexpr (requires { Derivative::template apply<working<T>>(kept); }) {
    // Closed by an exact 0: an infinite gradient from above is stopped there.
    return select(slope == V(0.0f), V(0.0f), product);
  } else {
    return product;
  }
}

template <class Derivative, class Tail, class T>
void gradient(const char* kept_values, const char* values, char* result, ptrdiff_t start,
              ptrdiff_t n, const pattern& parameter) {
  using Op = gradient_parameters<Derivative>;
  using V = typename types<Op, T>::vector;
  const T* const kept = reinterpret_cast<const T*>(kept_values);
  const T* const dh = reinterpret_cast<const T*>(values);
  T* const out = reinterpret_cast<T*>(result);
  with_parameters<Op, T>(
      parameter, start, n, [&](ptrdiff_t first, ptrdiff_t count, auto parameters) {
        ptrdiff_t i = 0;
        for (; i + V::width <= count; i += V::width) {
          const ptrdiff_t at = first + i;
          // So much arithmetic between loads leaves few of them under way: as in put_lines.
          fetch_ahead<V::width>(kept + at);
          fetch_ahead<V::width>(dh + at);
          store_rounded(
              gradient_at<Derivative, Tail, T>(V::load(kept + at), V::load(dh + at), parameters(i)),
              out + at);
        }
        if (i == count) return;
        const ptrdiff_t at = first + i, left = count - i;
        V last = gradient_at<Derivative, Tail, T>(load_tail<V>(kept + at, left),
                                                  load_tail<V>(dh + at, left), parameters(i));
        store_tail(last, out + at, left);
      });
}

}  // namespace
}  // namespace rectifier
