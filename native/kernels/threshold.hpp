#pragma once

#include "../kernel.hpp"

namespace rectifier {
namespace {
namespace threshold {

struct value {
  static constexpr lanes on = lanes::same;
  template <class Storage, class V>
  static V apply(V x) {
    return nan_or(x, select(x > V(0.0f), V(1.0f), V(0.0f)));
  }
};

struct derivative {
  static constexpr lanes on = lanes::same;
  template <class Storage, class V>
  static V apply(V x) {
    return nan_or(x, V(0.0f));
  }
};

}  // namespace threshold
}  // namespace
}  // namespace rectifier
