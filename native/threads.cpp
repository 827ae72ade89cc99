#include "threads.hpp"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <chrono>

namespace rectifier {
namespace {

// A helper that finds no work looks for it this long before it sleeps. Waking one that sleeps costs
// several microseconds; one that looks on for milliseconds, as OpenMP's do, takes the processor
// from the caller's other libraries.
constexpr std::chrono::microseconds patience{40};

// Nothing here has a destructor: helpers are detached and die with the process, for one joined at
// exit can wait for ever. Atomics are on cache lines of their own, by who writes them.
struct pool {
  alignas(64) std::atomic<ptrdiff_t> left{0};  // parts that nobody has claimed yet
  alignas(64) std::atomic<ptrdiff_t> done{0};
  alignas(64) std::atomic<uint32_t> bell{0};  // what sleeping helpers wait on
  std::atomic<int> asleep{0};
  std::atomic<int> wanted{1};
  alignas(64) std::atomic<bool> taken{false};
  // What follows belongs to whoever has taken the pool, and may be read by who has claimed a part.
  int started = 0;
  part_function part = nullptr;
  void* context = nullptr;
  ptrdiff_t count = 0;
};
pool p;

inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  asm volatile("yield");
#endif
}

long futex(int operation, uint32_t value) {
  return syscall(SYS_futex, reinterpret_cast<uint32_t*>(&p.bell), operation | FUTEX_PRIVATE_FLAG,
                 value, nullptr, nullptr, 0);
}

// Claims parts until none is left. `part`, `context` and `count` stay as they are while a claimed
// part is not done, so they may be read after the claim, even by a helper that comes late and
// claims from a newer loop than the one it was woken for.
void work() {
  ptrdiff_t left = p.left.load(std::memory_order_relaxed);
  while (left > 0) {
    if (!p.left.compare_exchange_weak(left, left - 1, std::memory_order_acq_rel,
                                      std::memory_order_relaxed)) {
      continue;
    }
    p.part(p.context, p.count - left);
    p.done.fetch_add(1, std::memory_order_release);
    left = p.left.load(std::memory_order_relaxed);
  }
}

bool work_comes() {
  const auto end = std::chrono::steady_clock::now() + patience;
  do {
    for (int i = 0; i < 16; ++i) {
      if (p.left.load(std::memory_order_relaxed) > 0) return true;
      relax();
    }
  } while (std::chrono::steady_clock::now() < end);
  return false;
}

void* help(void* number) {
  const intptr_t me = reinterpret_cast<intptr_t>(number);
  for (;;) {
    const bool wanted = me < p.wanted.load(std::memory_order_relaxed);
    if (wanted) work();
    if (wanted && work_comes()) continue;
    uint32_t heard = p.bell.load();
    // Sequentially consistent, as is the caller's order of writing `left` and reading `asleep`: one
    // of the two sees the other.
    p.asleep.fetch_add(1);
    if (!wanted || p.left.load() <= 0) futex(FUTEX_WAIT, heard);
    p.asleep.fetch_sub(1);
  }
  return nullptr;
}

// Helpers up to number `wanted`; fewer where the system refuses.
void start_helpers(int wanted) {
  if (p.started >= wanted) return;
  // A signal is for the threads that the program knows of.
  sigset_t all, before;
  sigfillset(&all);
  if (pthread_sigmask(SIG_SETMASK, &all, &before) != 0) return;
  pthread_attr_t detached;
  if (pthread_attr_init(&detached) == 0) {
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    while (p.started < wanted) {
      pthread_t thread;
      intptr_t number = p.started + 1;
      if (pthread_create(&thread, &detached, help, reinterpret_cast<void*>(number)) != 0) break;
      ++p.started;
    }
    pthread_attr_destroy(&detached);
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

// OpenMP, where another library (PyTorch) has brought it into the process for all to see. Its
// workers spin for milliseconds after each of its loops, count their rounds rather than the time,
// and so hold a processor all the longer for having to share it with a helper. But they take work
// from anybody: a team of the size that they already are costs nothing to call.
struct openmp {
  void (*parallel)(void (*)(void*), void*, unsigned, unsigned) = nullptr;
  int (*most)() = nullptr;
  int (*inside)() = nullptr;
  int (*number)() = nullptr;
  int (*size)() = nullptr;
  int (*pause)(int) = nullptr;
};
openmp other;
// By whoever has taken the pool, and at fork.
bool looked_up = false, forked = false;
// A team is its caller's alone, so another thread's fork cannot send it home.
thread_local bool borrowed = false;

template <class F>
bool look_up(const char* name, F& f) {
  f = reinterpret_cast<F>(dlsym(RTLD_DEFAULT, name));
  return f != nullptr;
}

// Whether a loop for `wanted` threads is better done by the other runtime's. Not in the child of a
// fork, where some of these runtimes wait for workers that are gone.
bool can_borrow(int wanted) {
  if (forked) return false;
  if (!looked_up) {
    openmp found;
    looked_up =
        look_up("GOMP_parallel", found.parallel) && look_up("omp_get_max_threads", found.most) &&
        look_up("omp_in_parallel", found.inside) && look_up("omp_get_thread_num", found.number) &&
        look_up("omp_get_num_threads", found.size) &&
        look_up("omp_pause_resource_all", found.pause);
    if (!looked_up) return false;
    other = found;
  }
  // A team of another size would be built anew, and built again by its owner's next loop.
  return other.most() == wanted && !other.inside();
}

// The stretch of one thread of a team, which may be smaller than it was asked to be.
void work_on_own_share() {
  const ptrdiff_t me = other.number(), size = other.size();
  for (ptrdiff_t i = p.count * me / size; i < p.count * (me + 1) / size; ++i) p.part(p.context, i);
}

// Before fork: the team that this thread borrowed is sent home, so that the child may build its
// own.
void return_helpers() {
  constexpr int soft = 1;
  if (borrowed) other.pause(soft);
  borrowed = false;
}

// fork copies the caller's thread alone: the child has no helpers, and nobody who would give the
// pool back or finish what another thread had begun.
void forget_helpers() {
  p.left.store(0);
  p.done.store(0);
  p.asleep.store(0);
  p.started = 0;
  forked = true;
  p.taken.store(false);
}

int processors() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) {
    int count = CPU_COUNT(&set);
    return count < most_threads ? count : most_threads;
  }
  return 1;  // more processors than the set holds: the user may say how many
}

// The number at the start of `text`, up to `end`; 0 where it is none that is allowed.
int number(const char* text, char end) {
  char* rest;
  errno = 0;
  long value = strtol(text, &rest, 10);
  bool good = errno == 0 && rest != text && (*rest == '\0' || *rest == end);
  return good && value >= 1 && value <= most_threads ? static_cast<int>(value) : 0;
}

}  // namespace

int threads() { return p.wanted.load(std::memory_order_relaxed); }

void set_threads(int n) { p.wanted.store(n, std::memory_order_relaxed); }

std::string threads_at_import() {
  static const int registered = pthread_atfork(return_helpers, nullptr, forget_helpers);
  (void)registered;
  // OpenMP's variable may be a list, a number for each level of nesting: the first is ours.
  const struct {
    const char* name;
    char end;
  } variables[] = {{"RECTIFIER_NUM_THREADS", '\0'}, {"OMP_NUM_THREADS", ','}};
  for (const auto& variable : variables) {
    const char* text = getenv(variable.name);
    if (!text || !*text) continue;
    int n = number(text, variable.end);
    if (n == 0) {
      // That one is OpenMP's to refuse: its runtimes warn, and go on without it.
      if (&variable != variables) continue;
      return std::string("rectifier: the environment variable ") + variable.name +
             " must be a whole number from 1 to " + std::to_string(most_threads) + "; got '" +
             text + "'. Unset it to have every processor used.";
    }
    set_threads(n);
    return "";
  }
  set_threads(processors());
  return "";
}

void run_parts(part_function part, void* context, ptrdiff_t count, bool own_shares) {
  const int wanted = threads();
  if (count < 2 || wanted < 2 || p.taken.exchange(true, std::memory_order_acquire)) {
    for (ptrdiff_t i = 0; i < count; ++i) part(context, i);
    return;
  }
  const bool borrow = can_borrow(wanted);
  if (!borrow) start_helpers(wanted - 1);
  p.part = part;
  p.context = context;
  p.count = count;
  if (borrow && own_shares) {
    borrowed = true;
    other.parallel([](void*) { work_on_own_share(); }, nullptr, static_cast<unsigned>(wanted), 0);
    p.taken.store(false, std::memory_order_release);
    return;
  }
  p.done.store(0, std::memory_order_relaxed);
  p.left.store(count);
  if (borrow) {
    borrowed = true;
    other.parallel([](void*) { work(); }, nullptr, static_cast<unsigned>(wanted), 0);
  } else if (p.asleep.load() > 0) {
    p.bell.fetch_add(1);
    // Helpers that are no longer wanted sleep on the same bell and could take the call.
    bool some_unwanted = p.started > wanted - 1;
    ptrdiff_t useful = count - 1 < wanted - 1 ? count - 1 : wanted - 1;
    futex(FUTEX_WAKE, some_unwanted ? INT_MAX : static_cast<uint32_t>(useful));
  }
  work();
  for (int rounds = 0; p.done.load(std::memory_order_acquire) < count; ++rounds) {
    // A helper that holds the last part may be waiting for this processor.
    rounds < 2000 ? relax() : static_cast<void>(sched_yield());
  }
  p.taken.store(false, std::memory_order_release);
}

}  // namespace rectifier
