#pragma once

#include "../kernel.hpp"

namespace rectifier {
namespace {
namespace relu6 {

struct value {
  static constexpr lanes on = lanes::same;
  template <class Storage, class V>
  static V apply(V x, V ceiling) {
    V above = zero_if_negative(x);
    return select(above > ceiling, ceiling, above);
  }
};

struct derivative {
  static constexpr lanes on = lanes::same;
  template <class Storage, class V>
  static V apply(V x, V ceiling) {
    return nan_or(x, select((x > V(0.0f)) & (x < ceiling), V(1.0f), V(0.0f)));
  }
};

}  // namespace relu6
}  // namespace
}  // namespace rectifier
