#include "ufuncs.hpp"

#include <string.h>

#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#define NPY_TARGET_VERSION NPY_2_0_API_VERSION
#define PY_ARRAY_UNIQUE_SYMBOL rectifier_array_api
#include <numpy/arrayobject.h>
#include <numpy/ufuncobject.h>

#include "dispatch.hpp"
#include "environment.hpp"
#include "large.hpp"

namespace rectifier {
namespace {

// What a ufunc's loop needs beside its arguments; NumPy hands it back as `void* data`.
struct loop_data {
  int row, column;
  bool integer;
  unsigned allowed_flags;
  int inputs, size;  // operands before the result; bytes a value
};

struct long_call {
  loop chosen;
  char* operands[3];
  ptrdiff_t strides[3];
  int inputs;
};

void values(void* context, ptrdiff_t start, ptrdiff_t count, bool past_cache) {
  const long_call& call = *static_cast<const long_call*>(context);
  char* operands[3];
  for (int i = 0; i <= call.inputs; ++i) operands[i] = call.operands[i] + start * call.strides[i];
  call.chosen(operands, count, call.strides, past_cache);
}

bool disjoint(const char* a, ptrdiff_t a_bytes, const char* b, ptrdiff_t b_bytes) {
  return a + a_bytes <= b || b + b_bytes <= a;
}

// reduce and accumulate: each result is an operand of the next.
void run_one_by_one(loop chosen, char* const* operands, ptrdiff_t n, const npy_intp* strides,
                    unsigned allowed_flags) {
  environment scope(allowed_flags);
  char* at[3] = {operands[0], operands[1], operands[2]};
  for (ptrdiff_t i = 0; i < n; ++i) {
    chosen(at, 1, strides, false);
    for (int k = 0; k < 3; ++k) at[k] += strides[k];
  }
}

// Runs the loop in parts, if it is such that they do not meet: a contiguous result, which no
// operand overlaps but in place.
bool run_as_long(loop chosen, char* const* operands, ptrdiff_t n, const npy_intp* strides,
                 const loop_data& d, bool heavy) {
  long_call call{chosen, {}, {}, d.inputs};
  char* out = operands[d.inputs];
  const ptrdiff_t bytes = n * d.size;
  if (strides[d.inputs] != d.size) return false;
  for (int i = 0; i < d.inputs; ++i) {
    const bool in_place = operands[i] == out && strides[i] == d.size;
    const ptrdiff_t span = strides[i] < 0 ? -strides[i] : strides[i];
    const char* lowest = operands[i] + (strides[i] < 0 ? strides[i] * (n - 1) : 0);
    if (!in_place && !disjoint(lowest, span * (n - 1) + 8, out, bytes)) return false;
    call.operands[i] = operands[i];
    call.strides[i] = strides[i];
  }
  call.operands[d.inputs] = out;
  call.strides[d.inputs] = d.size;
  const char* in = strides[0] == d.size ? operands[0] : nullptr;
  run_long({values, &call, n, out, d.size, in, heavy, d.allowed_flags, d.integer});
  return true;
}

void run(char** operands, const npy_intp* dimensions, const npy_intp* strides, void* data) {
  const loop_data& d = *static_cast<const loop_data*>(data);
  const kernel_table& table = *active->table;
  // Read here, so that a loop under way keeps the table it began with.
  loop chosen = d.integer ? table.integer[d.row][d.column] : table.floating[d.row][d.column];
  if (d.inputs == 2 && operands[0] + strides[0] == operands[2] && dimensions[0] > 1) {
    run_one_by_one(chosen, operands, dimensions[0], strides, d.allowed_flags);
    return;
  }
  const bool heavy = !d.integer && table.heavy[d.row];
  if (dimensions[0] >= (heavy ? long_from_heavy : long_from) &&
      run_as_long(chosen, operands, dimensions[0], strides, d, heavy)) {
    return;
  }
  if (d.integer) {
    chosen(operands, dimensions[0], strides, false);
    return;
  }
  environment scope(d.allowed_flags);
  chosen(operands, dimensions[0], strides, false);
}

struct floating_row {
  const char* name;
  int inputs;
  unsigned narrow_flags, wide_flags;
};

const floating_row floating_rows[] = {
#define RECTIFIER_X(name, kernel, inputs, narrow, wide) {#name, inputs, narrow, wide},
    RECTIFIER_OPS(RECTIFIER_X)
#undef RECTIFIER_X
};

struct integer_row {
  const char* name;
  int index, inputs;
};

const integer_row integer_rows[] = {
#define RECTIFIER_X(name, index, inputs) {#name, index, inputs},
    RECTIFIER_INTEGER_OPS(RECTIFIER_X)
#undef RECTIFIER_X
};

// The smallest first: NumPy takes the first loop that an integer or bool casts to safely, which
// then is the one np.exp takes.
struct floating_type {
  dtype column;
  int value, parameter, size;
};
const floating_type floating_types[] = {
    {dtype::float16, NPY_HALF, NPY_FLOAT, 2},
    {dtype::float32, NPY_FLOAT, NPY_FLOAT, 4},
    {dtype::float64, NPY_DOUBLE, NPY_DOUBLE, 8},
};
constexpr int floating_type_count = 3;

// All ten C integer types, so that none of two of the same size promotes to the other's name.
struct integer_type {
  int type, size;
  bool is_unsigned;
};
const integer_type integer_types[] = {
    {NPY_BYTE, sizeof(char), false},
    {NPY_UBYTE, sizeof(char), true},
    {NPY_SHORT, sizeof(short), false},
    {NPY_USHORT, sizeof(short), true},
    {NPY_INT, sizeof(int), false},
    {NPY_UINT, sizeof(int), true},
    {NPY_LONG, sizeof(long), false},
    {NPY_ULONG, sizeof(long), true},
    {NPY_LONGLONG, sizeof(long long), false},
    {NPY_ULONGLONG, sizeof(long long), true},
};
constexpr int integer_type_total = 10;

int column_of(const integer_type& t) {
  int power = t.size == 1 ? 0 : t.size == 2 ? 1 : t.size == 4 ? 2 : 3;
  return 2 * power + (t.is_unsigned ? 1 : 0);
}

constexpr int most_loops = floating_type_count + integer_type_total;

// NumPy keeps the pointers it is given, so these live as long as the process.
struct ufunc_storage {
  PyUFuncGenericFunction functions[most_loops];
  void* data[most_loops];
  char types[most_loops * 3];
  loop_data loops[most_loops];
  loop_data bfloat16;
};
ufunc_storage storage[op_count];
PyObject* ufuncs[op_count];

void add_loop(ufunc_storage& s, int& count, int inputs, int value, int parameter, loop_data loop) {
  s.loops[count] = loop;
  s.functions[count] = run;
  s.data[count] = &s.loops[count];
  char* types = s.types + count * (inputs + 1);
  *types++ = static_cast<char>(value);
  if (inputs == 2) *types++ = static_cast<char>(parameter);
  *types = static_cast<char>(value);
  ++count;
}

PyObject* make_ufunc(int row) {
  const floating_row& r = floating_rows[row];
  ufunc_storage& s = storage[row];
  int count = 0;
  for (const floating_type& t : floating_types) {
    unsigned flags = t.column == dtype::float64 ? r.wide_flags : r.narrow_flags;
    add_loop(s, count, r.inputs, t.value, t.parameter,
             {row, static_cast<int>(t.column), false, flags, r.inputs, t.size});
  }
  s.bfloat16 = {row, static_cast<int>(dtype::bfloat16), false, r.narrow_flags, r.inputs, 2};
  for (const integer_row& i : integer_rows) {
    if (strcmp(i.name, r.name) != 0) continue;
    for (const integer_type& t : integer_types) {
      add_loop(s, count, i.inputs, t.type, t.type,
               {i.index, column_of(t), true, 0, i.inputs, t.size});
    }
  }
  return PyUFunc_FromFuncAndData(s.functions, s.data, s.types, count, r.inputs, 1, PyUFunc_None,
                                 r.name, nullptr, 0);
}

int bfloat16_type = -1;

}  // namespace

int floating_column(int type) {
  if (type == bfloat16_type) return static_cast<int>(dtype::bfloat16);
  for (const floating_type& t : floating_types) {
    if (t.value == type) return static_cast<int>(t.column);
  }
  return -1;
}

namespace {

packer packer_of(int type) {
  const kernel_table& table = *active->table;
  if (type == NPY_BOOL) return table.pack_integer[1];
  if (int column = floating_column(type); column >= 0) return table.pack_floating[column];
  for (const integer_type& t : integer_types) {
    if (t.type == type) return table.pack_integer[column_of(t)];
  }
  return nullptr;
}

}  // namespace

bool add_ufuncs(PyObject* module) {
  bfloat16_type = -1;  // a module that is imported anew has new ufuncs, without these loops
  if (PyArray_ImportNumPyAPI() < 0 || PyUFunc_ImportUFuncAPI() < 0) return false;
  for (int row = 0; row < op_count; ++row) {
    ufuncs[row] = make_ufunc(row);
    if (!ufuncs[row]) return false;
    if (PyModule_AddObjectRef(module, floating_rows[row].name, ufuncs[row]) < 0) return false;
    // Pickled by name: one that does not know its module is looked for in every module there is.
    // NumPy before 2.2 lets none be told.
    PyObject* name = PyObject_GetAttrString(module, "__name__");
    if (!name) return false;
    if (PyObject_SetAttrString(ufuncs[row], "__module__", name) < 0) PyErr_Clear();
    Py_DECREF(name);
  }
  return true;
}

bool add_bfloat16_loops(PyObject* dtype) {
  PyArray_Descr* descr = nullptr;
  if (!PyArray_DescrConverter(dtype, &descr)) return false;
  int type = descr->type_num;
  bool fits = PyTypeNum_ISUSERDEF(type) && PyDataType_ELSIZE(descr) == 2;
  Py_DECREF(descr);
  if (!fits) {
    PyErr_Format(
        PyExc_TypeError,
        "register_bfloat16: `dtype` must be ml_dtypes' bfloat16; got %R. Pass ml_dtypes.bfloat16.",
        dtype);
    return false;
  }
  if (type == bfloat16_type) return true;
  for (int row = 0; row < op_count; ++row) {
    int unary[] = {type, type};
    int binary[] = {type, NPY_FLOAT, type};
    auto* ufunc = reinterpret_cast<PyUFuncObject*>(ufuncs[row]);
    int* types = floating_rows[row].inputs == 1 ? unary : binary;
    if (PyUFunc_RegisterLoopForType(ufunc, type, run, types, &storage[row].bfloat16) < 0)
      return false;
  }
  bfloat16_type = type;
  return true;
}

PyObject* packed_gate(PyObject* object) {
  if (!PyArray_Check(object)) {
    PyErr_Format(PyExc_TypeError,
                 "pack_gate: `x` must be a NumPy array; got %s. Pass np.asarray(x).",
                 Py_TYPE(object)->tp_name);
    return nullptr;
  }
  auto* array = reinterpret_cast<PyArrayObject*>(object);
  packer pack = packer_of(PyArray_TYPE(array));
  if (!pack) {
    PyErr_Format(
        PyExc_TypeError,
        "pack_gate: `x` must have a dtype of float16, bfloat16 (once registered), float32, "
        "float64, bool or an integer; got %R. Convert it with x.astype(...).",
        PyArray_DESCR(array));
    return nullptr;
  }
  if (PyArray_NDIM(array) != 1 || !PyArray_IS_C_CONTIGUOUS(array) || !PyArray_ISBEHAVED_RO(array)) {
    PyErr_SetString(
        PyExc_ValueError,
        "pack_gate: `x` must be one-dimensional, contiguous, aligned and of native byte "
        "order. Pass np.ascontiguousarray(x).ravel().");
    return nullptr;
  }
  npy_intp n = PyArray_SIZE(array);
  npy_intp bytes = n / 8 + (n % 8 != 0);
  PyObject* bits = PyArray_SimpleNew(1, &bytes, NPY_UBYTE);
  if (!bits) return nullptr;
  const char* values = PyArray_BYTES(array);
  auto* out = static_cast<uint8_t*>(PyArray_DATA(reinterpret_cast<PyArrayObject*>(bits)));
  Py_BEGIN_ALLOW_THREADS;
  {
    environment scope(0);
    pack(values, n, out);
  }
  Py_END_ALLOW_THREADS;
  return bits;
}

}  // namespace rectifier
