#include "caller.hpp"

#include <structmember.h>

#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#define NPY_TARGET_VERSION NPY_2_0_API_VERSION
#define NO_IMPORT_ARRAY
#define PY_ARRAY_UNIQUE_SYMBOL rectifier_array_api
#include <numpy/arrayobject.h>

#include "environment.hpp"
#include "recycle.hpp"

namespace rectifier {
namespace {

struct caller {
  PyObject_HEAD vectorcallfunc call;
  PyObject* slow;  // called in every other case
  PyObject* ufunc;
  PyObject* name;      // of the parameter; None where there is none
  PyObject* defaults;  // x's dtype → operand, None where the ufunc takes x alone
  PyObject* numbers;   // x's dtype → number → operand
  double low, high;    // where the parameter must lie
};

template <class T>
bool all_within(const char* at, npy_intp n, double low, double high) {
  const T* values = reinterpret_cast<const T*>(at);
  bool good = true;
  for (npy_intp i = 0; i < n; ++i) good &= (values[i] >= low) & (values[i] <= high);
  return good;
}

// Whether an array can stand beside x as it is. False also where a closer look is needed.
bool fits(const caller& c, PyArrayObject* values, PyArrayObject* x) {
  const bool wide = PyArray_TYPE(x) == NPY_DOUBLE;
  if (PyArray_TYPE(values) != (wide ? NPY_DOUBLE : NPY_FLOAT) || !PyArray_ISONESEGMENT(values) ||
      !PyArray_ISBEHAVED_RO(values)) {
    return false;
  }
  const npy_intp n = PyArray_SIZE(values);
  bool (*volatile within)(const char*, npy_intp, double, double) =
      wide ? all_within<double> : all_within<float>;
  bool good;
  NPY_BEGIN_THREADS_DEF;
  NPY_BEGIN_THREADS_THRESHOLDED(n);
  {
    environment scope(0);
    good = within(PyArray_BYTES(values), n, c.low, c.high);
  }
  NPY_END_THREADS;
  return good;
}

// The operand after x, borrowed; null where this is none of the common calls.
PyObject* operand_of(const caller& c, PyArrayObject* x, PyObject* value) {
  PyObject* dtype = reinterpret_cast<PyObject*>(PyArray_DESCR(x));
  if (!value) return PyDict_GetItemWithError(c.defaults, dtype);
  PyObject* numbers = PyDict_GetItemWithError(c.numbers, dtype);
  if (!numbers) return nullptr;
  // By type: True is not 1 here, and a subclass may be anything.
  if (PyFloat_CheckExact(value) || PyLong_CheckExact(value)) {
    return PyDict_GetItemWithError(numbers, value);
  }
  return PyArray_CheckExact(value) && fits(c, reinterpret_cast<PyArrayObject*>(value), x) ? value
                                                                                          : nullptr;
}

PyObject* at_once(const caller& c, PyObject* x, PyObject* out, PyObject* parameters) {
  PyObject* value = nullptr;
  if (PyDict_GET_SIZE(parameters)) {
    if (PyDict_GET_SIZE(parameters) > 1) return nullptr;
    value = PyDict_GetItemWithError(parameters, c.name);
    if (!value) return nullptr;
  }
  PyObject* operand = operand_of(c, reinterpret_cast<PyArrayObject*>(x), value);
  if (!operand) return nullptr;
  Py_INCREF(operand);
  PyObject* made = nullptr;
  if (out == Py_None && is_large(x)) {
    // Where the operand's shape asks for more, the ufunc refuses it.
    made = out = empty_like(x);
    if (!made) {
      Py_DECREF(operand);
      return nullptr;
    }
  }
  PyObject* operands[3] = {x};
  size_t count = 1;
  if (operand != Py_None) operands[count++] = operand;
  if (out != Py_None) operands[count++] = out;
  PyObject* result = PyObject_Vectorcall(c.ufunc, operands, count, nullptr);
  Py_XDECREF(made);
  Py_DECREF(operand);
  return result;
}

PyObject* call(PyObject* self, PyObject* const* arguments, size_t flagged, PyObject* names) {
  const caller& c = *reinterpret_cast<caller*>(self);
  const Py_ssize_t count = PyVectorcall_NARGS(flagged);
  if (count != 4 || names || !PyDict_CheckExact(arguments[3])) {
    PyErr_SetString(PyExc_TypeError, "Caller: takes x, out, where and a dict of parameters.");
    return nullptr;
  }
  PyObject *x = arguments[0], *out = arguments[1], *where = arguments[2];
  if (PyArray_CheckExact(x) && where == Py_True && (out == Py_None || PyArray_CheckExact(out))) {
    PyObject* result = at_once(c, x, out, arguments[3]);
    if (result) return result;
    if (PyErr_Occurred()) {
      // What NumPy refuses, it refuses before it computes; the slow way says it in words of ours.
      if (!PyErr_ExceptionMatches(PyExc_ValueError) && !PyErr_ExceptionMatches(PyExc_TypeError)) {
        return nullptr;
      }
      PyErr_Clear();
    }
  }
  return PyObject_Vectorcall(c.slow, arguments, count, nullptr);
}

int init(PyObject* self, PyObject* arguments, PyObject* names) {
  static const char* keys[] = {"slow",    "ufunc", "name", "defaults",
                               "numbers", "low",   "high", nullptr};
  PyObject *slow, *ufunc, *name, *defaults, *numbers;
  double low, high;
  if (!PyArg_ParseTupleAndKeywords(arguments, names, "OOOO!O!dd:Caller", const_cast<char**>(keys),
                                   &slow, &ufunc, &name, &PyDict_Type, &defaults, &PyDict_Type,
                                   &numbers, &low, &high)) {
    return -1;
  }
  caller& c = *reinterpret_cast<caller*>(self);
  Py_XSETREF(c.name, Py_NewRef(name));
  Py_XSETREF(c.slow, Py_NewRef(slow));
  Py_XSETREF(c.ufunc, Py_NewRef(ufunc));
  Py_XSETREF(c.defaults, Py_NewRef(defaults));
  Py_XSETREF(c.numbers, Py_NewRef(numbers));
  c.low = low;
  c.high = high;
  c.call = call;
  return 0;
}

int traverse(PyObject* self, visitproc visit, void* arg) {
  caller& c = *reinterpret_cast<caller*>(self);
  Py_VISIT(Py_TYPE(self));
  Py_VISIT(c.slow);
  Py_VISIT(c.ufunc);
  Py_VISIT(c.defaults);
  Py_VISIT(c.numbers);
  return 0;
}

int clear(PyObject* self) {
  caller& c = *reinterpret_cast<caller*>(self);
  c.call = nullptr;
  Py_CLEAR(c.slow);
  Py_CLEAR(c.ufunc);
  Py_CLEAR(c.name);
  Py_CLEAR(c.defaults);
  Py_CLEAR(c.numbers);
  return 0;
}

void dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  PyObject_GC_UnTrack(self);
  clear(self);
  type->tp_free(self);
  Py_DECREF(type);
}

PyMemberDef members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(caller, call), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr},
};

const char doc[] =
    "Caller(slow, ufunc, name, defaults, numbers, low, high)\n--\n\n"
    "Called with (x, out, where, parameters): ufunc(x, operand) at once where x is an array "
    "proper\n"
    "of a dtype in `defaults` or `numbers`, and the one parameter `name` is left out, a number "
    "that\n"
    "`numbers` has, or an array of the dtype that parameters have beside x, within [low, high].\n"
    "All else, and whatever the ufunc refuses, goes to slow(x, out, where, parameters).";

PyType_Slot slots[] = {
    {Py_tp_doc, const_cast<char*>(doc)},
    {Py_tp_new, reinterpret_cast<void*>(PyType_GenericNew)},
    {Py_tp_init, reinterpret_cast<void*>(init)},
    {Py_tp_call, reinterpret_cast<void*>(PyVectorcall_Call)},
    {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(clear)},
    {Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
    {Py_tp_members, members},
    {0, nullptr},
};

PyType_Spec spec = {"rectifier._native.Caller", sizeof(caller), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC |
                        Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_IMMUTABLETYPE,
                    slots};

}  // namespace

bool add_caller(PyObject* module) {
  PyObject* type = PyType_FromSpec(&spec);
  if (!type) return false;
  const int added = PyModule_AddObjectRef(module, "Caller", type);
  Py_DECREF(type);
  return added == 0;
}

}  // namespace rectifier
