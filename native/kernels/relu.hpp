#pragma once

#include "../kernel.hpp"

namespace rectifier {
namespace {
namespace relu {

struct value {
  static constexpr lanes on = lanes::same;
  template <class Storage, class V>
  static V apply(V x) {
    return zero_if_negative(x);
  }
};

struct derivative {
  static constexpr lanes on = lanes::same;
  template <class Storage, class V>
  static V apply(V x, V at_zero) {
    V slope = select(x > V(0.0f), V(1.0f), V(0.0f));
    return nan_or(x, select(x == V(0.0f), at_zero, slope));
  }
};

}  // namespace relu
}  // namespace
}  // namespace rectifier
