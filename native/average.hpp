// The leaky average mu <- alpha mu + (1 - alpha) v over time, and its backward pass.
//
// The state is float64 whatever the values are, so each result is rounded to its format once. Lanes
// are series, never steps: a sum over steps in another order would have other bits.
#pragma once

#include "dispatch.hpp"
#include "loops.hpp"

namespace rectifier {
namespace {

// A coefficient of 0 takes no part, whatever it stands before: 0 times infinity would be NaN.
inline f64 share(f64 coefficient, f64 value) {
  return select(coefficient == f64(0.0), f64(0.0), coefficient * value);
}

// Lanes beyond the last series have coefficients of 0 and values of 0, and so raise no flag.
struct coefficients {
  alignas(64) double kept[average_panel], taken[average_panel];

  coefficients(const averaged& a, ptrdiff_t first, ptrdiff_t n) {
    for (ptrdiff_t j = 0; j < average_panel; ++j) {
      kept[j] = j < n ? a.alpha[(first + j) * a.alpha_step] : 0.0;
      taken[j] = j < n ? 1.0 - kept[j] : 0.0;
    }
  }
};

inline void begin(const averaged& a, ptrdiff_t first, ptrdiff_t n, double* state) {
  for (ptrdiff_t j = 0; j < average_panel; ++j) {
    state[j] = j < n ? a.initial[(first + j) * a.initial_step] : 0.0;
  }
}

// Some steps of a panel of series, side by side, in the cache.
constexpr ptrdiff_t average_steps = 32;

template <class T>
struct side_by_side {
  alignas(64) T rows[average_steps * average_panel];

  explicit side_by_side(ptrdiff_t n) {
    for (ptrdiff_t j = n; j % f64::width != 0; ++j) {
      for (ptrdiff_t k = 0; k < average_steps; ++k) *at(k, j) = T{};
    }
  }

  T* at(ptrdiff_t step, ptrdiff_t j) { return rows + step * average_panel + j; }

  void take(const averaged& a, const char* from, ptrdiff_t first, ptrdiff_t n, ptrdiff_t t,
            ptrdiff_t steps) {
    const T* values = reinterpret_cast<const T*>(from);
    if (a.together(first, n)) {
      const T* row = values + a.place(first, t);
      for (ptrdiff_t k = 0; k < steps; ++k, row += a.inner) {
        __builtin_memcpy(at(k, 0), row, static_cast<size_t>(n) * sizeof(T));
      }
    } else {
      for (ptrdiff_t j = 0; j < n; ++j) {
        const T* series = values + a.place(first + j, t);
        for (ptrdiff_t k = 0; k < steps; ++k) *at(k, j) = series[k * a.inner];
      }
    }
  }

  void give(const averaged& a, ptrdiff_t first, ptrdiff_t n, ptrdiff_t t, ptrdiff_t steps) {
    T* values = reinterpret_cast<T*>(a.out);
    if (a.together(first, n)) {
      T* row = values + a.place(first, t);
      for (ptrdiff_t k = 0; k < steps; ++k, row += a.inner) {
        __builtin_memcpy(row, at(k, 0), static_cast<size_t>(n) * sizeof(T));
      }
    } else {
      for (ptrdiff_t j = 0; j < n; ++j) {
        T* series = values + a.place(first + j, t);
        for (ptrdiff_t k = 0; k < steps; ++k) series[k * a.inner] = *at(k, j);
      }
    }
  }
};

// Calls chunk(t, steps) from the first step to the last.
template <class Chunk>
inline void over_time(ptrdiff_t time, Chunk chunk) {
  for (ptrdiff_t t = 0; t < time; t += average_steps) {
    chunk(t, time - t < average_steps ? time - t : average_steps);
  }
}

template <class T>
void average(const averaged& a, ptrdiff_t first, ptrdiff_t n) {
  const coefficients c(a, first, n);
  alignas(64) double state[average_panel];
  begin(a, first, n, state);
  side_by_side<T> block(n);
  over_time(a.time, [&](ptrdiff_t t, ptrdiff_t steps) {
    block.take(a, a.v, first, n, t, steps);
    for (ptrdiff_t j = 0; j < n; j += f64::width) {
      const f64 kept = f64::load(c.kept + j), taken = f64::load(c.taken + j);
      f64 mu = f64::load(state + j);
      for (ptrdiff_t k = 0; k < steps; ++k) {
        mu = share(kept, mu) + share(taken, f64::load(block.at(k, j)));
        store_rounded(mu, block.at(k, j));
      }
      mu.store(state + j);
    }
    block.give(a, first, n, t, steps);
  });
}

// The derivative by alpha goes forward with the average itself: s <- alpha s + (mu - v), and its
// sum over time weighed by dmu. So nothing of the forward pass is kept but v.
template <class T>
void average_alpha(const averaged& a, ptrdiff_t first, ptrdiff_t n, const coefficients& c) {
  alignas(64) double state[average_panel], moved[average_panel] = {}, sum[average_panel] = {};
  begin(a, first, n, state);
  side_by_side<T> values(n), gradient(n);
  over_time(a.time, [&](ptrdiff_t t, ptrdiff_t steps) {
    values.take(a, a.v, first, n, t, steps);
    gradient.take(a, a.dmu, first, n, t, steps);
    for (ptrdiff_t j = 0; j < n; j += f64::width) {
      const f64 kept = f64::load(c.kept + j), taken = f64::load(c.taken + j);
      f64 mu = f64::load(state + j), s = f64::load(moved + j), total = f64::load(sum + j);
      for (ptrdiff_t k = 0; k < steps; ++k) {
        const f64 v = f64::load(values.at(k, j));
        s = share(kept, s) + (mu - v);
        total = total + f64::load(gradient.at(k, j)) * s;
        mu = share(kept, mu) + share(taken, v);
      }
      mu.store(state + j);
      s.store(moved + j);
      total.store(sum + j);
    }
  });
  for (ptrdiff_t j = 0; j < n; ++j) a.d_alpha[first + j] = sum[j];
}

// The same recurrence from the last step to the first: g <- dmu + alpha g, dv = (1 - alpha) g.
template <class T>
void average_backward(const averaged& a, ptrdiff_t first, ptrdiff_t n) {
  const coefficients c(a, first, n);
  if (a.d_alpha) average_alpha<T>(a, first, n, c);
  alignas(64) double carried[average_panel] = {};
  side_by_side<T> block(n);
  over_time(a.time, [&](ptrdiff_t after, ptrdiff_t steps) {
    const ptrdiff_t t = a.time - after - steps;
    block.take(a, a.dmu, first, n, t, steps);
    for (ptrdiff_t j = 0; j < n; j += f64::width) {
      const f64 kept = f64::load(c.kept + j), taken = f64::load(c.taken + j);
      f64 past = f64::load(carried + j);
      for (ptrdiff_t k = steps; k-- > 0;) {
        const f64 g = f64::load(block.at(k, j)) + past;
        past = share(kept, g);
        store_rounded(share(taken, g), block.at(k, j));
      }
      past.store(carried + j);
    }
    block.give(a, first, n, t, steps);
  });
  if (!a.d_initial) return;
  for (ptrdiff_t j = 0; j < n; ++j) a.d_initial[first + j] = carried[j];
}

}  // namespace
}  // namespace rectifier
