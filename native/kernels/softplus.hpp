#pragma once

#include "../kernel.hpp"
#include "../math/log.hpp"
#include "../math/quick.hpp"
#include "sigmoid.hpp"

namespace rectifier {
namespace {
namespace softplus {

// log(1 + e^t) = max(t, 0) + log1p(e^-|t|): no overflow and no lost tail, so no threshold.
template <class V>
inline V narrow_value(V t) {
  V log = zero_if_negative(t) + narrow::log1p_unit(narrow::exp(-abs_bits(t)));
  // The one float32 input whose result a double cannot tell from a tie: the exact value lies 2^-58
  // above it, so the next double does the same.
  return select(t == V(0x1.d483ap-12), V(0x1.6301790000001p-1), log);
}

// beta, 1 / beta, and whether beta is 1 in every lane: the quick paths are for that alone.
template <class V>
struct scale {
  V beta;
  quick::halves reciprocal;
  bool usual;
};

struct value {
  static constexpr lanes on = lanes::same;
  template <class Storage, class V>
  static auto prepare(V beta) {
    if constexpr (is_double<Storage>) {
      return beta;
    } else {
      quick::halves reciprocal{f64(1.0) / low_half(beta), f64(1.0) / high_half(beta)};
      return scale<V>{beta, reciprocal, movemask(~(beta == V(1.0f))) == 0};
    }
  }

  // Every storage but double.
  template <class Storage, class V>
  static V apply(V x, scale<V> s) {
    // beta * x is exact: 24 + 24 bits.
    auto exact = [](f64 z, f64 beta, f64 reciprocal) {
      return narrow_value(z * beta) * reciprocal;
    };
    if (!s.usual) return nan_or(x, quick::in_double_apart<Storage>(exact, x, s.beta, s.reciprocal));
    auto e = quick::normalised(quick::exp_below<Storage>(-abs_bits(x)));
    auto sum = quick::log1p_plus<Storage>(e, zero_if_negative(x));
    return nan_or(x, quick::settled<Storage>(sum, ~is_nan(x), exact, x, s.beta, s.reciprocal));
  }

  template <class Storage, class V>
  static V apply(V x, V beta) {
    return wide_value(x, beta);
  }

  template <class V>
  static V wide_value(V x, V beta) {
    dd<V> t = wide::scaled_argument(beta, x);
    auto negative = t.hi < V(0.0);
    auto e = wide::exp(select(negative, t, -t));
    dd<V> log = wide::log1p(e.significand);
    // Where e holds a deferred factor, log(1 + e) is e, and the factor comes last, after beta.
    auto whole = e.after == V(1.0);
    dd<V> zero{V(0.0), V(0.0)};
    dd<V> sum = add(select(negative, zero, t),
                    select(whole | negative, select(whole, log, e.significand), zero));
    V result = rectifier::value(divide(sum, dd<V>{beta, V(0.0)}));
    result = result * select(negative, e.after, V(1.0));
    // Far right the sum is beta * x to more digits than kept, which divided by beta is x.
    return nan_or(x, select(t.hi >= V(800.0), x, result));
  }
};

struct derivative {
  static constexpr lanes on = lanes::same;
  template <class Storage, class V>
  static auto prepare(V beta) {
    if constexpr (is_double<Storage>) {
      return beta;
    } else {
      return scale<V>{beta, {}, movemask(~(beta == V(1.0f))) == 0};
    }
  }

  template <class Storage, class V>
  static V apply(V x, scale<V> s) {
    auto exact = [](f64 z, f64 beta) { return sigmoid::narrow_value(z * beta); };
    if (!s.usual) return nan_or(x, quick::in_double_apart<Storage>(exact, x, s.beta));
    auto e = sigmoid::quick_value<Storage>(x);
    return nan_or(x, quick::settled<Storage>(e, ~is_nan(x), exact, x, s.beta));
  }

  template <class Storage, class V>
  static V apply(V x, V beta) {
    return nan_or(x, sigmoid::wide_value(wide::scaled_argument(beta, x)));
  }
};

// From h = f(x): 1 - e^(-beta h), which keeps the digits of h.
struct derivative_from_output {
  static constexpr lanes on = lanes::same;
  template <class Storage, class V>
  static auto prepare(V beta) {
    return derivative::prepare<Storage>(beta);
  }

  // Every storage but double.
  template <class Storage, class V>
  static V apply(V h, scale<V> s) {
    auto exact = [](f64 y, f64 beta) { return narrow::expm1(y * beta); };
    V below = negative_part(-h);
    V result;
    if (s.usual) {
      auto e = quick::expm1_below<Storage>(below);
      result = quick::settled<Storage>(e, below < V(0.0f), exact, below, s.beta);
    } else {
      result = quick::in_double_apart<Storage>(exact, below, s.beta);
    }
    return nan_or(h, select(h == V(0.0f), V(0.0f), -result));
  }

  template <class Storage, class V>
  static V apply(V h, V beta) {
    auto e = wide::expm1(wide::scaled_argument(beta, negative_part(-h)));
    return nan_or(h, -(rectifier::value(e.significand) * e.after));
  }
};

// log(e^t - 1) / beta with t = beta * h; float64 arithmetic for every storage.
struct inverse {
  static constexpr lanes on = lanes::wide;
  template <class Storage, class V>
  static V apply(V h, V beta) {
    dd<V> t = wide::scaled_argument(beta, h);
    // Where beta * h nears the subnormals the product is taken 2^200 higher, to keep its digits,
    // and the logarithm brought down again.
    auto tiny = t.hi < V(0x1p-900);
    t = select(tiny, multiply(beta, select(tiny, h * V(0x1p200), V(0.0))), t);
    // The result crosses 0 at t = ln 2, where it is log1p(2 (e^(t - ln 2) - 1)). To the right it is
    // t + log1p(-e^-t), to the left the plain logarithm.
    auto left = t.hi < V(0.44);
    auto right = t.hi > V(0.95);
    auto middle = ~(left | right);
    dd<V> from_root = two_sum(t.hi - select(middle, V(constants::ln2_hi), V(0.0)), t.lo);
    dd<V> offset{V(-constants::ln2_lo), V(-constants::ln2_tail)};
    dd<V> argument = select(middle, add(from_root, offset), select(right, -t, t));

    auto power = wide::expm1(argument);
    dd<V> m = power.significand;
    dd<V> u = select(middle, dd<V>{V(2.0) * m.hi, V(2.0) * m.lo}, add(V(1.0), m));
    u = select(right, -u, u);
    dd<V> log = wide::log(select(left, m, wide::one_plus(u)));
    log = select(left, log, wide::log1p_from(u, log));
    log = select(right, add(t, log), log);
    dd<V> down = multiply(V(constants::ln2_hi), V(-200.0));
    down.lo = fma(V(constants::ln2_lo), V(-200.0), down.lo);
    log = select(tiny, add(log, down), log);
    V result = rectifier::value(divide(log, dd<V>{beta, V(0.0)}));

    result = select(t.hi >= V(750.0), h, result);
    result = select(h == V(0.0), V(-__builtin_inf()), result);
    return nan_or(h, select(h < V(0.0), V(__builtin_nan("")), result));
  }
};

}  // namespace softplus
}  // namespace
}  // namespace rectifier
