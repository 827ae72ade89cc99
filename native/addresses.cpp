#include "addresses.hpp"

#include <string.h>

#include <atomic>

#include "environment.hpp"
#include "large.hpp"

namespace rectifier {
namespace {

const char* const value_names[] = {
#define RECTIFIER_X(name, kernel, inputs, narrow, wide) #name,
    RECTIFIER_OPS(RECTIFIER_X)
#undef RECTIFIER_X
};
struct flags_of {
  unsigned narrow, wide;
};
const flags_of value_flags[] = {
#define RECTIFIER_X(name, kernel, inputs, narrow, wide) {narrow, wide},
    RECTIFIER_OPS(RECTIFIER_X)
#undef RECTIFIER_X
};
const int value_inputs[] = {
#define RECTIFIER_X(name, kernel, inputs, narrow, wide) inputs,
    RECTIFIER_OPS(RECTIFIER_X)
#undef RECTIFIER_X
};
const char* const gradient_names[] = {
#define RECTIFIER_X(name, kernel, tail) #name,
    RECTIFIER_GRADIENTS(RECTIFIER_X)
#undef RECTIFIER_X
};

constexpr int sizes[] = {2, 4, 8, 2};
constexpr unsigned range = overflow_flag | underflow_flag;

char* memory(uintptr_t address) { return reinterpret_cast<char*>(address); }

// One of the loops, with its operands.
struct call {
  int size;
  loop value = nullptr;
  int inputs = 1;
  gated_loop gated = nullptr;
  backward_loop back = nullptr;
  gradient_loop gradient = nullptr;
  bool (*lost)(const char* x, const char* h, ptrdiff_t n) = nullptr;
  const char* from = nullptr;
  char* to = nullptr;
  const char* kept = nullptr;
  uint8_t* gate = nullptr;
  uint8_t* plane = nullptr;
  pattern parameter{};
  std::atomic<bool> any{false};
};

// Looked at while it is in the cache.
constexpr ptrdiff_t looked_at = 2048;

void values_watched(call& c, char* const* operands, const ptrdiff_t* strides, ptrdiff_t count) {
  for (ptrdiff_t i = 0; i < count; i += looked_at) {
    const ptrdiff_t some = count - i < looked_at ? count - i : looked_at;
    char* here[3] = {operands[0] + i * c.size, operands[1], operands[2]};
    here[c.inputs] = operands[c.inputs] + i * c.size;
    char kept[looked_at * 8];
    const char* x = here[0];
    if (x == here[c.inputs]) {  // in place
      memcpy(kept, x, static_cast<size_t>(some * c.size));
      x = kept;
    }
    c.value(here, some, strides, false);  // as the results are looked at next
    if (c.lost(x, here[c.inputs], some)) c.any.store(true, std::memory_order_relaxed);
  }
}

void values(void* context, ptrdiff_t start, ptrdiff_t count, bool past_cache) {
  call& c = *static_cast<call*>(context);
  char* out = c.to + start * c.size;
  const char* from = c.from + start * c.size;
  if (c.value) {
    const ptrdiff_t strides[3] = {c.size, c.inputs == 1 ? c.size : 0, c.size};
    char* operands[3] = {const_cast<char*>(from), const_cast<char*>(c.parameter.values), out};
    operands[c.inputs] = out;
    if (c.lost) {
      values_watched(c, operands, strides, count);
    } else {
      c.value(operands, count, strides, past_cache);
    }
  } else if (c.gradient) {
    c.gradient(c.kept + start * c.size, from, out, start, count, c.parameter);
  } else {
    uint8_t* plane = c.plane ? c.plane + start / 8 : nullptr;
    if (c.back) {
      c.back(from, out, start, count, c.parameter, c.gate + start / 8, plane, past_cache);
    } else if (c.gated(from, out, start, count, c.parameter, c.gate + start / 8, plane,
                       past_cache)) {
      c.any.store(true, std::memory_order_relaxed);
    }
  }
}

// What calls here is PyTorch, whose threads are awake more often than not, and whose own loops are
// long from 32768 values on. One bit a value takes so little time that it pays from twice as many.
constexpr ptrdiff_t long_from_gate = 65536, long_from_value = 32768;

void run(call& c, uintptr_t from, uintptr_t out, ptrdiff_t n, unsigned allowed_flags,
         ptrdiff_t is_long_from, bool heavy = false) {
  c.from = memory(from);
  c.to = memory(out);
  if (n >= is_long_from) {
    run_long({values, &c, n, c.to, c.size, c.from, heavy, allowed_flags, false});
  } else {
    environment scope(allowed_flags);
    void (*through_a_pointer)(void*, ptrdiff_t, ptrdiff_t, bool) = values;
    through_a_pointer(&c, 0, n, false);
  }
}

// Where one number is kept, in the width that the loops read.
struct number_at {
  float narrow;
  double wide;
  pattern read(const parameter_at& p, dtype type) {
    if (p.address) return {memory(p.address), p.inner, p.period};
    narrow = static_cast<float>(p.number);
    wide = p.number;
    const void* at = type == dtype::float64 ? static_cast<const void*>(&wide) : &narrow;
    return {static_cast<const char*>(at), 1, 1};
  }
};

template <class Bits>
bool any_between(const char* values, ptrdiff_t n, Bits from, Bits to) {
  Bits found = 0;
  for (ptrdiff_t i = 0; i < n; ++i) {
    Bits bits;
    memcpy(&bits, values + i * static_cast<ptrdiff_t>(sizeof bits), sizeof bits);
    found |= static_cast<Bits>(bits - from) < static_cast<Bits>(to - from) ? 1 : 0;
  }
  return found != 0;
}

// A softplus below the smallest normal number has lost digits that f' needs.
template <class Bits, Bits smallest>
bool softplus_lost(const char*, const char* h, ptrdiff_t n) {
  return any_between<Bits>(h, n, 0, smallest);
}

// A square that is subnormal or 0 of a number that is not, or infinite of one that is finite.
template <class Bits, Bits low, Bits high, Bits infinity>
bool square_lost(const char* x, const char*, ptrdiff_t n) {
  return any_between<Bits>(x, n, 1, low) || any_between<Bits>(x, n, high, infinity);
}

using lost_test = bool (*)(const char*, const char*, ptrdiff_t);

// In the order of dtype. 2^-7 and 2^8; 2^-63 and 2^64; 2^-511 and 2^512; as float32.
constexpr lost_test square_tests[] = {
    square_lost<uint16_t, 0x2000, 0x5c00, 0x7c00>,
    square_lost<uint32_t, 0x20000000, 0x5f800000, 0x7f800000>,
    square_lost<uint64_t, 0x2000000000000000, 0x5ff0000000000000, 0x7ff0000000000000>,
    square_lost<uint16_t, 0x2000, 0x5f80, 0x7f80>,
};
constexpr lost_test softplus_tests[] = {
    softplus_lost<uint16_t, 0x0400>,
    softplus_lost<uint32_t, 0x00800000>,
    softplus_lost<uint64_t, 0x0010000000000000>,
    softplus_lost<uint16_t, 0x0080>,
};

}  // namespace

bool value_at(const char* name, dtype type, uintptr_t x, uintptr_t out, ptrdiff_t n,
              double parameter, bool* lost) {
  const int row = find(name, value_names), column = static_cast<int>(type);
  if (row < 0) return false;
  call c{sizes[column]};
  number_at number;
  c.value = active->table->floating[row][column];
  c.inputs = value_inputs[row];
  c.parameter = number.read({parameter}, type);
  if (lost && row == static_cast<int>(op::softplus)) c.lost = softplus_tests[column];
  if (lost && row == static_cast<int>(op::squared_relu)) c.lost = square_tests[column];
  const flags_of flags = value_flags[row];
  run(c, x, out, n, type == dtype::float64 ? flags.wide : flags.narrow, long_from_value,
      active->table->heavy[row]);
  if (lost) *lost = c.any.load(std::memory_order_relaxed);
  return true;
}

bool with_gate_at(const char* name, dtype type, uintptr_t x, uintptr_t out, ptrdiff_t n,
                  const parameter_at& parameter, uintptr_t gate, uintptr_t plane, bool* any) {
  const int row = find(name, gated_names), column = static_cast<int>(type);
  if (row < 0) return false;
  call c{sizes[column]};
  number_at number;
  c.gated = active->table->gated[row][column];
  c.parameter = number.read(parameter, type);
  c.gate = reinterpret_cast<uint8_t*>(gate);
  c.plane = reinterpret_cast<uint8_t*>(plane);
  run(c, x, out, n, range, long_from_gate);
  *any = c.any.load(std::memory_order_relaxed);
  return true;
}

bool backward_at(const char* name, dtype type, uintptr_t dh, uintptr_t out, ptrdiff_t n,
                 const parameter_at& parameter, uintptr_t gate, uintptr_t plane) {
  const int row = find(name, backward_names), column = static_cast<int>(type);
  if (row < 0) return false;
  call c{sizes[column]};
  number_at number;
  c.back = active->table->backward[row][column];
  c.parameter = number.read(parameter, type);
  c.gate = reinterpret_cast<uint8_t*>(gate);
  c.plane = reinterpret_cast<uint8_t*>(plane);
  run(c, dh, out, n, range, long_from_gate);
  return true;
}

bool gradient_at(const char* name, dtype type, uintptr_t kept, uintptr_t dh, uintptr_t out,
                 ptrdiff_t n, const parameter_at& parameter) {
  const int row = find(name, gradient_names), column = static_cast<int>(type);
  if (row < 0) return false;
  call c{sizes[column]};
  number_at number;
  c.gradient = active->table->gradient[row][column];
  c.kept = memory(kept);
  c.parameter = number.read(parameter, type);
  run(c, dh, out, n, range, long_from_value);
  return true;
}

}  // namespace rectifier
