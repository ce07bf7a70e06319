// The product of some rows with a packed H x H matrix, tile by tile, and what follows each tile while it is in cache.
#pragma once

#include "simd.hpp"

namespace ostinato::OSTINATO_ISA {
namespace {

// A tile keeps rows x vectors sums in registers; what is left of the register file holds one row of the panel and
// one broadcast element. Few rows allow wide tiles, which is what a single stream (B = 1) wants.
#if defined(__AVX512F__)
constexpr int tile_rows = 8, tile_sums = 24;  // 32 registers
#elif defined(__AVX2__)
constexpr int tile_rows = 4, tile_sums = 12;  // 16 registers
#else
constexpr int tile_rows = 4, tile_sums = 8;  // 16 registers and no fused multiply-add: one more for the product
#endif
constexpr int tile_vectors = 12;

constexpr int widest_tile(int rows) {
  const int vectors = tile_sums / (rows < tile_rows ? rows : tile_rows);
  return vectors < tile_vectors ? vectors : tile_vectors;
}

// What the elementwise part behind a product will touch, to be fetched into L1 while the product runs: few columns of
// many rows is a pattern the processor's own prefetchers do not see, and a burst of requests would hold up the
// product's own loads, so each row of a tile asks for its share in turn (measured: 10 % of a scan that leaves L2).
// Arrays laid out like the product's rows; null for none.
template <class Real>
struct Upcoming {
  const Real *read[2], *written[2];

  Upcoming at(Index offset) const {
    const auto move = [offset](const Real* from) { return from ? from + offset : nullptr; };
    return {{move(read[0]), move(read[1])}, {move(written[0]), move(written[1])}};
  }

  template <int vectors>
  OSTINATO_INLINE void fetch(Index offset) const {
#pragma GCC unroll 16
    for (int j = 0; j <= vectors; ++j) {  // vectors need not be aligned: the last one may reach into one more line
      const Index line = offset + (j < vectors ? j * lanes<Real> : vectors * lanes<Real> - 1);
      if (read[0]) __builtin_prefetch(read[0] + line, 0);
      if (read[1]) __builtin_prefetch(read[1] + line, 0);
      if (written[0]) __builtin_prefetch(written[0] + line, 1);
      if (written[1]) __builtin_prefetch(written[1] + line, 1);
    }
  }
};

// out (rows, vectors * lanes) = a (rows, depth) @ panel (depth, vectors * lanes), or += when `add`
template <class Real>
using Tile = void (*)(const Real* a, Index stride, const Real* panel, Index depth, Real* out, bool add,
                      const Upcoming<Real>& upcoming);

template <class Real, int rows, int vectors>
void tile(const Real* a, Index stride, const Real* panel, Index depth, Real* out, bool add,
          const Upcoming<Real>& upcoming) {
  constexpr int width = vectors * lanes<Real>;
  Vec<Real> sum[rows][vectors] = {};
  Index k = 0;
  for (int turn = 1; turn <= rows; ++turn) {
    upcoming.template fetch<vectors>((turn - 1) * stride);
    for (const Index end = depth * turn / rows; k < end; ++k, panel += width) {
      Vec<Real> column[vectors];
#pragma GCC unroll 16
      for (int j = 0; j < vectors; ++j) column[j] = load(panel + j * lanes<Real>);
#pragma GCC unroll 16
      for (int i = 0; i < rows; ++i) {
        const Vec<Real> element = splat<Real>(a[i * stride + k]);
#pragma GCC unroll 16
        for (int j = 0; j < vectors; ++j) sum[i][j] += element * column[j];
      }
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < rows; ++i)
#pragma GCC unroll 16
    for (int j = 0; j < vectors; ++j) {
      Real* to = out + i * width + j * lanes<Real>;
      store(to, add ? load(to) + sum[i][j] : sum[i][j]);
    }
}

template <class Real>
struct TileTable {
  Tile<Real> at[tile_rows + 1][tile_vectors + 1] = {};
};

template <class Real, int rows, int vectors>
constexpr void fill(TileTable<Real>& table) {
  table.at[rows][vectors] = tile<Real, rows, vectors>;
  if constexpr (vectors > 1)
    fill<Real, rows, vectors - 1>(table);
  else if constexpr (rows > 1)
    fill<Real, rows - 1, widest_tile(rows - 1)>(table);
}

template <class Real>
constexpr TileTable<Real> make_tiles() {
  TileTable<Real> table;
  fill<Real, tile_rows, widest_tile(tile_rows)>(table);
  return table;
}

template <class Real>
constexpr TileTable<Real> tiles = make_tiles<Real>();

// part i of `total` cut in `parts` nearly equal pieces starts here
OSTINATO_INLINE Index cut(Index total, Index parts, Index i) { return total * i / parts; }

// Vectors [first, last) of the H columns, cut in panels of nearly equal width, none wider than `widest`.
struct Columns {
  Index first, last;
  int widest;
  Index panels() const { return (last - first + widest - 1) / widest; }
  Index start(Index panel) const { return first + cut(last - first, panels(), panel); }
};

// Panel with first vector v, packed: packed[v * lanes * H + k * width + c] = weight'[k, v * lanes + c], zero past H.
// `transposed` packs weight' (the forward product h W'), otherwise weight (the adjoint's delta W).
template <class Real>
void pack_panel(Real* packed, const Real* weight, bool transposed, Index hidden, Index v, Index vectors) {
  const Index first = v * lanes<Real>, width = vectors * lanes<Real>;
  const Index real_width = first + width > hidden ? hidden - first : width;
  Real* panel = packed + first * hidden;
  if (!transposed) {
    for (Index k = 0; k < hidden; ++k) {
      for (Index c = 0; c < real_width; ++c) panel[k * width + c] = weight[k * hidden + first + c];
      for (Index c = real_width; c < width; ++c) panel[k * width + c] = 0;
    }
    return;
  }
  constexpr Index block = 16;  // a block's cache lines are read and written while they are in L1
  for (Index begin = 0; begin < hidden; begin += block) {
    const Index end = begin + block < hidden ? begin + block : hidden;
    for (Index c = 0; c < width; ++c)
      for (Index k = begin; k < end; ++k) panel[k * width + c] = c < real_width ? weight[(first + c) * hidden + k] : 0;
  }
}

// A long sum is cut in pieces of this depth: the rounding of a sum grows with its length.
constexpr Index piece_depth = 256;

// For every row in [row_begin, row_end) and every panel: after(sums, row, column, count), where sums[0..count) are
// (a @ packed)[row, column..column+count). A null `a` is an empty product: the sums are zero.
template <class Real, class After>
OSTINATO_INLINE void multiply(const Real* a, const Real* packed, Index hidden, Index row_begin, Index row_end,
                              const Columns& columns, const Upcoming<Real>& upcoming, const After& after) {
  alignas(64) Real sums[tile_sums * lanes<Real>];
  const Index row_tiles = (row_end - row_begin + tile_rows - 1) / tile_rows;
  const Index pieces = (hidden + piece_depth - 1) / piece_depth;
  const Index panels = columns.panels();
  for (Index p = 0; p < panels; ++p) {
    const Index v = columns.start(p), vectors = columns.start(p + 1) - v;
    const Index column = v * lanes<Real>, width = vectors * lanes<Real>;
    const Index count = column + width > hidden ? hidden - column : width;
    const Real* panel = packed + column * hidden;
    for (Index i = 0; i < row_tiles; ++i) {
      const Index row = row_begin + cut(row_end - row_begin, row_tiles, i);
      const Index rows = row_begin + cut(row_end - row_begin, row_tiles, i + 1) - row;
      if (!a) __builtin_memset(sums, 0, sizeof(sums));
      for (Index k = 0; a && k < pieces; ++k) {
        const Index begin = cut(hidden, pieces, k), depth = cut(hidden, pieces, k + 1) - begin;
        tiles<Real>.at[rows][vectors](a + row * hidden + begin, hidden, panel + begin * width, depth, sums, k > 0,
                                      k > 0 ? Upcoming<Real>{} : upcoming.at(row * hidden + column));
      }
      for (Index r = 0; r < rows; ++r) after(sums + r * width, row + r, column, count);
    }
  }
}

}  // namespace
}  // namespace ostinato::OSTINATO_ISA
