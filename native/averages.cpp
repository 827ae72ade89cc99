#include "averages.hpp"

#include <atomic>

#include "environment.hpp"
#include "large.hpp"
#include "threads.hpp"

namespace rectifier {
namespace {

struct shared {
  const averaged& series;
  averager run;
  ptrdiff_t count, panels;  // of one outer index; of all where series lie apart
  std::atomic<unsigned> flags{0};
};

// Panels do not reach over the end of `inner` where that is long: such series lie side by side.
void panel(void* context, ptrdiff_t index) {
  shared& s = *static_cast<shared*>(context);
  const ptrdiff_t start = index % s.panels * average_panel;
  const ptrdiff_t n = s.count - start < average_panel ? s.count - start : average_panel;
  raised_flags mine;
  {
    environment scope(overflow_flag | underflow_flag);
    s.run(s.series, index / s.panels * s.count + start, n);
  }
  s.flags.fetch_or(mine.taken(), std::memory_order_relaxed);
}

// From here on whole lines of a panel are used.
constexpr ptrdiff_t wide = 16;

}  // namespace

void average_at(dtype type, ptrdiff_t outer, const averaged& series) {
  const int column = static_cast<int>(type);
  const kernel_table& table = *active->table;
  const ptrdiff_t count = series.inner >= wide ? series.inner : outer * series.inner;
  const ptrdiff_t panels = (count + average_panel - 1) / average_panel;
  shared s{series, series.dmu ? table.average_backward[column] : table.average[column], count,
           panels};
  const ptrdiff_t parts = series.inner >= wide ? outer * panels : panels;
  if (parts > 1 && outer * series.time * series.inner >= long_from_heavy) {
    run_parts(panel, &s, parts);
  } else {
    for (ptrdiff_t i = 0; i < parts; ++i) panel(&s, i);
  }
  raise_flags(s.flags.load(std::memory_order_relaxed));
}

}  // namespace rectifier
