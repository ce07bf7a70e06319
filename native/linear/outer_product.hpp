// Sums over frames of outer products, tile by tile, and the factors of such a product, packed for it.
#pragma once

#include "linear/product.hpp"
#include "simd/for_vectors.hpp"

namespace ostinato::OSTINATO_ISA {
namespace {

constexpr Index chunk_frames = piece_depth;
constexpr Index far_bytes = 2 << 20;  // a factor of this size is not in the caches of a core
constexpr int outer_vectors = tile_sums / tile_rows;

// out (tile_rows, count <= width) += a' factor, or = where `begins`, for a (depth, tile_rows) and the rows of a factor
// from its column `first` on, of which whole vectors are read; only the first `rows` rows are written.
template <class Real, int vectors, bool halved>
void outer_tile(const Real* a, const Real* const* factor, Index first, Index depth, Real* out, Index stride, Index rows,
                Index count, bool begins) {
  using Columns = Strip<Real, vectors, halved>;
  constexpr int width = Columns::width;
  Columns sum[tile_rows];
#pragma GCC unroll 16
  for (int i = 0; i < tile_rows; ++i) sum[i].clear();
  for (Index k = 0; k < depth; ++k, a += tile_rows) {
    Columns columns;
    columns.load_from(factor[k] + first);
#pragma GCC unroll 16
    for (int i = 0; i < tile_rows; ++i) sum[i].add_product(a[i], columns);
  }
  if (rows == tile_rows && count == width) {
#pragma GCC unroll 16
    for (int i = 0; i < tile_rows; ++i, out += stride) {
      if (!begins) {
        Columns before;
        before.load_from(out);
        sum[i].add(before);
      }
      sum[i].store_to(out);
    }
    return;
  }
  Real sums[tile_rows * width + lanes<Real>];  // room to read whole vectors from any of them
#pragma GCC unroll 16
  for (int i = 0; i < tile_rows; ++i) sum[i].store_to(sums + i * width);
  for (Index i = 0; i < rows; ++i)
    for_vectors<Real>(count, [&](Index c, auto lanes_used) {
      using Lanes = decltype(lanes_used);
      Vec<Real> value = load(sums + i * width + c);
      if (!begins) value += Lanes::get(lanes_used, out + i * stride + c);
      Lanes::put(lanes_used, out + i * stride + c, value);
    });
}

template <class Real>
using OuterTile = void (*)(const Real*, const Real* const*, Index, Index, Real*, Index, Index, Index, bool);

template <class Real, int vectors>
OuterTile<Real> outer_tile_of_vectors(bool halved) {
  if constexpr (halves)
    if (halved) return outer_tile<Real, vectors, true>;
  return outer_tile<Real, vectors, false>;
}

// The tile of so many columns.
template <class Real>
OuterTile<Real> outer_tile_of(Index width) {
  static_assert(outer_vectors == 2 || outer_vectors == 3);
  const Index vectors = (width + lanes<Real> - 1) / lanes<Real>;
  const bool halved = width < vectors * lanes<Real>;
  if constexpr (outer_vectors == 3)
    if (vectors == 3) return outer_tile_of_vectors<Real, 3>(halved);
  return vectors == 2 ? outer_tile_of_vectors<Real, 2>(halved) : outer_tile_of_vectors<Real, 1>(halved);
}

// A row for every frame: the inputs, or the state before, which is `late` frames (one step) earlier in x; the first
// ones are in `initial`, or zero where that is null. Zero where `dropped` says so.
template <class Number>
struct Factor {
  const Number* x;  // (frames, columns)
  Index columns;
  Index late = 0;
  const Number* initial = nullptr;         // (late, columns)
  const unsigned char* dropped = nullptr;  // per frame
  Index frames = 0;                        // of x; or 0: nobody says

  const Number* row(Index n) const {
    if (dropped && dropped[n]) return nullptr;
    if (n >= late) return x + (n - late) * columns;
    return initial ? initial + n * columns : nullptr;
  }

  // Whether the `width` numbers behind these are a row's, too.
  bool reaches(const Number* from, Index width) const {
    const Number *end = x + frames * columns, *end_of_initial = initial ? initial + late * columns : nullptr;
    return (from >= x && from < end && from + width <= end) ||
           (from >= initial && from < end_of_initial && from + width <= end_of_initial);
  }
};

// A factor's rows of some frames of a part; `zeros` has a row's numbers.
template <class Number>
struct FactorRows {
  const Number* at[chunk_frames];

  FactorRows(const Factor<Number>& factor, const StreamPart& part, Index begin, Index end, const void* zeros) {
    Index k = 0;
    part.visit(begin, end, [&](Index n) {
      const Number* row = factor.row(n);
      at[k++] = row ? row : static_cast<const Number*>(zeros);
    });
  }
};

// panel (depth, width) = columns [first, first + count) of the rows; zero past them.
template <class Real, class Number>
void pack_factor(Real* panel, const Number* const* rows, Index depth, Index first, Index count, Index width) {
  for (Index k = 0; k < depth; ++k, panel += width) {
    const Number* from = rows[k] + first;
    if constexpr (sizeof(Number) == sizeof(Real))
      for_vectors<Real>(count, [panel, from](Index c, auto lanes_used) {
        using Lanes = decltype(lanes_used);
        Lanes::put(lanes_used, panel + c, Lanes::get(lanes_used, from + c));
      });
    else
      for (Index c = 0; c < count; ++c) panel[c] = static_cast<Real>(from[c]);
    for (Index c = count; c < width; ++c) panel[c] = 0;
  }
}

// at[k] = where columns [first, first + width) of row k are, of which those past `count` may be any numbers: in the row
// itself and the one behind it, or copied to a panel. `zeros` has room for them.
template <class Real>
void reach_factor(const Real** at, Real* panel, const Factor<Real>& factor, const Real* const* rows, const Real* zeros,
                  Index depth, Index first, Index count, Index width) {
  for (Index k = 0; k < depth; ++k) {
    at[k] = rows[k] + first;
    if (rows[k] == zeros || factor.reaches(at[k], width)) continue;
    pack_factor(panel + k * width, rows + k, 1, first, count, width);
    at[k] = panel + k * width;
  }
}

// Asks for columns of rows, a little before every tile of the panel before them: few columns of many rows is a pattern
// the processor's own prefetchers do not see.
template <class Number>
OSTINATO_INLINE void fetch_factor(const Number* const* rows, Index begin, Index end, Index first, Index count) {
  for (Index k = begin; k < end; ++k) {
    for (Index c = 0; c < count; c += line_length<Number>) __builtin_prefetch(rows[k] + first + c);
    __builtin_prefetch(rows[k] + first + count - 1);
  }
}

}  // namespace
}  // namespace ostinato::OSTINATO_ISA
