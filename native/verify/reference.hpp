// The exact functions in a floating type R wider than the format judged: the textbook formula, on
// the C library's exp, expm1, log and log1p, whose error is below 2 units of R's last place.
//
// Nothing here is shared with the kernels, neither code nor method: these formulas are slow, plain
// and independent. A result that lies so near a tie that R cannot tell its side is left to more
// digits (compare.hpp).
//
// Each function is a type with
//   exact_narrow, exact_wide: whether R holds the result exactly (or rounds it so that a second
//   rounding does no harm) for formats of 24 bits or fewer, and for float64; at(x, p): f(x) with
//   the parameter p. x is never NaN.
#pragma once

#include <cmath>
#include <limits>
#include <type_traits>

namespace verify {

template <class R>
struct pair {
  R hi, lo;
};

// For double, operands have 24 bits: the product is exact, and a quotient's error of 2^-53 costs an
// exponential 2^-46 at the largest argument that does not round to 0. For float64 operands that
// would be half a last place, so the rest is kept.
//
// Beyond 2^14 an exponential is 0 or infinite, and the rest would only give a 0 its sign.
template <class R>
bool needs_rest(R hi, R p) {
  return !std::is_same_v<R, double> && p != 1 && std::fabs(hi) < 0x1p14;
}

template <class R>
pair<R> product(R p, R x) {
  R hi = p * x;
  return {hi, needs_rest(hi, p) ? std::fma(p, x, -hi) : R(0)};
}

template <class R>
pair<R> quotient(R x, R p) {
  R hi = x / p;
  return {hi, needs_rest(hi, p) ? std::fma(-hi, p, x) / p : R(0)};
}

template <class R>
constexpr R infinity = std::numeric_limits<R>::infinity();
template <class R>
constexpr R nan = std::numeric_limits<R>::quiet_NaN();

// SELU's constants belong to its definition (Klambauer et al. 2017) and are float64.
constexpr double selu_lambda = 1.0507009873554805, selu_alpha = 1.6732632423543772;

template <class R>
R sigmoid(pair<R> t) {
  R e = std::exp(-std::fabs(t.hi));
  R s = (t.hi < 0 ? e : R(1)) / (1 + e);
  return s * (1 + t.lo * (1 - s));
}

template <class R>
R sigmoid_slope(R t) {
  R e = std::exp(-std::fabs(t)), root = 1 + e;
  return e / (root * root);
}

// log(1 + h / scale) where the sum does not cancel, log((scale + h) / scale), whose sum is exact,
// where it does.
template <class R>
R log1p_of_share(R h, pair<R> scale) {
  if (h > -scale.hi / 2) return std::log1p(h / scale.hi);
  R left = (scale.hi + h) + scale.lo;
  return left < 0 ? nan<R> : std::log(left / scale.hi);
}

#define VERIFY_FUNCTION(name, narrow, wide)      \
  struct name {                                  \
    static constexpr bool exact_narrow = narrow; \
    static constexpr bool exact_wide = wide;     \
    template <class R>                           \
    static R at([[maybe_unused]] R x, [[maybe_unused]] R p)

VERIFY_FUNCTION(relu_value, true, true) { return x < 0 ? R(0) : x; }
};
VERIFY_FUNCTION(relu_derivative, true, true) { return x > 0 ? R(1) : x < 0 ? R(0) : p; }
}
;
// A slope of 0 has the limit's value and sign at infinity too.
VERIFY_FUNCTION(leaky_relu_value, true, false) {
  return x > 0 ? x : p == 0 ? p * std::copysign(R(1), x) : p * x;
}
}
;
VERIFY_FUNCTION(leaky_relu_derivative, true, true) { return x > 0 ? R(1) : p; }
}
;
VERIFY_FUNCTION(leaky_relu_slope_derivative, true, true) { return x > 0 ? R(0) : x; }
}
;
// A quotient of 24 bits by 24 bits is never so near a tie that rounding it to 53 bits first would
// reach it.
VERIFY_FUNCTION(leaky_relu_inverse, true, false) { return x > 0 ? x : x / p; }
}
;
VERIFY_FUNCTION(abs_value, true, true) { return std::fabs(x); }
}
;
VERIFY_FUNCTION(abs_derivative, true, true) { return x > 0 ? R(1) : x < 0 ? R(-1) : R(0); }
}
;
VERIFY_FUNCTION(relu6_value, true, true) { return x < 0 ? R(0) : x > p ? p : x; }
}
;
VERIFY_FUNCTION(relu6_derivative, true, true) { return x > 0 && x < p ? R(1) : R(0); }
}
;
VERIFY_FUNCTION(squared_relu_value, true, false) { return x > 0 ? x * x : R(0); }
}
;
VERIFY_FUNCTION(squared_relu_derivative, true, true) { return x > 0 ? 2 * x : R(0); }
}
;
VERIFY_FUNCTION(elu_value, false, false) { return x > 0 ? x : p * std::expm1(x); }
}
;
VERIFY_FUNCTION(elu_derivative, false, false) { return x > 0 ? R(1) : p * std::exp(x); }
}
;
VERIFY_FUNCTION(elu_inverse, false, false) {
  return x > 0 ? x : log1p_of_share(x, pair<R>{p, R(0)});
}
}
;
VERIFY_FUNCTION(celu_value, false, false) {
  if (x > 0) return x;
  pair<R> t = quotient(x, p);
  // Adding a rest of +0 would lose the sign of -0.
  return p * (t.lo == 0 ? std::expm1(t.hi) : std::expm1(t.hi) + std::exp(t.hi) * t.lo);
}
}
;
VERIFY_FUNCTION(celu_derivative, false, false) {
  if (x > 0) return R(1);
  pair<R> t = quotient(x, p);
  return std::exp(t.hi) * (1 + t.lo);
}
}
;
VERIFY_FUNCTION(celu_inverse, false, false) {
  return x > 0 ? x : p * log1p_of_share(x, pair<R>{p, R(0)});
}
}
;
VERIFY_FUNCTION(selu_value, false, false) {
  return x > 0 ? R(selu_lambda) * x : R(selu_lambda) * R(selu_alpha) * std::expm1(x);
}
}
;
VERIFY_FUNCTION(selu_derivative, false, false) {
  return x > 0 ? R(selu_lambda) : R(selu_lambda) * R(selu_alpha) * std::exp(x);
}
}
;
VERIFY_FUNCTION(selu_inverse, false, false) {
  if (x > 0) return x / R(selu_lambda);
  R hi = R(selu_lambda) * R(selu_alpha);
  return log1p_of_share(x, pair<R>{hi, std::fma(R(selu_lambda), R(selu_alpha), -hi)});
}
}
;
VERIFY_FUNCTION(softplus_value, false, false) {
  pair<R> t = product(p, x);
  R sum = (t.hi > 0 ? t.hi : R(0)) + std::log1p(std::exp(-std::fabs(t.hi)));
  if (t.lo != 0) sum += t.lo * sigmoid(t);
  return p == 1 ? sum : sum / p;
}
}
;
VERIFY_FUNCTION(softplus_derivative, false, false) { return sigmoid(product(p, x)); }
}
;
// log(e^t - 1) / p crosses 0 at t = ln 2, where it is log1p(2 (e^(t - ln 2) - 1)).
VERIFY_FUNCTION(softplus_inverse, false, false) {
  if (x < 0) return nan<R>;
  if (x == 0) return -infinity<R>;
  pair<R> t = product(p, x);
  R log;
  if (t.hi > R(0.95)) {
    log = t.hi + std::log1p(-std::exp(-t.hi));
  } else if (t.hi < R(0.44)) {
    log = std::log(std::expm1(t.hi));
  } else {
    R from_root = ((t.hi - R(0x0.b17217f7d1cf7p0)) - R(0x0.9abc9e3b39803f2f6afp-52L)) + t.lo;
    log = std::log1p(2 * std::expm1(from_root));
  }
  return log / p;
}
}
;
VERIFY_FUNCTION(sigmoid_value, false, false) { return sigmoid(pair<R>{x, R(0)}); }
}
;
VERIFY_FUNCTION(sigmoid_derivative, false, false) { return sigmoid_slope(x); }
}
;
VERIFY_FUNCTION(tanh_value, false, false) {
  R u = std::expm1(-2 * std::fabs(x));
  return std::copysign(u / (2 + u), x);
}
}
;
VERIFY_FUNCTION(tanh_derivative, false, false) { return 4 * sigmoid_slope(2 * x); }
}
;
VERIFY_FUNCTION(threshold_value, true, true) { return x > 0 ? R(1) : R(0); }
}
;
VERIFY_FUNCTION(threshold_derivative, true, true) { return R(0); }
}
;
#undef VERIFY_FUNCTION

}  // namespace verify

// X(function, kind)
#define VERIFY_FUNCTIONS(X)       \
  X(relu, value)                  \
  X(relu, derivative)             \
  X(leaky_relu, value)            \
  X(leaky_relu, derivative)       \
  X(leaky_relu, slope_derivative) \
  X(leaky_relu, inverse)          \
  X(abs, value)                   \
  X(abs, derivative)              \
  X(relu6, value)                 \
  X(relu6, derivative)            \
  X(squared_relu, value)          \
  X(squared_relu, derivative)     \
  X(elu, value)                   \
  X(elu, derivative)              \
  X(elu, inverse)                 \
  X(celu, value)                  \
  X(celu, derivative)             \
  X(celu, inverse)                \
  X(selu, value)                  \
  X(selu, derivative)             \
  X(selu, inverse)                \
  X(softplus, value)              \
  X(softplus, derivative)         \
  X(softplus, inverse)            \
  X(sigmoid, value)               \
  X(sigmoid, derivative)          \
  X(tanh, value)                  \
  X(tanh, derivative)             \
  X(threshold, value)             \
  X(threshold, derivative)
