// A long loop: cut into parts for the threads, its results written in the way that suits where they
// lie. The values are computed by the same code as those of a short loop, so the bits are the same.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace rectifier {

struct long_loop {
  // Computes values [start, start + count) into their place, past the cache if told so. `start` is
  // a multiple of 64 for those of gates. Called from several threads.
  void (*values)(void* context, ptrdiff_t start, ptrdiff_t count, bool past_cache);
  void* context;
  ptrdiff_t n;
  char* out;
  int size;        // bytes a value, 8 at most
  const char* in;  // the main operand, as contiguous as `out`; null where it is not
  bool heavy;      // arithmetic takes longer than memory
  unsigned allowed_flags;
  bool integer;  // no floating-point environment
};

// From how many values on a loop is long: half the time is then saved, where a helper that sleeps
// costs some microseconds to wake.
constexpr ptrdiff_t long_from = 131072, long_from_heavy = 32768;

void run_long(const long_loop& loop);

// What memory allows: whole cache lines from one array to another, past the cache, by every thread.
// Both lie on a line's start.
void copy_past_cache(char* out, const char* from, ptrdiff_t bytes);

// For tests: lets parts be streamed from this many bytes of result on; returns what was.
ptrdiff_t stream_from(ptrdiff_t bytes);

}  // namespace rectifier
