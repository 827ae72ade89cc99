// The leaky average of many series, shared out between threads.
#pragma once

#include "dispatch.hpp"

namespace rectifier {

// Forward where `dmu` is null, else backward. Addresses as in addresses.hpp: the caller vouches.
void average_at(dtype type, ptrdiff_t outer, const averaged& series);

}  // namespace rectifier
