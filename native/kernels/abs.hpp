#pragma once

#include "../kernel.hpp"

namespace rectifier {
namespace {
namespace abs {

struct value {
  static constexpr lanes on = lanes::same;
  template <class Storage, class V>
  static V apply(V x) {
    return abs_bits(x);
  }
};

struct derivative {
  static constexpr lanes on = lanes::same;
  template <class Storage, class V>
  static V apply(V x) {
    V sign = select(x > V(0.0f), V(1.0f), V(0.0f));
    return nan_or(x, select(x < V(0.0f), V(-1.0f), sign));
  }
};

}  // namespace abs
}  // namespace
}  // namespace rectifier
