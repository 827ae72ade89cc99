#include "large.hpp"

#include <atomic>

#include "dispatch.hpp"
#include "environment.hpp"
#include "memory.hpp"
#include "threads.hpp"

namespace rectifier {
namespace {

constexpr ptrdiff_t smallest_part = 16384, largest_part = 262144;

// A thread's share of the results that stays in its processor's cache.
constexpr ptrdiff_t cached_share = ptrdiff_t{1} << 20;

// Results of this size no longer find room in the cache. Smaller ones are better left there, for
// whoever reads them next.
std::atomic<ptrdiff_t> least_streamed{ptrdiff_t{32} << 20};

struct shared {
  const long_loop& loop;
  ptrdiff_t part;
  bool may_stream;
  std::atomic<unsigned> flags{0};
};

// Where arithmetic rules, it hides the memory only if that is asked for early enough.
void prefetched(const long_loop& l, ptrdiff_t start, ptrdiff_t count) {
  constexpr ptrdiff_t block = 512;
  for (ptrdiff_t i = 0; i < count; i += block) {
    const ptrdiff_t values = count - i < block ? count - i : block;
    ptrdiff_t ahead = start + i + values;
    ptrdiff_t coming = l.n - ahead < block ? l.n - ahead : block;
    will_read(l.in + ahead * l.size, coming * l.size);
    if (l.in != l.out) will_write(l.out + ahead * l.size, coming * l.size);
    l.values(l.context, start + i, values, false);
  }
}

void write_part(const shared& s, ptrdiff_t start, ptrdiff_t count) {
  const long_loop& l = s.loop;
  if (l.heavy && l.in) {
    prefetched(l, start, count);
    return;
  }
  const bool past_cache = s.may_stream && resident(l.out + start * l.size, count * l.size);
  l.values(l.context, start, count, past_cache);
  if (past_cache) drain();
}

void part(void* context, ptrdiff_t index) {
  shared& s = *static_cast<shared*>(context);
  const ptrdiff_t start = index * s.part;
  const ptrdiff_t count = s.loop.n - start < s.part ? s.loop.n - start : s.part;
  if (s.loop.integer) {
    write_part(s, start, count);
    return;
  }
  // What a helper's thread raises is the caller's to know.
  raised_flags mine;
  {
    environment scope(s.loop.allowed_flags);
    write_part(s, start, count);
  }
  s.flags.fetch_or(mine.taken(), std::memory_order_relaxed);
}

}  // namespace

ptrdiff_t stream_from(ptrdiff_t bytes) { return least_streamed.exchange(bytes); }

void copy_past_cache(char* out, const char* from, ptrdiff_t bytes) {
  struct copy {
    char* out;
    const char* from;
    ptrdiff_t bytes;
    streamer stream;
  } whole{out, from, bytes, active->table->stream};
  run_parts(
      [](void* context, ptrdiff_t index) {
        const copy& c = *static_cast<copy*>(context);
        const ptrdiff_t start = index * 4 * largest_part;
        const ptrdiff_t left = c.bytes - start;
        c.stream(c.out + start, c.from + start, left < 4 * largest_part ? left : 4 * largest_part);
        drain();
      },
      &whole, (bytes + 4 * largest_part - 1) / (4 * largest_part));
}

void run_long(const long_loop& l) {
  // A part is a multiple of 64 values: packed gates of two parts share no word.
  ptrdiff_t size = l.n / (4 * static_cast<ptrdiff_t>(threads())) / 64 * 64;
  size = size < smallest_part ? smallest_part : size > largest_part ? largest_part : size;
  if (l.heavy) size = size > largest_part / 4 ? largest_part / 4 : size;
  const ptrdiff_t bytes = l.n * l.size;
  // A line that is read anyway, to be changed in place, is written at no further cost.
  const bool aligned = reinterpret_cast<uintptr_t>(l.out) % static_cast<uintptr_t>(l.size) == 0;
  if (prepare_fresh(l.out, bytes)) {
    // Two threads that meet in one huge page would both clear one.
    constexpr ptrdiff_t largest = ptrdiff_t{16} << 20;
    const ptrdiff_t share = l.n / static_cast<ptrdiff_t>(threads()) / 64 * 64;
    size = share < largest / l.size ? share : largest / l.size;
  }
  shared s{l, size, !l.heavy && l.in && l.in != l.out && aligned && bytes >= least_streamed.load()};
  run_parts(part, &s, (l.n + size - 1) / size, bytes <= cached_share * threads());
  raise_flags(s.flags.load(std::memory_order_relaxed));
}

}  // namespace rectifier
