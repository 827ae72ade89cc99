// Where an array lies, and how to write to it.
#pragma once

#include <stddef.h>

namespace rectifier {

// Whether every page of the range has memory behind it already. Asks the system: a microsecond or
// less a megabyte.
bool resident(const char* start, ptrdiff_t bytes);

// Asks for huge pages behind the whole huge pages of a range that is fresh, if it is large; whether
// it did.
bool prepare_fresh(char* start, ptrdiff_t bytes);

// After lines have been streamed, before another thread may read them.
void drain();

// Hints that a range will soon be read (or written).
void will_read(const char* start, ptrdiff_t bytes);
void will_write(char* start, ptrdiff_t bytes);

constexpr ptrdiff_t cache_line = 64;

}  // namespace rectifier
