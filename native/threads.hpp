// The thread pool: the parts of one long loop, done by the caller and its helpers.
#pragma once

#include <stddef.h>

#include <string>

namespace rectifier {

using part_function = void (*)(void* context, ptrdiff_t index);

// How many threads a long loop may use, the caller's among them.
int threads();

// n >= 1. Helpers start when a loop first needs them.
void set_threads(int n);

constexpr int most_threads = 1024;

// Reads RECTIFIER_NUM_THREADS, then OMP_NUM_THREADS, then the processors this process may use.
// Empty, or what is wrong with the variable.
std::string threads_at_import();

// Calls part(context, index) once for every index in [0, count), in any order and on several
// threads. Where another caller has the helpers, all on this one. Returns when all are done.
// `own_shares`: a borrowed team's threads each keep to the same stretch from loop to loop, and to
// that of PyTorch's loops, since what lies in another processor's cache takes long to come.
// Without, and among helpers, who wake late, a thread takes what is left.
void run_parts(part_function part, void* context, ptrdiff_t count, bool own_shares = false);

}  // namespace rectifier
