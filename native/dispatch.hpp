// The table of loops each instruction set provides, and the choice between them at run time.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

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

// The operands, then the result; strides in bytes, as NumPy gives them. Past the cache where told
// so and the loop is bound by memory; the result is then aligned to its values.
using loop = void (*)(char* const* operands, ptrdiff_t n, const ptrdiff_t* strides,
                      bool past_cache);

// ceil(n / 8) bytes; bit i is values[i] > 0, or NaN.
using packer = void (*)(const char* values, ptrdiff_t n, uint8_t* bits);

// Parameters that repeat: value i's is values[(i / inner) % period].
struct pattern {
  const char* values;
  ptrdiff_t inner, period;
};

// A value and its gate in one pass: X(name, kernel, the plane kept beside the gate).
#define RECTIFIER_GATED(X)        \
  X(relu, relu, none)             \
  X(relu_and_zeros, relu, zeros)  \
  X(leaky_relu, leaky_relu, none) \
  X(abs, abs, zeros)              \
  X(relu6, relu6, inside)         \
  X(squared_relu, squared_relu, none)

// The backward pass from the gate: what stands for f' where it is closed. X(name).
#define RECTIFIER_BACKWARD(X) X(nothing) X(slope) X(mirror) X(share)

// f' times dh in one pass, f' from what was kept: the input, or the output. X(name, kernel, tail).
// `tail` says what f' is where it is below the smallest normal number, and may still matter.
#define RECTIFIER_GRADIENTS(X)                                            \
  X(leaky_relu, leaky_relu::derivative, none)                             \
  X(leaky_relu_slope, leaky_relu::slope_derivative, none)                 \
  X(squared_relu, squared_relu::derivative, none)                         \
  X(elu, elu::derivative, elu)                                            \
  X(celu, celu::derivative, celu)                                         \
  X(selu, selu::derivative, selu)                                         \
  X(softplus, softplus::derivative, softplus)                             \
  X(squared_relu_from_output, squared_relu::derivative_from_output, none) \
  X(elu_from_output, elu::derivative_from_output, none)                   \
  X(celu_from_output, celu::derivative_from_output, none)                 \
  X(selu_from_output, selu::derivative_from_output, none)                 \
  X(softplus_from_output, softplus::derivative_from_output, none)

// In the order of the tables below.
inline constexpr const char* gated_names[] = {
#define RECTIFIER_X(name, kernel, kept) #name,
    RECTIFIER_GATED(RECTIFIER_X)
#undef RECTIFIER_X
};
inline constexpr const char* backward_names[] = {
#define RECTIFIER_X(name) #name,
    RECTIFIER_BACKWARD(RECTIFIER_X)
#undef RECTIFIER_X
};

// Where `name` stands; -1 where it does not.
template <int count>
int find(const char* name, const char* const (&names)[count]) {
  for (int i = 0; i < count; ++i) {
    if (strcmp(names[i], name) == 0) return i;
  }
  return -1;
}

#define RECTIFIER_ONE(...) +1
constexpr int gradient_count = 0 RECTIFIER_GRADIENTS(RECTIFIER_ONE);
constexpr int gated_count = 0 RECTIFIER_GATED(RECTIFIER_ONE);
constexpr int backward_count = 0 RECTIFIER_BACKWARD(RECTIFIER_ONE);
#undef RECTIFIER_ONE

// Values [start, start + n) of an array; x, out, gate and plane are where these begin, and `start`
// is a multiple of 64. Tells whether a bit of the plane is set.
using gated_loop = bool (*)(const char* x, char* out, ptrdiff_t start, ptrdiff_t n,
                            const pattern& parameter, uint8_t* gate, uint8_t* plane,
                            bool past_cache);

// Likewise. `plane` may be null: no zero occurred.
using backward_loop = void (*)(const char* dh, char* out, ptrdiff_t start, ptrdiff_t n,
                               const pattern& parameter, const uint8_t* gate, const uint8_t* plane,
                               bool past_cache);

// Likewise; `kept` is the input or the output.
using gradient_loop = void (*)(const char* kept, const char* dh, char* out, ptrdiff_t start,
                               ptrdiff_t n, const pattern& parameter);

// Adds to counts[u] the set bits of unit u: `bits` lie as [outer][units][inner] from bit `first`
// on; `bytes` of them may be read.
using counter = void (*)(const uint8_t* bits, ptrdiff_t bytes, ptrdiff_t first, ptrdiff_t outer,
                         ptrdiff_t units, ptrdiff_t inner, int64_t* counts);

// Series over time: value (o, t, i) of `outer` x `time` x `inner` is value t of series o * inner +
// i.
constexpr ptrdiff_t average_panel = 64;
struct averaged {
  const char* v;
  const char* dmu;  // backward only
  char* out;        // mu, or dv
  ptrdiff_t time, inner;
  const double* alpha;  // of each series, or of all with a step of 0; `initial` likewise
  ptrdiff_t alpha_step;
  const double* initial;
  ptrdiff_t initial_step;
  double* d_alpha;  // of each series; null where nobody asks, `d_initial` likewise
  double* d_initial;

  ptrdiff_t place(ptrdiff_t series, ptrdiff_t t) const {
    return (series / inner * time + t) * inner + series % inner;
  }
  // Whether they lie side by side at every step.
  bool together(ptrdiff_t first, ptrdiff_t n) const { return first % inner + n <= inner; }
};

// Series [first, first + n), n at most average_panel.
using averager = void (*)(const averaged& a, ptrdiff_t first, ptrdiff_t n);

// Copies whole cache lines past the cache; `out` lies on a line's start.
using streamer = void (*)(char* out, const char* from, ptrdiff_t bytes);

struct kernel_table {
  loop floating[op_count][dtype_count];
  bool heavy[op_count];  // arithmetic takes longer than memory
  streamer stream;
  loop integer[integer_op_count][integer_type_count];
  packer pack_floating[dtype_count];
  packer pack_integer[integer_type_count];
  counter count;
  gated_loop gated[gated_count][dtype_count];
  backward_loop backward[backward_count][dtype_count];
  gradient_loop gradient[gradient_count][dtype_count];
  averager average[dtype_count];
  averager average_backward[dtype_count];
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
