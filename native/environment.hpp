// The floating-point environment a loop runs in.
#pragma once

#include "dispatch.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace rectifier {

// For its lifetime: round to nearest, subnormals kept, no traps. At the end the caller's settings
// return, and of the flags raised meanwhile only those in `allowed`: a kernel computes in every
// lane what only some lanes need, and in more digits than the result has, so the others would be
// false alarms.
//
// The loop must be called through a pointer, or the compiler could move its arithmetic out of the
// scope.
class environment {
 public:
#if defined(__x86_64__)
  // Writing the register costs as much as a small array, so only a difference that matters is
  // written; inexact and denormal-operand are raised by ordinary arithmetic and nobody is told of
  // them.
  explicit environment(unsigned allowed) : allowed_(allowed), caller_(_mm_getcsr()) {
    if ((caller_ & ~unheard) != defaults) _mm_setcsr(defaults);
  }

  ~environment() {
    unsigned now = _mm_getcsr();
    unsigned kept = unheard;
    if (allowed_ & overflow_flag) kept |= 0x08;
    if (allowed_ & underflow_flag) kept |= 0x10;
    unsigned wanted = caller_ | (now & kept);
    if (wanted != now) _mm_setcsr(wanted);
  }
#elif defined(__aarch64__)
  explicit environment(unsigned allowed) : allowed_(allowed) {
    asm volatile("mrs %0, fpcr" : "=r"(control_));
    asm volatile("mrs %0, fpsr" : "=r"(caller_));
    asm volatile("msr fpcr, %0" ::"r"(uint64_t{0}));
    asm volatile("msr fpsr, %0" ::"r"(uint64_t{0}));
  }

  ~environment() {
    uint64_t raised;
    asm volatile("mrs %0, fpsr" : "=r"(raised));
    uint64_t kept = 0;
    if (allowed_ & overflow_flag) kept |= 0x04;
    if (allowed_ & underflow_flag) kept |= 0x08;
    asm volatile("msr fpsr, %0" ::"r"(caller_ | (raised & kept)));
    asm volatile("msr fpcr, %0" ::"r"(control_));
  }
#else
#error "rectifier supports x86-64 and aarch64"
#endif
  environment(const environment&) = delete;
  environment& operator=(const environment&) = delete;

 private:
  unsigned allowed_;
#if defined(__x86_64__)
  static constexpr unsigned unheard = 0x22, defaults = 0x1f80;
  unsigned caller_;
#else
  uint64_t control_, caller_;
#endif
};

// Overflow and underflow as the processor keeps them, for the flags of one thread to be told by
// another.
#if defined(__x86_64__)
constexpr unsigned told_flags = 0x18;
inline unsigned flags_now() { return _mm_getcsr() & told_flags; }
inline void set_flags(unsigned flags) { _mm_setcsr((_mm_getcsr() & ~told_flags) | flags); }
#else
constexpr unsigned told_flags = 0x0c;
inline unsigned flags_now() {
  uint64_t now;
  asm volatile("mrs %0, fpsr" : "=r"(now));
  return static_cast<unsigned>(now) & told_flags;
}
inline void set_flags(unsigned flags) {
  uint64_t now;
  asm volatile("mrs %0, fpsr" : "=r"(now));
  asm volatile("msr fpsr, %0" ::"r"((now & ~uint64_t{told_flags}) | flags));
}
#endif

inline void raise_flags(unsigned flags) {
  if (flags & ~flags_now()) set_flags(flags_now() | flags);
}

// For its lifetime this thread's flags start unraised; taken() says which have been since. At the
// end those from before return.
class raised_flags {
 public:
  raised_flags() : before_(flags_now()) {
    if (before_) set_flags(0);
  }
  ~raised_flags() {
    if (flags_now() != before_) set_flags(before_);
  }
  unsigned taken() const { return flags_now(); }
  raised_flags(const raised_flags&) = delete;
  raised_flags& operator=(const raised_flags&) = delete;

 private:
  unsigned before_;
};

}  // namespace rectifier
