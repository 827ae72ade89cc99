#include "memory.hpp"

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <emmintrin.h>
#endif

namespace rectifier {
namespace {

// Below this, the allocator recycles memory and a huge page may be more than the array.
constexpr ptrdiff_t large = ptrdiff_t{8} << 20;
constexpr uintptr_t huge_page = uintptr_t{2} << 20;

uintptr_t page_size() {
  static const uintptr_t size = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  return size;
}

}  // namespace

bool resident(const char* start, ptrdiff_t bytes) {
  constexpr size_t at_once = 1024;
  const uintptr_t page = page_size();
  uintptr_t from = reinterpret_cast<uintptr_t>(start) & ~(page - 1);
  const uintptr_t end = reinterpret_cast<uintptr_t>(start) + static_cast<uintptr_t>(bytes);
  while (from < end) {
    unsigned char pages[at_once];
    size_t count = (end - from + page - 1) / page;
    if (count > at_once) count = at_once;
    if (mincore(reinterpret_cast<void*>(from), count * page, pages) != 0) return false;
    for (size_t i = 0; i < count; ++i) {
      if (!(pages[i] & 1)) return false;
    }
    from += count * page;
  }
  return true;
}

bool prepare_fresh(char* start, ptrdiff_t bytes) {
#if defined(MADV_HUGEPAGE)
  if (bytes < large) return false;
  const uintptr_t first = (reinterpret_cast<uintptr_t>(start) + huge_page - 1) & ~(huge_page - 1);
  const uintptr_t last =
      (reinterpret_cast<uintptr_t>(start) + static_cast<uintptr_t>(bytes)) & ~(huge_page - 1);
  // The last page stands for the range: an allocator's recycled block is fresh at its end, if
  // anywhere. Refusal leaves small pages, which are right too.
  if (last <= first || resident(reinterpret_cast<char*>(last) - 1, 1)) return false;
  return madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE) == 0;
#else
  (void)start, (void)bytes;
  return false;
#endif
}

void drain() {
#if defined(__x86_64__)
  _mm_sfence();
#endif
}

void will_read(const char* start, ptrdiff_t bytes) {
  for (ptrdiff_t i = 0; i < bytes; i += cache_line) __builtin_prefetch(start + i, 0, 3);
}

void will_write(char* start, ptrdiff_t bytes) {
  for (ptrdiff_t i = 0; i < bytes; i += cache_line) __builtin_prefetch(start + i, 1, 3);
}

}  // namespace rectifier
