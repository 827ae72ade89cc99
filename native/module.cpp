// The Python module rectifier._native.
#include <Python.h>
#include <nanobind/nanobind.h>
#include <stdlib.h>

#include <string>

#include "addresses.hpp"
#include "averages.hpp"
#include "caller.hpp"
#include "dispatch.hpp"
#include "fused.hpp"
#include "large.hpp"
#include "recycle.hpp"
#include "threads.hpp"
#include "ufuncs.hpp"

namespace nb = nanobind;

namespace {

using rectifier::instruction_set;

nb::list supported_isas() {
  nb::list names;
  for (const instruction_set* i = rectifier::instruction_sets; i->name; ++i) {
    if (i->supported()) names.append(i->name);
  }
  return names;
}

// Why `name` was refused: what it was given to, and what would do.
std::string refusal(const char* where, const char* name) {
  std::string text = std::string(where) + " must be one of ";
  bool first = true;
  for (const instruction_set* i = rectifier::instruction_sets; i->name; ++i) {
    if (!i->supported()) continue;
    text += std::string(first ? "" : ", ") + i->name;
    first = false;
  }
  return text + " on this machine; got '" + name + "'.";
}

void use_isa(const char* name) {
  const instruction_set* found = rectifier::find_isa(name);
  if (!found) throw nb::value_error(refusal("use_isa: `name`", name).c_str());
  rectifier::active = found;
}

void choose_at_import() {
  const char* wanted = getenv("RECTIFIER_ISA");
  if (!wanted || !*wanted) {
    rectifier::active = rectifier::best_isa();
    return;
  }
  rectifier::active = rectifier::find_isa(wanted);
  if (!rectifier::active) {
    std::string text = refusal("rectifier: the environment variable RECTIFIER_ISA", wanted);
    throw nb::import_error((text + " Unset it to have the best one chosen.").c_str());
  }
}

void set_threads(long long n) {
  if (n < 1 || n > rectifier::most_threads) {
    throw nb::value_error(("set_threads: `n` must be a whole number from 1 to " +
                           std::to_string(rectifier::most_threads) + "; got " + std::to_string(n) +
                           ". Pass 1 for no helpers.")
                              .c_str());
  }
  rectifier::set_threads(static_cast<int>(n));
}

void count_threads_at_import() {
  std::string fault = rectifier::threads_at_import();
  if (!fault.empty()) throw nb::import_error(fault.c_str());
}

nb::object given(PyObject* result) {
  if (!result) throw nb::python_error();
  return nb::steal<nb::object>(result);
}

// A number, or (address, inner, period).
rectifier::parameter_at parameter_of(nb::handle given) {
  if (PyFloat_CheckExact(given.ptr())) return {PyFloat_AS_DOUBLE(given.ptr())};
  nb::tuple t = nb::cast<nb::tuple>(given);
  return {0.0, nb::cast<uintptr_t>(t[0]), nb::cast<Py_ssize_t>(t[1]), nb::cast<Py_ssize_t>(t[2])};
}

void known(const char* function, const char* name, bool found) {
  if (found) return;
  throw nb::value_error((std::string(function) + ": `name` must be one that it knows; got '" +
                         name + "'. native/dispatch.hpp and native/ops.hpp list them.")
                            .c_str());
}

// Those that take addresses: see native/addresses.hpp for what the caller vouches for.
void add_addressed(nb::module_& m) {
  using rectifier::dtype;
  m.def(
      "value_at",
      [](const char* name, int type, uintptr_t x, uintptr_t out, Py_ssize_t n, double parameter,
         bool watched) {
        bool lost = false, found;
        {
          nb::gil_scoped_release released;
          found = rectifier::value_at(name, static_cast<dtype>(type), x, out, n, parameter,
                                      watched ? &lost : nullptr);
        }
        known("value_at", name, found);
        return lost;
      },
      "f(x) into `out`, both addresses; with `watched`, whether f' cannot be told from some "
      "result.");
  m.def(
      "with_gate_at",
      [](const char* name, int type, uintptr_t x, uintptr_t out, Py_ssize_t n, nb::handle parameter,
         uintptr_t gate, uintptr_t plane) {
        const rectifier::parameter_at p = parameter_of(parameter);
        bool any = false, found;
        {
          nb::gil_scoped_release released;
          found = rectifier::with_gate_at(name, static_cast<dtype>(type), x, out, n, p, gate, plane,
                                          &any);
        }
        known("with_gate_at", name, found);
        return any;
      },
      "with_gate on addresses; `parameter` is a float or (address, inner, period).");
  m.def(
      "backward_at",
      [](const char* name, int type, uintptr_t dh, uintptr_t out, Py_ssize_t n,
         nb::handle parameter, uintptr_t gate, uintptr_t plane) {
        const rectifier::parameter_at p = parameter_of(parameter);
        bool found;
        {
          nb::gil_scoped_release released;
          found =
              rectifier::backward_at(name, static_cast<dtype>(type), dh, out, n, p, gate, plane);
        }
        known("backward_at", name, found);
      },
      "backward on addresses; a `plane` of 0 is none.");
  m.def(
      "gradient_at",
      [](const char* name, int type, uintptr_t kept, uintptr_t dh, uintptr_t out, Py_ssize_t n,
         nb::handle parameter) {
        const rectifier::parameter_at p = parameter_of(parameter);
        bool found;
        {
          nb::gil_scoped_release released;
          found = rectifier::gradient_at(name, static_cast<dtype>(type), kept, dh, out, n, p);
        }
        known("gradient_at", name, found);
      },
      "f' times dh into `out`; f' from `kept`, the input or (NAME_from_output) the output.");
  m.def(
      "average_at",
      [](int type, uintptr_t v, uintptr_t dmu, uintptr_t out, Py_ssize_t outer, Py_ssize_t time,
         Py_ssize_t inner, uintptr_t alpha, Py_ssize_t alpha_step, uintptr_t initial,
         Py_ssize_t initial_step, uintptr_t d_alpha, uintptr_t d_initial) {
        nb::gil_scoped_release released;
        rectifier::average_at(
            static_cast<dtype>(type), outer,
            {reinterpret_cast<const char*>(v), reinterpret_cast<const char*>(dmu),
             reinterpret_cast<char*>(out), time, inner, reinterpret_cast<const double*>(alpha),
             alpha_step, reinterpret_cast<const double*>(initial), initial_step,
             reinterpret_cast<double*>(d_alpha), reinterpret_cast<double*>(d_initial)});
      },
      "mu <- alpha mu + (1 - alpha) v over the middle axis of (outer, time, inner), into `out`; "
      "with "
      "`dmu` the backward pass, dv into `out`.");
}

}  // namespace

NB_MODULE(_native, m) {
  choose_at_import();
  count_threads_at_import();
  if (!rectifier::add_ufuncs(m.ptr()) || !rectifier::add_caller(m.ptr()) ||
      !rectifier::prepare_recycling()) {
    throw nb::python_error();
  }

  m.def("isa", [] { return rectifier::active->name; }, "Name of the instruction set in use.");
  m.def("supported_isas", supported_isas, "Names that use_isa takes on this machine, best first.");
  m.def(
      "use_isa", use_isa, nb::arg("name"),
      "Use this instruction set from now on, in every thread. For tests: the bits are the same.\n\n"
      "Raises ValueError where the machine does not support it.");
  m.def("threads", rectifier::threads, "How many threads a long loop may use.");
  m.def("set_threads", set_threads, nb::arg("n"),
        "Use up to n threads, the caller's among them, for a long loop. The bits are the same.\n\n"
        "Raises ValueError where n is not from 1 to 1024.");
  m.def("stream_from", rectifier::stream_from, nb::arg("bytes"),
        "For tests: write past the cache from this many bytes of result on; returns what was.");
  m.def(
      "register_bfloat16",
      [](nb::handle dtype) {
        if (!rectifier::add_bfloat16_loops(dtype.ptr())) throw nb::python_error();
      },
      nb::arg("dtype"),
      "Give every floating-point ufunc a loop for ml_dtypes.bfloat16. A second call does nothing.");
  m.def(
      "with_gate",
      [](const char* name, nb::handle x, nb::handle out, nb::handle parameter, Py_ssize_t inner,
         nb::handle gate, nb::handle plane) {
        return given(rectifier::with_gate(name, x.ptr(), out.ptr(), parameter.ptr(), inner,
                                          gate.ptr(), plane.ptr()));
      },
      nb::arg("name"), nb::arg("x"), nb::arg("out"), nb::arg("parameter").none(), nb::arg("inner"),
      nb::arg("gate"), nb::arg("plane").none(),
      "f(x) into `out` and its packed gate into `gate`, in one pass; true if a bit of `plane` is "
      "set.\n\n"
      "Value i's parameter is parameter[(i // inner) % len(parameter)], or the number given. "
      "`plane` gets x == 0 (relu_and_zeros, abs) or 0 < x < ceiling or NaN (relu6).");
  m.def(
      "backward",
      [](const char* name, nb::handle dh, nb::handle out, nb::handle parameter, Py_ssize_t inner,
         nb::handle gate, nb::handle plane) {
        return given(rectifier::backward(name, dh.ptr(), out.ptr(), parameter.ptr(), inner,
                                         gate.ptr(), plane.ptr()));
      },
      nb::arg("name"), nb::arg("dh"), nb::arg("out"), nb::arg("parameter").none(), nb::arg("inner"),
      nb::arg("gate"), nb::arg("plane").none(),
      "dh where the gate is open, into `out`; where it is closed 0 (nothing), parameter * dh "
      "(slope), -dh (mirror) or 0 (share).\n\n"
      "Where `plane` is set, mirror gives 0 and share parameter * dh.");
  add_addressed(m);
  m.def(
      "empty_like", [](nb::handle array) { return given(rectifier::empty_like(array.ptr())); },
      nb::arg("array"),
      "An array of this one's shape, dtype and order; a large one in memory that an earlier result "
      "has left.");
  m.def(
      "keep_at_most", rectifier::keep_at_most, nb::arg("bytes"),
      "Keep at most this many bytes of dead results for later ones, 0 for none; returns what was.");
  m.def(
      "count_gates",
      [](nb::handle bits, nb::handle sizes, nb::handle kept, nb::handle counts) {
        return given(rectifier::count_gates(bits.ptr(), sizes.ptr(), kept.ptr(), counts.ptr()));
      },
      nb::arg("bits"), nb::arg("sizes"), nb::arg("kept"), nb::arg("counts"),
      "Adds the set bits of packed gates to `counts`, per unit.\n\n"
      "sizes: of the axes, the slowest in memory first. kept: along which of them units differ.");
  m.def(
      "copy_past_cache",
      [](nb::handle out, nb::handle from) {
        return given(rectifier::copy_past_cache(out.ptr(), from.ptr()));
      },
      nb::arg("out"), nb::arg("from"),
      "Copies bytes by every thread with streaming stores: what memory allows, for benchmarks.");
  m.def(
      "pack_gate", [](nb::handle x) { return given(rectifier::packed_gate(x.ptr())); },
      nb::arg("x"),
      "Bit i of the uint8 result is set where x[i] > 0 or NaN; little-endian, zero-padded.\n\n"
      "x: one-dimensional contiguous array of float16, bfloat16 (once registered), float32, "
      "float64, "
      "bool or an integer type.");
}
