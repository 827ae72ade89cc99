// The Python module rectifier._verify: results judged by a reference of its own. Shares no code
// with the kernels.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <string>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "compare.hpp"

namespace nb = nanobind;

namespace {

using comparer = void (*)(verify::verdict&, const void*, const void*, int64_t, double);

struct entry {
  const char *name, *kind;
  comparer by_format[4];
};

const char* const format_names[] = {"float16", "bfloat16", "float32", "float64"};
constexpr int64_t format_sizes[] = {2, 2, 4, 8};

const entry entries[] = {
#define VERIFY_ENTRY(name, kind)                              \
  {#name,                                                     \
   #kind,                                                     \
   {verify::compare<verify::float16, verify::name##_##kind>,  \
    verify::compare<verify::bfloat16, verify::name##_##kind>, \
    verify::compare<verify::float32, verify::name##_##kind>,  \
    verify::compare<verify::float64, verify::name##_##kind>}},
    VERIFY_FUNCTIONS(VERIFY_ENTRY)
#undef VERIFY_ENTRY
};

#if defined(__x86_64__)
using control = unsigned;
constexpr control flush = 0x8040, usual = 0x1f80;  // flush to zero, denormals are zero
control get_control() { return _mm_getcsr(); }
void set_control(control c) { _mm_setcsr(c); }
#elif defined(__aarch64__)
using control = uint64_t;
constexpr control flush = 1 << 24, usual = 0;
control get_control() {
  control c;
  asm volatile("mrs %0, fpcr" : "=r"(c));
  return c;
}
void set_control(control c) { asm volatile("msr fpcr, %0" ::"r"(c)); }
#else
#error "rectifier supports x86-64 and aarch64"
#endif

// The reference keeps its subnormals whatever the caller has set.
struct usual_arithmetic {
  control caller = get_control();
  usual_arithmetic() { set_control(usual); }
  ~usual_arithmetic() { set_control(caller); }
};

bool flush_to_zero(bool on) {
  control before = get_control();
  set_control(on ? before | flush : before & ~flush);
  return (before & flush) != 0;
}

using array = nb::ndarray<nb::ro, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

nb::tuple compare(const char* function, const char* of, const char* format_name, array x, array got,
                  double parameter) {
  const std::string name = function, kind = of, format = format_name;
  const entry* found = nullptr;
  for (const entry& e : entries) {
    if (name == e.name && kind == e.kind) found = &e;
  }
  int column = -1;
  for (int i = 0; i < 4; ++i) {
    if (format == format_names[i]) column = i;
  }
  if (!found) throw nb::value_error(("compare: there is no " + kind + " of " + name + ".").c_str());
  if (column < 0)
    throw nb::value_error(
        ("compare: `format` must be a float format; got " + format + ".").c_str());
  int64_t size = format_sizes[column], n = static_cast<int64_t>(x.size());
  if (x.itemsize() != size_t(size) || got.itemsize() != size_t(size) || got.size() != x.size()) {
    throw nb::value_error(
        "compare: `x` and `got` must hold the bits of as many values of the format.");
  }
  verify::verdict v;
  {
    nb::gil_scoped_release unlocked;
    usual_arithmetic scope;
    found->by_format[column](v, x.data(), got.data(), n, parameter);
  }
  nb::list near;
  for (int64_t i : v.near_ties) near.append(i);
  return nb::make_tuple(v.misrounded, v.worst, v.worst_at, near);
}

}  // namespace

NB_MODULE(_verify, m) {
  m.attr("long_double_digits") = std::numeric_limits<long double>::digits;
  m.def(
      "compare", compare, nb::arg("name"), nb::arg("kind"), nb::arg("format"), nb::arg("x"),
      nb::arg("got"), nb::arg("parameter"),
      "Judge results: (how many are not the correctly rounded value, largest error in ulp or -1, "
      "its index or -1,\n"
      "indices left undecided as they lie too near a tie; these are in neither of the others).\n\n"
      "x, got: one-dimensional contiguous arrays of the values' bits (uint16, uint32 or uint64).");
  m.def("flush_to_zero", flush_to_zero, nb::arg("on"),
        "Set the calling thread to flush subnormals to zero, reading and writing; returns what was "
        "set before.\n"
        "For tests.");
}
