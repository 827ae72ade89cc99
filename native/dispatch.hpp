// The table of loops each instruction set provides, and the choice between them at run time.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "ops.hpp"

namespace rectifier {

enum flag : unsigned { overflow_flag = 1, underflow_flag = 2 };

enum class op : int {
#define RECTIFIER_X(name, kernel, inputs, narrow, wide) name,
  RECTIFIER_OPS(RECTIFIER_X)
#undef RECTIFIER_X
      count
};

// The order of the loops in a table.
enum class dtype : int { float16, float32, float64, bfloat16, count };

constexpr int op_count = static_cast<int>(op::count);
constexpr int dtype_count = static_cast<int>(dtype::count);
constexpr int integer_op_count = 3;
constexpr int integer_type_count = 8;  // int8, uint8, int16, ... uint64

// The operands, then the result; strides in bytes, as NumPy gives them.
using loop = void (*)(char* const* operands, ptrdiff_t n, const ptrdiff_t* strides);

// ceil(n / 8) bytes; bit i is values[i] > 0, or NaN.
using packer = void (*)(const char* values, ptrdiff_t n, uint8_t* bits);

// Copies whole cache lines past the cache; `out` lies on a line's start.
using streamer = void (*)(char* out, const char* from, ptrdiff_t bytes);

struct kernel_table {
  loop floating[op_count][dtype_count];
  bool heavy[op_count];  // arithmetic takes longer than memory
  streamer stream;
  loop integer[integer_op_count][integer_type_count];
  packer pack_floating[dtype_count];
  packer pack_integer[integer_type_count];
};

struct instruction_set {
  const char* name;
  const kernel_table* table;
  bool (*supported)();
};

// The instruction sets compiled in, best first, ended by an entry without a name.
extern const instruction_set instruction_sets[];

// The one in use.
extern const instruction_set* active;

// The supported instruction set of that name, or null.
const instruction_set* find_isa(const char* name);

// The first supported one.
const instruction_set* best_isa();

}  // namespace rectifier
