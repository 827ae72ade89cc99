// Large results in memory that earlier ones have left: fresh memory costs as much again as the
// function, for the system clears every page of it.
#pragma once

#include <Python.h>
#include <stddef.h>

namespace rectifier {

// To be called once, after NumPy's API is there. False with a Python error set, for one that the
// environment variable RECTIFIER_KEEP_MB is no number with ImportError.
bool prepare_recycling();

// Whether an ndarray is of a size worth it.
bool is_large(PyObject* array);

// An array like `array` (an ndarray): its shape, dtype and order, not its values. A large one lies
// in memory kept from one that died. Null with a Python error set.
PyObject* empty_like(PyObject* array);

// Keeps at most this many bytes for later results from now on, 0 for none; returns what was.
ptrdiff_t keep_at_most(ptrdiff_t bytes);

}  // namespace rectifier
