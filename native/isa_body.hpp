// The table of loops of one instruction set; each isa_<name>.cpp includes this once.
//
// Everything it draws in sits in an unnamed namespace, and it uses no standard library template: a
// shared inline function compiled here with wider instructions could be the copy the linker keeps.
#include "average.hpp"
#include "count.hpp"
#include "dispatch.hpp"
#include "gate.hpp"
#include "gated.hpp"
#include "gradient.hpp"
#include "kernels/abs.hpp"
#include "kernels/celu.hpp"
#include "kernels/elu.hpp"
#include "kernels/leaky_relu.hpp"
#include "kernels/relu.hpp"
#include "kernels/relu6.hpp"
#include "kernels/selu.hpp"
#include "kernels/sigmoid.hpp"
#include "kernels/softplus.hpp"
#include "kernels/squared_relu.hpp"
#include "kernels/tanh.hpp"
#include "kernels/threshold.hpp"

namespace rectifier {
namespace {

template <class Op, class T, int inputs>
constexpr loop loop_of() {
  if constexpr (inputs == 1) {
    return unary_loop<Op, T>;
  } else {
    return parameter_loop<Op, T>;
  }
}

}  // namespace

#define RECTIFIER_ROW(name, kernel, inputs, narrow, wide)             \
  {loop_of<kernel, half, inputs>(), loop_of<kernel, float, inputs>(), \
   loop_of<kernel, double, inputs>(), loop_of<kernel, bfloat16, inputs>()},

#define RECTIFIER_HEAVY(name, kernel, inputs, narrow, wide) \
  (kernel::on != lanes::same && kernel::on != lanes::product),

#define RECTIFIER_GATED_ROW(name, kernel, kept)                                         \
  {gated<kernel::value, half, planes::kept>, gated<kernel::value, float, planes::kept>, \
   gated<kernel::value, double, planes::kept>, gated<kernel::value, bfloat16, planes::kept>},

#define RECTIFIER_BACKWARD_ROW(name)                                                            \
  {backward<closed::name, half>, backward<closed::name, float>, backward<closed::name, double>, \
   backward<closed::name, bfloat16>},

#define RECTIFIER_GRADIENT_ROW(name, kernel, tail)                            \
  {gradient<kernel, tails::tail, half>, gradient<kernel, tails::tail, float>, \
   gradient<kernel, tails::tail, double>, gradient<kernel, tails::tail, bfloat16>},

#define RECTIFIER_INTEGERS(loop_for)                                                        \
  {loop_for(int8_t, uint8_t),    loop_for(uint8_t, uint8_t),  loop_for(int16_t, uint16_t),  \
   loop_for(uint16_t, uint16_t), loop_for(int32_t, uint32_t), loop_for(uint32_t, uint32_t), \
   loop_for(int64_t, uint64_t),  loop_for(uint64_t, uint64_t)}

#define RECTIFIER_RELU(T, U) integer_unary_loop<integer_relu<T>, T>
#define RECTIFIER_ABS(T, U) integer_unary_loop<integer_abs<T, U>, T>
#define RECTIFIER_RELU6(T, U) integer_parameter_loop<integer_relu6<T>, T>
#define RECTIFIER_PACK(T, U) pack_integer<T>

extern const kernel_table RECTIFIER_TABLE;
const kernel_table RECTIFIER_TABLE = {
    {RECTIFIER_OPS(RECTIFIER_ROW)},
    {RECTIFIER_OPS(RECTIFIER_HEAVY)},
    stream_lines,
    {RECTIFIER_INTEGERS(RECTIFIER_RELU), RECTIFIER_INTEGERS(RECTIFIER_ABS),
     RECTIFIER_INTEGERS(RECTIFIER_RELU6)},
    {pack_floating<half>, pack_floating<float>, pack_floating<double>, pack_floating<bfloat16>},
    RECTIFIER_INTEGERS(RECTIFIER_PACK),
    count_units,
    {RECTIFIER_GATED(RECTIFIER_GATED_ROW)},
    {RECTIFIER_BACKWARD(RECTIFIER_BACKWARD_ROW)},
    {RECTIFIER_GRADIENTS(RECTIFIER_GRADIENT_ROW)},
    {average<half>, average<float>, average<double>, average<bfloat16>},
    {average_backward<half>, average_backward<float>, average_backward<double>,
     average_backward<bfloat16>},
};

}  // namespace rectifier
