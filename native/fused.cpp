#include "fused.hpp"

#include <stdint.h>
#include <string.h>

#include <atomic>

#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#define NPY_TARGET_VERSION NPY_2_0_API_VERSION
#define NO_IMPORT_ARRAY
#define PY_ARRAY_UNIQUE_SYMBOL rectifier_array_api
#include <numpy/arrayobject.h>

#include "dispatch.hpp"
#include "environment.hpp"
#include "large.hpp"
#include "memory.hpp"
#include "ufuncs.hpp"

namespace rectifier {
namespace {

// An argument's memory.
struct memory_of {
  const char* argument;
  char* start = nullptr;
  ptrdiff_t bytes = 0, count = 0;
  int type = -1;

  bool meets(const memory_of& other) const {
    return bytes && other.bytes && start < other.start + other.bytes && other.start < start + bytes;
  }
};

bool read(const char* function, PyObject* object, bool written, memory_of& m) {
  auto* array = reinterpret_cast<PyArrayObject*>(object);
  if (!PyArray_Check(object) || PyArray_NDIM(array) != 1 || !PyArray_IS_C_CONTIGUOUS(array) ||
      !PyArray_ISBEHAVED_RO(array) || (written && !PyArray_ISWRITEABLE(array))) {
    PyErr_Format(PyExc_ValueError,
                 "%s: `%s` must be a one-dimensional NumPy array, contiguous, aligned, of native "
                 "byte order%s; got %s. Pass np.ascontiguousarray(...).ravel().",
                 function, m.argument, written ? " and writeable" : "", Py_TYPE(object)->tp_name);
    return false;
  }
  m.start = PyArray_BYTES(array);
  m.bytes = PyArray_NBYTES(array);
  m.count = PyArray_SIZE(array);
  m.type = PyArray_TYPE(array);
  return true;
}

bool read_bits(const char* function, PyObject* object, bool written, ptrdiff_t values,
               memory_of& m) {
  if (!read(function, object, written, m)) return false;
  if (m.type == NPY_UBYTE && m.count == values / 8 + (values % 8 != 0)) return true;
  PyErr_Format(PyExc_ValueError,
               "%s: `%s` must be uint8 with a bit for each of the %zd values; got %zd entries of "
               "%R. Pass the bits of a gate of as many values.",
               function, m.argument, static_cast<Py_ssize_t>(values),
               static_cast<Py_ssize_t>(m.count),
               PyArray_DESCR(reinterpret_cast<PyArrayObject*>(object)));
  return false;
}

bool apart(const char* function, const memory_of& a, const memory_of& b) {
  if (!a.meets(b)) return true;
  PyErr_Format(PyExc_ValueError,
               "%s: `%s` and `%s` must not share memory in part; got arrays that overlap. Pass an "
               "array of its own.",
               function, a.argument, b.argument);
  return false;
}

bool same_or_apart(const char* function, const memory_of& a, const memory_of& b) {
  return a.start == b.start || apart(function, a, b);
}

// A parameter as the loops take it. `number` is where one number is kept.
union parameter_number {
  float narrow;
  double wide;
};

bool read_parameter(const char* function, PyObject* object, Py_ssize_t inner, int column,
                    parameter_number& number, pattern& p, memory_of& m) {
  const bool wide = column == static_cast<int>(dtype::float64);
  p = {reinterpret_cast<const char*>(&number), 1, 1};
  if (object == Py_None || PyFloat_Check(object)) {
    double value = object == Py_None ? 0.0 : PyFloat_AS_DOUBLE(object);
    wide ? void(number.wide = value) : void(number.narrow = static_cast<float>(value));
    return true;
  }
  if (!read(function, object, false, m)) return false;
  if (m.type != (wide ? NPY_DOUBLE : NPY_FLOAT) || m.count < 1 || inner < 1) {
    PyErr_Format(PyExc_ValueError,
                 "%s: `parameter` must be an array of %s, not empty, with `inner` 1 or more; got "
                 "%zd entries of %R, `inner` %zd. Convert it with astype.",
                 function, wide ? "float64" : "float32", static_cast<Py_ssize_t>(m.count),
                 PyArray_DESCR(reinterpret_cast<PyArrayObject*>(object)), inner);
    return false;
  }
  p = {m.start, inner, m.count};
  return true;
}

template <int count>
int find_known(const char* function, const char* name, const char* const (&names)[count]) {
  const int row = find(name, names);
  if (row >= 0) return row;
  PyErr_Format(PyExc_ValueError, "%s: `name` must be one that it knows; got '%s'. Pass '%s'.",
               function, name, names[0]);
  return -1;
}

// What both directions share: the operands, and how values [start, start + count) are done.
struct fused_call {
  const char* from;
  char* out;
  int size;
  pattern parameter;
  gated_loop gated;
  backward_loop back;
  uint8_t* gate;
  uint8_t* plane;
  std::atomic<bool> any{false};
};

void values(void* context, ptrdiff_t start, ptrdiff_t count, bool past_cache) {
  fused_call& c = *static_cast<fused_call*>(context);
  const char* from = c.from + start * c.size;
  char* out = c.out + start * c.size;
  uint8_t* plane = c.plane ? c.plane + start / 8 : nullptr;
  if (c.back) {
    c.back(from, out, start, count, c.parameter, c.gate + start / 8, plane, past_cache);
  } else if (c.gated(from, out, start, count, c.parameter, c.gate + start / 8, plane, past_cache)) {
    c.any.store(true, std::memory_order_relaxed);
  }
}

void run(fused_call& c, ptrdiff_t n, unsigned allowed_flags) {
  if (n >= long_from) {
    run_long({values, &c, n, c.out, c.size, c.from, false, allowed_flags, false});
  } else {
    environment scope(allowed_flags);
    void (*through_a_pointer)(void*, ptrdiff_t, ptrdiff_t, bool) = values;
    through_a_pointer(&c, 0, n, false);
  }
}

// Reads every argument of either function; `inputs` and results must lie as loops can take them.
bool read_all(const char* function, bool forward, PyObject* from, PyObject* out,
              PyObject* parameter, Py_ssize_t inner, PyObject* gate, PyObject* plane, fused_call& c,
              memory_of& x, memory_of& result, parameter_number& number, int& column) {
  memory_of bits{"gate"}, more{"plane"};
  if (!read(function, from, false, x) || !read(function, out, true, result)) return false;
  column = floating_column(x.type);
  if (column < 0 || result.type != x.type || result.count != x.count) {
    PyErr_Format(PyExc_ValueError,
                 "%s: `%s` and `out` must be of one dtype, float16, bfloat16 (once registered), "
                 "float32 or float64, and one length; got %R of %zd and %R of %zd. Pass "
                 "np.empty_like(%s).",
                 function, x.argument, PyArray_DESCR(reinterpret_cast<PyArrayObject*>(from)),
                 static_cast<Py_ssize_t>(x.count),
                 PyArray_DESCR(reinterpret_cast<PyArrayObject*>(out)),
                 static_cast<Py_ssize_t>(result.count), x.argument);
    return false;
  }
  if (!read_bits(function, gate, forward, x.count, bits)) return false;
  if (plane != Py_None && !read_bits(function, plane, forward, x.count, more)) return false;
  if (!same_or_apart(function, result, x)) return false;
  for (const memory_of* one : {&bits, &more}) {
    if (!apart(function, result, *one) || !apart(function, *one, x)) return false;
  }
  // Read only, the two may be one.
  if (forward && !apart(function, bits, more)) return false;
  memory_of values{"parameter"};
  if (!read_parameter(function, parameter, inner, column, number, c.parameter, values))
    return false;
  // Unlike x it is read again for every row, so not even the same memory will do.
  if (!apart(function, result, values)) return false;
  if (forward && (!apart(function, bits, values) || !apart(function, more, values))) return false;
  c.from = x.start;
  c.out = result.start;
  c.size = x.count ? static_cast<int>(x.bytes / x.count) : 1;
  c.gate = reinterpret_cast<uint8_t*>(bits.start);
  c.plane = reinterpret_cast<uint8_t*>(more.start);
  return true;
}

// Axes of which neighbours are never both kept or both summed over.
struct axes {
  static constexpr int most = 64;
  ptrdiff_t size[most];
  bool kept[most];
  int count = 0;

  void add(ptrdiff_t n, bool keep) {
    if (n == 1) return;
    if (count && kept[count - 1] == keep) {
      size[count - 1] *= n;
    } else if (count < most) {
      size[count] = n;
      kept[count++] = keep;
    }
  }
};

// Axes from `from` on, bits from `first` on.
void count_axes(const axes& a, int from, const memory_of& bits, ptrdiff_t first, int64_t* counts) {
  ptrdiff_t outer = 1, units = 1, inner = 1;
  int i = from;
  if (i < a.count && !a.kept[i] && i + 1 < a.count) outer = a.size[i++];
  if (i < a.count && a.kept[i]) units = a.size[i++];
  if (i < a.count && !a.kept[i]) inner = a.size[i++];
  if (i == a.count) {
    active->table->count(reinterpret_cast<const uint8_t*>(bits.start), bits.bytes, first, outer,
                         units, inner, counts);
    return;
  }
  ptrdiff_t step = 1, counts_step = a.kept[from] ? 1 : 0;
  for (i = from + 1; i < a.count; ++i) {
    step *= a.size[i];
    if (a.kept[i]) counts_step *= a.size[i];
  }
  for (ptrdiff_t j = 0; j < a.size[from]; ++j) {
    count_axes(a, from + 1, bits, first + j * step, counts + j * counts_step);
  }
}

}  // namespace

PyObject* count_gates(PyObject* bits, PyObject* sizes, PyObject* kept, PyObject* counts) {
  const char* function = "count_gates";
  memory_of from{"bits"}, to{"counts"};
  if (!read(function, counts, true, to)) return nullptr;
  axes a;
  ptrdiff_t values = 1, units = 1;
  bool good = PyTuple_Check(sizes) && PyTuple_Check(kept) &&
              PyTuple_GET_SIZE(sizes) == PyTuple_GET_SIZE(kept) &&
              PyTuple_GET_SIZE(sizes) <= axes::most;
  for (Py_ssize_t i = 0; good && i < PyTuple_GET_SIZE(sizes); ++i) {
    const ptrdiff_t size = PyLong_AsSsize_t(PyTuple_GET_ITEM(sizes, i));
    const int keep = PyObject_IsTrue(PyTuple_GET_ITEM(kept, i));
    if (PyErr_Occurred()) return nullptr;
    good = size >= 0 && !__builtin_mul_overflow(values, size, &values);
    if (keep) units *= size;
    a.add(size, keep != 0);
  }
  if (!good || to.type != NPY_LONG || to.count != units) {
    PyErr_SetString(PyExc_ValueError,
                    "count_gates: `sizes` and `kept` must be tuples with an entry an axis, and "
                    "`counts` int64 with an entry a unit. Pass np.zeros(units, np.int64).");
    return nullptr;
  }
  if (!read_bits(function, bits, false, values, from) || !apart(function, to, from)) return nullptr;
  if (values) {
    Py_BEGIN_ALLOW_THREADS;
    count_axes(a, 0, from, 0, reinterpret_cast<int64_t*>(to.start));
    Py_END_ALLOW_THREADS;
  }
  Py_RETURN_NONE;
}

PyObject* with_gate(const char* name, PyObject* x, PyObject* out, PyObject* parameter,
                    Py_ssize_t inner, PyObject* gate, PyObject* plane) {
  const char* function = "with_gate";
  int row = find_known(function, name, gated_names), column;
  fused_call c{};
  memory_of from{"x"}, to{"out"};
  parameter_number number;
  if (row < 0 || !read_all(function, true, x, out, parameter, inner, gate, plane, c, from, to,
                           number, column)) {
    return nullptr;
  }
  static const bool keeps[] = {
#define RECTIFIER_none false
#define RECTIFIER_zeros true
#define RECTIFIER_inside true
#define RECTIFIER_X(name, kernel, kept) RECTIFIER_##kept,
      RECTIFIER_GATED(RECTIFIER_X)
#undef RECTIFIER_X
  };
  if (keeps[row] != (plane != Py_None)) {
    PyErr_Format(PyExc_ValueError, "with_gate: `plane` must %s for '%s'; got %s. Pass %s.",
                 keeps[row] ? "be given" : "be None", name, keeps[row] ? "None" : "an array",
                 keeps[row] ? "an array like `gate`" : "None");
    return nullptr;
  }
  c.gated = active->table->gated[row][column];
  const bool product = strcmp(name, "leaky_relu") == 0 || strcmp(name, "squared_relu") == 0;
  Py_BEGIN_ALLOW_THREADS;
  run(c, from.count, product ? overflow_flag | underflow_flag : 0);
  Py_END_ALLOW_THREADS;
  return PyBool_FromLong(c.any.load(std::memory_order_relaxed));
}

PyObject* backward(const char* name, PyObject* dh, PyObject* out, PyObject* parameter,
                   Py_ssize_t inner, PyObject* gate, PyObject* plane) {
  const char* function = "backward";
  int row = find_known(function, name, backward_names), column;
  fused_call c{};
  memory_of from{"dh"}, to{"out"};
  parameter_number number;
  if (row < 0 || !read_all(function, false, dh, out, parameter, inner, gate, plane, c, from, to,
                           number, column)) {
    return nullptr;
  }
  c.back = active->table->backward[row][column];
  Py_BEGIN_ALLOW_THREADS;
  run(c, from.count, overflow_flag | underflow_flag);
  Py_END_ALLOW_THREADS;
  Py_RETURN_NONE;
}

PyObject* copy_past_cache(PyObject* out, PyObject* from) {
  const char* function = "copy_past_cache";
  memory_of to{"out"}, source{"from"};
  if (!read(function, out, true, to) || !read(function, from, false, source)) return nullptr;
  if (!apart(function, to, source)) return nullptr;
  const auto whole = [](const memory_of& m) {
    return reinterpret_cast<uintptr_t>(m.start) % cache_line == 0 && m.bytes % cache_line == 0;
  };
  if (to.bytes != source.bytes || !whole(to) || !whole(source)) {
    PyErr_SetString(
        PyExc_ValueError,
        "copy_past_cache: `out` and `from` must be of one size, a multiple of 64 bytes, "
        "and begin on a cache line. Pass slices that do.");
    return nullptr;
  }
  Py_BEGIN_ALLOW_THREADS;
  copy_past_cache(to.start, source.start, to.bytes);
  Py_END_ALLOW_THREADS;
  Py_RETURN_NONE;
}

}  // namespace rectifier
