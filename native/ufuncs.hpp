// The NumPy side of the module; module.cpp is the Python side.
#pragma once

#include <Python.h>

namespace rectifier {

// Loads NumPy's C interface and adds every ufunc to `module`. False with a Python error set.
bool add_ufuncs(PyObject* module);

// Gives every floating-point ufunc a loop for the user dtype `dtype`. False with a Python error
// set.
bool add_bfloat16_loops(PyObject* dtype);

// The column of a NumPy type in the tables of loops, -1 where it has none.
int floating_column(int type);

// The packed gate of a one-dimensional contiguous array; null with a Python error set.
PyObject* packed_gate(PyObject* array);

}  // namespace rectifier
