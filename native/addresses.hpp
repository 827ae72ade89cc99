// The loops on memory that is named by its address: for tensors of a framework, which a NumPy array
// around each would make slow to call. Nothing is checked but names: the caller vouches for dtype,
// length and that the memory lies without gaps.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "dispatch.hpp"

namespace rectifier {

// A parameter: one number, or an array that repeats (its address is then not 0).
struct parameter_at {
  double number = 0.0;
  uintptr_t address = 0;
  ptrdiff_t inner = 1, period = 1;
};

// Each returns false for a name that it does not know.

// f(x) into `out`. `lost`, if not null: whether f' can no longer be told from some result, as that
// has underflowed or overflowed (softplus, squared_relu).
bool value_at(const char* name, dtype type, uintptr_t x, uintptr_t out, ptrdiff_t n,
              double parameter, bool* lost);

bool with_gate_at(const char* name, dtype type, uintptr_t x, uintptr_t out, ptrdiff_t n,
                  const parameter_at& parameter, uintptr_t gate, uintptr_t plane, bool* any);

bool backward_at(const char* name, dtype type, uintptr_t dh, uintptr_t out, ptrdiff_t n,
                 const parameter_at& parameter, uintptr_t gate, uintptr_t plane);

// f' times dh into `out`, f' from `kept`.
bool gradient_at(const char* name, dtype type, uintptr_t kept, uintptr_t dh, uintptr_t out,
                 ptrdiff_t n, const parameter_at& parameter);

}  // namespace rectifier
