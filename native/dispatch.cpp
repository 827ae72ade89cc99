#include "dispatch.hpp"

#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace rectifier {

extern const kernel_table table_baseline;
#if defined(__x86_64__)
extern const kernel_table table_avx2;
extern const kernel_table table_avx512;
#elif defined(__aarch64__)
extern const kernel_table table_neon;
#endif

namespace {

bool always() { return true; }

#if defined(__x86_64__)
bool has_avx2() {
  // __builtin_cpu_supports also asks the operating system whether it saves the wide registers;
  // Clang 14 does not know the name "f16c", so that bit is read directly.
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  bool f16c = __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx & bit_F16C);
  return f16c && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
}
#endif

}  // namespace

const instruction_set instruction_sets[] = {
#if defined(__x86_64__)
    {"avx512", &table_avx512, has_avx512},
    {"avx2", &table_avx2, has_avx2},
#elif defined(__aarch64__)
    {"neon", &table_neon, always},
#endif
    {"baseline", &table_baseline, always},
    {nullptr, nullptr, nullptr},
};

const instruction_set* active = nullptr;

const instruction_set* find_isa(const char* name) {
  for (const instruction_set* i = instruction_sets; i->name; ++i) {
    if (strcmp(i->name, name) == 0 && i->supported()) return i;
  }
  return nullptr;
}

const instruction_set* best_isa() {
  const instruction_set* i = instruction_sets;
  while (!i->supported()) ++i;
  return i;
}

}  // namespace rectifier
