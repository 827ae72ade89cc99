// Counting open gates: the bits of packed gates, summed per unit.
//
// Bits lie as [outer][units][inner], from bit `first` on; units are counted over the other two.
// A long inner run is a popcount, and so is a short one where few rows share the columns. Else
// short runs, and units that lie side by side, are summed column by column: sixteen rows of bits at
// a time go through a tree of carry-save adders into counters whose bits lie in planes, so that one
// operation adds to 64 counters and more (positional popcount).
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace rectifier {
namespace {

struct bit_array {
  const uint8_t* bytes;
  const uint8_t* end;
};

// Word w of the bits from p on, the first of them `shift` bits into *p; nine bytes are read.
inline uint64_t shifted_word(const uint8_t* p, unsigned shift) {
  uint64_t low, high;
  __builtin_memcpy(&low, p, 8);
  __builtin_memcpy(&high, p + 1, 8);
  return low >> shift | high << (8 - shift);
}

inline uint64_t low_bits(ptrdiff_t n) { return n >= 64 ? ~uint64_t{0} : (uint64_t{1} << n) - 1; }

// The n <= 64 bits from `first` on, near the end of the array too.
inline uint64_t some_bits(bit_array a, ptrdiff_t first, ptrdiff_t n) {
  const uint8_t* p = a.bytes + first / 8;
  uint8_t copy[9] = {};
  for (ptrdiff_t i = 0; i < 9 && p + i < a.end; ++i) copy[i] = p[i];
  return shifted_word(copy, first % 8) & low_bits(n);
}

int64_t count_run(bit_array a, ptrdiff_t first, ptrdiff_t n) {
  const uint8_t* p = a.bytes + first / 8;
  const unsigned shift = first % 8;
  int64_t count = 0;
  ptrdiff_t i = 0;
  if (shift == 0) {
    for (; i + 64 <= n; i += 64) {
      uint64_t word;
      __builtin_memcpy(&word, p + i / 8, 8);
      count += __builtin_popcountll(word);
    }
  }
  for (; i + 64 <= n && p + i / 8 + 9 <= a.end; i += 64) {
    count += __builtin_popcountll(shifted_word(p + i / 8, shift));
  }
  for (; i < n; i += 64) {
    count += __builtin_popcountll(some_bits(a, first + i, n - i < 64 ? n - i : 64));
  }
  return count;
}

constexpr int tile_words = 32, tile_bits = 64 * tile_words;
constexpr int high_planes = 12;
constexpr ptrdiff_t most_rows = 16 * ((1 << high_planes) - 1);

struct row_group {
  uint64_t row[16][tile_words];
};

struct counters {
  uint64_t low[4][tile_words];
  uint64_t high[high_planes][tile_words];
};

inline uint64_t add(uint64_t& sum, uint64_t a, uint64_t b) {
  uint64_t both = sum ^ a;
  uint64_t carry = (sum & a) | (both & b);
  sum = both ^ b;
  return carry;
}

// Adds sixteen rows; `planes` of the high ones are in use.
inline void add_rows(counters& c, const row_group& g, int words, int planes) {
  uint64_t carries[tile_words];
  for (int w = 0; w < words; ++w) {
    uint64_t one = c.low[0][w], two = c.low[1][w], four = c.low[2][w], eight = c.low[3][w];
    uint64_t eights[2];
#pragma GCC unroll 2
    for (int e = 0; e < 2; ++e) {
      uint64_t fours[2];
#pragma GCC unroll 2
      for (int f = 0; f < 2; ++f) {
        const int r = 8 * e + 4 * f;
        uint64_t a = add(one, g.row[r][w], g.row[r + 1][w]);
        uint64_t b = add(one, g.row[r + 2][w], g.row[r + 3][w]);
        fours[f] = add(two, a, b);
      }
      eights[e] = add(four, fours[0], fours[1]);
    }
    carries[w] = add(eight, eights[0], eights[1]);
    c.low[0][w] = one;
    c.low[1][w] = two;
    c.low[2][w] = four;
    c.low[3][w] = eight;
  }
  for (int p = 0; p < planes; ++p) {
    for (int w = 0; w < words; ++w) {
      uint64_t before = c.high[p][w];
      c.high[p][w] = before ^ carries[w];
      carries[w] &= before;
    }
  }
}

inline void read_row(bit_array a, ptrdiff_t first, ptrdiff_t n, uint64_t* words) {
  const uint8_t* p = a.bytes + first / 8;
  const unsigned shift = first % 8;
  ptrdiff_t count = (n + 63) / 64;
  if (shift == 0 && n % 64 == 0) {
    __builtin_memcpy(words, p, static_cast<size_t>(8 * count));
  } else if (p + 8 * count + 1 <= a.end) {
    for (ptrdiff_t w = 0; w < count; ++w) words[w] = shifted_word(p + 8 * w, shift);
    words[count - 1] &= low_bits(n - 64 * (count - 1));
  } else {
    for (ptrdiff_t w = 0; w < count; ++w) {
      words[w] = some_bits(a, first + 64 * w, n - 64 * w < 64 ? n - 64 * w : 64);
    }
  }
}

// totals[j] = open gates among bits first + r * stride + j, for `rows` <= most_rows rows r and
// j < n <= tile_bits.
void count_tile(bit_array a, ptrdiff_t first, ptrdiff_t stride, ptrdiff_t rows, ptrdiff_t n,
                uint32_t* totals) {
  counters c = {};
  row_group g;
  const int words = static_cast<int>((n + 63) / 64);
  int planes = 1;
  for (ptrdiff_t r = 0; r < rows; r += 16) {
    const ptrdiff_t here = rows - r < 16 ? rows - r : 16;
    for (ptrdiff_t i = 0; i < here; ++i) read_row(a, first + (r + i) * stride, n, g.row[i]);
    for (ptrdiff_t i = here; i < 16; ++i) {
      for (int w = 0; w < words; ++w) g.row[i][w] = 0;
    }
    while (r / 16 + 1 >= ptrdiff_t{1} << planes) ++planes;
    add_rows(c, g, words, planes);
  }
  for (int w = 0; w < words; ++w) {
    uint32_t* to = totals + 64 * w;
    for (int bit = 0; bit < 64; ++bit) to[bit] = 0;
    for (int p = 0; p < 4 + planes; ++p) {
      const uint64_t plane = p < 4 ? c.low[p][w] : c.high[p - 4][w];
      for (int bit = 0; bit < 64; ++bit) to[bit] += static_cast<uint32_t>(plane >> bit & 1) << p;
    }
  }
}

// Rows of `columns` bits; column j counts for unit j / inner.
void count_columns(bit_array a, ptrdiff_t first, ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t inner,
                   int64_t* counts) {
  // Short rows are taken several at once, as one.
  const ptrdiff_t together = columns >= tile_bits ? 1 : tile_bits / columns;
  while (rows > 0) {
    const ptrdiff_t side_by_side = rows < together ? rows : together;
    ptrdiff_t deep = rows / side_by_side;
    if (deep > most_rows) deep = most_rows;
    const ptrdiff_t width = side_by_side * columns;
    for (ptrdiff_t tile = 0; tile < width; tile += tile_bits) {
      const ptrdiff_t n = width - tile < tile_bits ? width - tile : tile_bits;
      uint32_t totals[tile_bits];
      count_tile(a, first + tile, width, deep, n, totals);
      ptrdiff_t column = tile % columns, unit = column / inner, place = column % inner;
      for (ptrdiff_t j = 0; j < n; ++j) {
        counts[unit] += totals[j];
        if (++place == inner) {
          place = 0;
          ++unit;
        }
        if (++column == columns) column = place = unit = 0;
      }
    }
    first += deep * width;
    rows -= deep * side_by_side;
  }
}

// Runs of fewer than 64 bits, each a word.
void count_words(bit_array a, ptrdiff_t first, ptrdiff_t outer, ptrdiff_t units, ptrdiff_t inner,
                 int64_t* counts) {
  const uint64_t mask = low_bits(inner);
  for (ptrdiff_t o = 0; o < outer; ++o) {
    for (ptrdiff_t u = 0; u < units; ++u, first += inner) {
      const uint8_t* p = a.bytes + first / 8;
      const uint64_t word =
          a.end - p >= 9 ? shifted_word(p, first % 8) & mask : some_bits(a, first, inner);
      counts[u] += __builtin_popcountll(word);
    }
  }
}

// Columns take about as long for 64 values as words for a run, and for each counter that is read
// out at the end as words for eight runs (measured).
bool words_are_faster(ptrdiff_t outer, ptrdiff_t units, ptrdiff_t inner) {
  const ptrdiff_t runs = outer * units, values = runs * inner, columns = units * inner;
  const ptrdiff_t tile = values < tile_bits ? values : tile_bits;
  return runs < values / 64 + 8 * (columns > tile ? columns : tile);
}

void count_units(const uint8_t* bits, ptrdiff_t bytes, ptrdiff_t first, ptrdiff_t outer,
                 ptrdiff_t units, ptrdiff_t inner, int64_t* counts) {
  const bit_array a{bits, bits + bytes};
  if (inner < 64 && words_are_faster(outer, units, inner)) {
    count_words(a, first, outer, units, inner, counts);
    return;
  }
  if (inner < 64) {
    count_columns(a, first, outer, units * inner, inner, counts);
    return;
  }
  for (ptrdiff_t o = 0; o < outer; ++o) {
    for (ptrdiff_t u = 0; u < units; ++u) {
      counts[u] += count_run(a, first + (o * units + u) * inner, inner);
    }
  }
}

}  // namespace
}  // namespace rectifier
