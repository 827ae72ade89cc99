// The common call of a ufunc with parameters: no Python between the caller and the loop.
#pragma once

#include <Python.h>

namespace rectifier {

// Adds the type Caller to `module`. False with a Python error set.
bool add_caller(PyObject* module);

}  // namespace rectifier
