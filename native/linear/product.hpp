// The product of some rows with a packed H x H matrix, tile by tile, and what follows each tile while it is in cache.
#pragma once

#include "linear/frames.hpp"
#include "simd/transpose.hpp"

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
// Arrays, null for none, and how far their rows are apart; 0: as the product's. Nothing past a row is asked for: what lies
// behind a thread's last row is another's to write.
template <class Real>
struct Upcoming {
  const Real *read[2], *written[2];
  Index count = 0;  // columns from here to the end of the row
  Index read_apart[2] = {0, 0}, written_apart[2] = {0, 0};

  // Those of row i, where the product's rows are `stride` apart.
  template <int vectors>
  OSTINATO_INLINE void fetch(Index i, Index stride) const {
    Upcoming here{{}, {}, 0, {}, {}};
#pragma GCC unroll 2
    for (int k = 0; k < 2; ++k) {
      here.read[k] = read[k] ? read[k] + i * (read_apart[k] ? read_apart[k] : stride) : nullptr;
      here.written[k] = written[k] ? written[k] + i * (written_apart[k] ? written_apart[k] : stride) : nullptr;
    }
#pragma GCC unroll 16
    for (int j = 0; j <= vectors; ++j) {  // vectors need not be aligned: the last one may reach into one more line
      const Index ahead = j < vectors ? j * lanes<Real> : vectors * lanes<Real> - 1;
      here.fetch_line(ahead < count ? ahead : count - 1);
    }
  }

  OSTINATO_INLINE void fetch_line(Index line) const {
    if (read[0]) __builtin_prefetch(read[0] + line, 0);
    if (read[1]) __builtin_prefetch(read[1] + line, 0);
    if (written[0]) __builtin_prefetch(written[0] + line, 1);
    if (written[1]) __builtin_prefetch(written[1] + line, 1);
  }
};

// Which way a product goes through the rows of its panel. One that turns back where the one before it ended finds the
// last rows still in the first-level cache.
enum class Walk : int { forwards = 1, backwards = -1 };

OSTINATO_INLINE Walk turned(Walk walk) { return walk == Walk::forwards ? Walk::backwards : Walk::forwards; }

// out (rows, width) = a (rows, depth) @ panel (depth, width), or += when `add`; going backwards, from the last element
// of a and of the panel's rows, which are then given.
template <class Real>
using Tile = void (*)(const Real* a, Index stride, const Real* panel, Index depth, Real* out, bool add, Walk walk,
                      const Upcoming<Real>& upcoming);

template <class Real, int rows, int vectors, bool halved>
void tile(const Real* a, Index stride, const Real* panel, Index depth, Real* out, bool add, Walk walk,
          const Upcoming<Real>& upcoming) {
  using Columns = Strip<Real, vectors, halved>;
  const Index next = static_cast<Index>(walk);
  Columns sum[rows];
#pragma GCC unroll 16
  for (int i = 0; i < rows; ++i) sum[i].clear();
  Index k = 0;
  for (int turn = 1; turn <= rows; ++turn) {
    upcoming.template fetch<vectors>(turn - 1, stride);
    for (const Index end = depth * turn / rows; k < end; ++k, a += next, panel += next * Columns::width) {
      Columns columns;
      columns.load_from(panel);
#pragma GCC unroll 16
      for (int i = 0; i < rows; ++i) sum[i].add_product(a[i * stride], columns);
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < rows; ++i, out += Columns::width) {
    if (add) {
      Columns before;
      before.load_from(out);
      sum[i].add(before);
    }
    sum[i].store_to(out);
  }
}

template <class Real>
struct TileTable {
  Tile<Real> at[tile_rows + 1][tile_vectors + 1][2] = {};  // by rows, by vectors, by whether the last one is a half
};

template <class Real, int rows, int vectors>
constexpr void fill(TileTable<Real>& table) {
  table.at[rows][vectors][0] = tile<Real, rows, vectors, false>;
  if constexpr (halves) table.at[rows][vectors][1] = tile<Real, rows, vectors, true>;
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

// Vectors [first, last) of the H columns, cut in panels of nearly equal width, none wider than `widest`.
struct Columns {
  Index first, last;
  int widest;
  Index panels() const { return (last - first + widest - 1) / widest; }
  Index start(Index panel) const { return first + cut(last - first, panels(), panel); }
};

// The width in elements of a panel of some vectors of `count` columns.
template <class Real>
OSTINATO_INLINE Index panel_width(Index first_vector, Index vectors, Index count) {
  const Index end = (first_vector + vectors) * lanes<Real>, spare = halves && end - lanes<Real> / 2 >= count;
  return vectors * lanes<Real> - spare * lanes<Real> / 2;
}

// Panel with first vector v, packed: packed[v * lanes * H + k * width + c] = weight'[k, v * lanes + c], zero past H.
// `transposed` packs weight' (the forward product h W'), otherwise weight (the adjoint's delta W).
template <class Real>
void pack_panel(Real* packed, const Real* weight, bool transposed, Index hidden, Index v, Index vectors) {
  constexpr int n = lanes<Real>;
  const Index first = v * n, width = panel_width<Real>(v, vectors, hidden);
  const Index real_width = first + width > hidden ? hidden - first : width;
  Real* panel = packed + first * hidden;
  const auto source = [&](Index k, Index c) { return transposed ? (first + c) * hidden + k : k * hidden + first + c; };
  const auto one_by_one = [&](Index k, Index from, Index to) {
    for (Index c = from; c < to; ++c) panel[k * width + c] = c < real_width ? weight[source(k, c)] : 0;
  };
  const Index whole = real_width / n * n, squares = transposed ? hidden / n * n : 0;
  for (Index k = 0; k < squares; k += n)
    for (Index c = 0; c < whole; c += n) {
      Vec<Real> square[n];
#pragma GCC unroll 16
      for (int r = 0; r < n; ++r) square[r] = load(weight + source(k, c + r));
      transpose<Real>(square, FirstIntegers<n>{});
#pragma GCC unroll 16
      for (int r = 0; r < n; ++r) store(panel + (k + r) * width + c, square[r]);
    }
  for (Index k = 0; k < squares; ++k) one_by_one(k, whole, width);
  for (Index k = squares; k < hidden; ++k) one_by_one(k, 0, width);
}

// A long sum is cut in pieces of this depth: the rounding of a sum grows with its length.
constexpr Index piece_depth = 256;

// body(from, to, where the walk starts) for the pieces of a sum over [begin, end), in the order of the walk.
template <class Body>
OSTINATO_INLINE void for_pieces(Index begin, Index end, Walk walk, const Body& body) {
  const Index pieces = (end - begin + piece_depth - 1) / piece_depth;
  for (Index i = 0; i < pieces; ++i) {
    const Index piece = walk == Walk::forwards ? i : pieces - 1 - i;
    const Index from = begin + cut(end - begin, pieces, piece), to = begin + cut(end - begin, pieces, piece + 1);
    body(from, to, walk == Walk::forwards ? from : to - 1);
  }
}

// sums (rows, width), a panel's, += a (rows, [begin, end)) @ that panel; = where `begins`.
template <class Real>
OSTINATO_INLINE void add_products(const Real* a, Index hidden, const Real* panel, Index rows, Index width,
                                  Index begin, Index end, Real* sums, bool begins, Walk walk,
                                  Upcoming<Real> upcoming) {
  const Index vectors = (width + lanes<Real> - 1) / lanes<Real>;
  const Tile<Real> tile = tiles<Real>.at[rows][vectors][width < vectors * lanes<Real>];
  for_pieces(begin, end, walk, [&](Index from, Index to, Index first) {
    tile(a + first, hidden, panel + first * width, to - from, sums, !begins, walk, upcoming);
    begins = false;
    upcoming = {};
  });
}

// The whole product of a step where one thread does it alone; see `Share::step`.
struct TiledProduct {
  // sums (rows, width), a panel's, = a (rows, hidden) @ that panel.
  template <class Real>
  OSTINATO_INLINE void operator()(const Real* a, Index hidden, const Real* panel, Index rows, Index width, Real* sums,
                                  Walk walk, const Upcoming<Real>& upcoming) const {
    add_products(a, hidden, panel, rows, width, 0, hidden, sums, true, walk, upcoming);
  }
};

}  // namespace
}  // namespace ostinato::OSTINATO_ISA
