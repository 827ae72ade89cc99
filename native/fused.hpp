// NumPy arrays in, the loops of gated.hpp and the counts of the gates: module.cpp gives them names.
#pragma once

#include <Python.h>

namespace rectifier {

// Each returns null with a Python error set. Arrays are one-dimensional, contiguous, aligned and of
// native byte order; `parameter` is a number, None or an array of float64 for float64 values, of
// float32 for the rest, that repeats, each entry `inner` times.

// h into `out`, its gate into `gate` and the plane that this function keeps into `plane` (None for
// one that keeps none). True where a bit of the plane is set.
PyObject* with_gate(const char* name, PyObject* x, PyObject* out, PyObject* parameter,
                    Py_ssize_t inner, PyObject* gate, PyObject* plane);

// dz into `out`, which may be dh itself.
PyObject* backward(const char* name, PyObject* dh, PyObject* out, PyObject* parameter,
                   Py_ssize_t inner, PyObject* gate, PyObject* plane);

// Adds to `counts` (int64, one entry a unit) the set bits of packed gates. `sizes` and `kept` are
// tuples, an entry an axis, slowest first: units differ along the axes that are kept.
PyObject* count_gates(PyObject* bits, PyObject* sizes, PyObject* kept, PyObject* counts);

// The bytes of one array into another, past the cache: what memory allows.
PyObject* copy_past_cache(PyObject* out, PyObject* from);

}  // namespace rectifier
