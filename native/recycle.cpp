#include "recycle.hpp"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <atomic>

#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#define NPY_TARGET_VERSION NPY_2_0_API_VERSION
#define NO_IMPORT_ARRAY
#define PY_ARRAY_UNIQUE_SYMBOL rectifier_array_api
#include <numpy/arrayobject.h>

namespace rectifier {
namespace {

// Below this, the allocator itself recycles.
constexpr size_t large = size_t{8} << 20;
constexpr size_t huge_page = size_t{2} << 20;

struct block {
  void* start;
  size_t bytes;
};

// A chain of functions has two results alive in turn; the rest is for another thread's or size.
constexpr int most = 4;

struct store {
  std::atomic_flag busy = ATOMIC_FLAG_INIT;
  block blocks[most] = {};  // the newest last
  int count = 0;
  size_t bytes = 0, limit = size_t{1} << 30;
} kept;

// Whoever finds it busy does without: so nobody waits, and the child of a fork does not for ever.
struct access {
  const bool granted = !kept.busy.test_and_set(std::memory_order_acquire);
  ~access() {
    if (granted) kept.busy.clear(std::memory_order_release);
  }
};

block remove(int index) {
  const block found = kept.blocks[index];
  for (int i = index; i + 1 < kept.count; ++i) kept.blocks[i] = kept.blocks[i + 1];
  --kept.count;
  kept.bytes -= found.bytes;
  return found;
}

// A block of this size, or of at most a quarter more; null where none is kept.
void* take(size_t bytes) {
  access a;
  if (!a.granted) return nullptr;
  for (int i = kept.count - 1; i >= 0; --i) {
    const size_t has = kept.blocks[i].bytes;
    if (has >= bytes && has - bytes <= bytes / 4) return remove(i).start;
  }
  return nullptr;
}

// Down to `limit` bytes and `count` blocks, the oldest first.
void shrink(size_t limit, int count) {
  while (kept.count > count || kept.bytes > limit) free(remove(0).start);
}

bool keep(void* start, size_t bytes) {
#if defined(MADV_FREE)
  access a;
  if (!a.granted || bytes < large || bytes > kept.limit) return false;
  // The system may take the pages back whenever it is short of memory; until then they are ours.
  const uintptr_t first = (reinterpret_cast<uintptr_t>(start) + huge_page - 1) & ~(huge_page - 1);
  const uintptr_t last = (reinterpret_cast<uintptr_t>(start) + bytes) & ~(huge_page - 1);
  if (last <= first || madvise(reinterpret_cast<void*>(first), last - first, MADV_FREE) != 0) {
    return false;
  }
  shrink(kept.limit - bytes, most - 1);
  kept.blocks[kept.count++] = {start, bytes};
  kept.bytes += bytes;
  return true;
#else
  (void)start, (void)bytes;
  return false;
#endif
}

void* allocate(void*, size_t bytes) {
  void* start = bytes < large ? nullptr : take(bytes);
  if (start) return start;
  if (bytes < large) return malloc(bytes);
  if (posix_memalign(&start, huge_page, bytes) == 0) return start;
  {
    access a;
    if (a.granted) shrink(0, 0);
  }
  return posix_memalign(&start, huge_page, bytes) == 0 ? start : nullptr;
}

void* allocate_zeros(void*, size_t count, size_t size) { return calloc(count, size); }

void release(void*, void* start, size_t bytes) {
  if (!keep(start, bytes)) free(start);
}

void* resize(void*, void* start, size_t bytes) { return realloc(start, bytes); }

// Named in np._core.multiarray.get_handler_name(array).
PyDataMem_Handler recycler = {"rectifier", 1, {nullptr, allocate, allocate_zeros, resize, release}};
PyObject* handler = nullptr;

}  // namespace

bool prepare_recycling() {
  constexpr long most_megabytes = 1 << 20;
  const char* text = getenv("RECTIFIER_KEEP_MB");
  if (text && *text) {
    char* rest;
    errno = 0;
    const long megabytes = strtol(text, &rest, 10);
    if (errno || rest == text || *rest || megabytes < 0 || megabytes > most_megabytes) {
      PyErr_Format(PyExc_ImportError,
                   "rectifier: the environment variable RECTIFIER_KEEP_MB must be a whole number "
                   "from 0 to %ld; got '%s'. Unset it to have up to 1024 MB kept.",
                   most_megabytes, text);
      return false;
    }
    kept.limit = static_cast<size_t>(megabytes) << 20;
  }
  handler = PyCapsule_New(&recycler, "mem_handler", nullptr);
  return handler != nullptr;
}

bool is_large(PyObject* array) {
  return static_cast<size_t>(PyArray_NBYTES(reinterpret_cast<PyArrayObject*>(array))) >= large;
}

PyObject* empty_like(PyObject* object) {
  if (!PyArray_Check(object)) {
    PyErr_SetString(PyExc_TypeError, "empty_like: takes an ndarray.");
    return nullptr;
  }
  PyArrayObject* array = reinterpret_cast<PyArrayObject*>(object);
  if (!is_large(object)) return PyArray_NewLikeArray(array, NPY_KEEPORDER, nullptr, 0);
  // The array remembers the handler that it was made with, so only the making needs it set.
  PyObject* usual = PyDataMem_SetHandler(handler);
  if (!usual) return nullptr;
  PyObject* result = PyArray_NewLikeArray(array, NPY_KEEPORDER, nullptr, 0);
  PyObject *type, *value, *traceback;
  PyErr_Fetch(&type, &value, &traceback);
  PyObject* ours = PyDataMem_SetHandler(usual);
  Py_DECREF(usual);
  Py_XDECREF(ours);
  if (type) PyErr_Restore(type, value, traceback);
  if (!ours) Py_CLEAR(result);
  return result;
}

ptrdiff_t keep_at_most(ptrdiff_t bytes) {
  access a;
  if (!a.granted) return -1;
  const size_t was = kept.limit;
  kept.limit = static_cast<size_t>(bytes);
  shrink(kept.limit, most);
  return static_cast<ptrdiff_t>(was);
}

}  // namespace rectifier
