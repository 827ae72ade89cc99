// Every floating-point ufunc, once: X(name, kernel, inputs, narrow flags, float64 flags).
//
// The flags are those a loop may raise; environment.hpp puts the rest back as they were. Overflow
// is let through where only a true one can occur. Underflow is where the result is a plain product;
// the exponential kernels underflow also where the exact result is 0 (at -inf) or a large number
// (in the second double), so they raise none, not even a true one.
#pragma once

#define RECTIFIER_NONE 0
#define RECTIFIER_RANGE (rectifier::overflow_flag | rectifier::underflow_flag)
#define RECTIFIER_OVERFLOW rectifier::overflow_flag

#define RECTIFIER_OPS(X)                                                                          \
  X(relu, relu::value, 1, RECTIFIER_NONE, RECTIFIER_NONE)                                         \
  X(leaky_relu, leaky_relu::value, 2, RECTIFIER_RANGE, RECTIFIER_RANGE)                           \
  X(abs, abs::value, 1, RECTIFIER_NONE, RECTIFIER_NONE)                                           \
  X(relu6, relu6::value, 2, RECTIFIER_NONE, RECTIFIER_NONE)                                       \
  X(squared_relu, squared_relu::value, 1, RECTIFIER_RANGE, RECTIFIER_RANGE)                       \
  X(elu, elu::value, 2, RECTIFIER_OVERFLOW, RECTIFIER_NONE)                                       \
  X(celu, celu::value, 2, RECTIFIER_OVERFLOW, RECTIFIER_NONE)                                     \
  X(selu, selu::value, 1, RECTIFIER_OVERFLOW, RECTIFIER_OVERFLOW)                                 \
  X(softplus, softplus::value, 2, RECTIFIER_OVERFLOW, RECTIFIER_NONE)                             \
  X(sigmoid, sigmoid::value, 1, RECTIFIER_OVERFLOW, RECTIFIER_NONE)                               \
  X(tanh, tanh::value, 1, RECTIFIER_OVERFLOW, RECTIFIER_NONE)                                     \
  X(threshold, threshold::value, 1, RECTIFIER_NONE, RECTIFIER_NONE)                               \
  X(relu_derivative, relu::derivative, 2, RECTIFIER_NONE, RECTIFIER_NONE)                         \
  X(leaky_relu_derivative, leaky_relu::derivative, 2, RECTIFIER_NONE, RECTIFIER_NONE)             \
  X(leaky_relu_slope_derivative, leaky_relu::slope_derivative, 1, RECTIFIER_NONE, RECTIFIER_NONE) \
  X(abs_derivative, abs::derivative, 1, RECTIFIER_NONE, RECTIFIER_NONE)                           \
  X(relu6_derivative, relu6::derivative, 2, RECTIFIER_NONE, RECTIFIER_NONE)                       \
  X(squared_relu_derivative, squared_relu::derivative, 1, RECTIFIER_OVERFLOW, RECTIFIER_OVERFLOW) \
  X(elu_derivative, elu::derivative, 2, RECTIFIER_OVERFLOW, RECTIFIER_NONE)                       \
  X(celu_derivative, celu::derivative, 2, RECTIFIER_OVERFLOW, RECTIFIER_NONE)                     \
  X(selu_derivative, selu::derivative, 1, RECTIFIER_OVERFLOW, RECTIFIER_NONE)                     \
  X(softplus_derivative, softplus::derivative, 2, RECTIFIER_OVERFLOW, RECTIFIER_NONE)             \
  X(sigmoid_derivative, sigmoid::derivative, 1, RECTIFIER_OVERFLOW, RECTIFIER_NONE)               \
  X(tanh_derivative, tanh::derivative, 1, RECTIFIER_OVERFLOW, RECTIFIER_NONE)                     \
  X(threshold_derivative, threshold::derivative, 1, RECTIFIER_NONE, RECTIFIER_NONE)               \
  X(leaky_relu_inverse, leaky_relu::inverse, 2, RECTIFIER_RANGE, RECTIFIER_RANGE)                 \
  X(elu_inverse, elu::inverse, 2, RECTIFIER_NONE, RECTIFIER_NONE)                                 \
  X(celu_inverse, celu::inverse, 2, RECTIFIER_NONE, RECTIFIER_NONE)                               \
  X(selu_inverse, selu::inverse, 1, RECTIFIER_NONE, RECTIFIER_NONE)                               \
  X(softplus_inverse, softplus::inverse, 2, RECTIFIER_NONE, RECTIFIER_NONE)

// Integer ufuncs, each in eight loops: X(name, index, inputs).
#define RECTIFIER_INTEGER_OPS(X) \
  X(relu, 0, 1)                  \
  X(abs, 1, 1)                   \
  X(relu6, 2, 2)
