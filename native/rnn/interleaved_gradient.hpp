// The gradient of W from steps that the adjoint scan has finished, interleaved with its products.
//
// One stream's product with W waits for the second-level cache, which delivers half a vector a cycle: every other
// multiply-add would go unused. Tiles of the gradient's sums, whose factors are in the first-level cache, use them, and
// cost a fifth of what they cost by themselves. The last steps, and columns that make no whole tile, are left over.
#pragma once

#include "linear/product.hpp"

namespace ostinato::OSTINATO_ISA {
namespace {

// A tile's sums, its factor's vectors and a row of W have to be in registers together.
constexpr bool interleaves = tile_sums >= 24;
constexpr int gradient_rows = 4, gradient_vectors = 2;
constexpr Index gradient_steps = 20;

template <class Real>
class InterleavedGradient {
 public:
  static constexpr Index width = gradient_vectors * lanes<Real>;

  static bool pays(const Shape& shape, int threads) {
    return interleaves && threads <= 1 && shape.streams == 1 && shape.steps >= 2 * gradient_steps &&
           shape.hidden % gradient_rows == 0 && shape.hidden >= width;
  }

  InterleavedGradient(const Shape& shape, const Real* delta, const Real* states, const unsigned char* starts, Real* out)
      : hidden_(shape.hidden), steps_(shape.steps), rest_(shape.steps), delta_(delta), states_(states),
        starts_(starts), out_(out), column_(shape.hidden) {}

  // Columns [0, columns()) of the sums over frames [rest(), steps) are made once the scan has ended.
  Index columns() const { return hidden_ / width * width; }
  Index rest() const { return rest_; }

  // To be told when step t of the scan is done, and when all are.
  void finish_step(Index t) {
    if ((steps_ - t) % gradient_steps || t == 0) return;
    finish();
    rest_ = t;
    column_ = row_ = 0;
  }

  void finish() {
    while (at_work()) {
      Sums sums;
      sums.begin(*this);
      for (Index k = 0; k < gradient_steps; ++k) sums.add(k);
      sums.end();
    }
  }

  // The next tile of the sums, while it is in registers.
  class Sums {
   public:
    OSTINATO_INLINE void begin(InterleavedGradient& gradient) {
      if (gradient.row_ == 0) gradient.pack();
      stride_ = gradient.hidden_;
      panel_ = gradient.panel_;
      delta_ = gradient.delta_ + gradient.rest_ * stride_ + gradient.row_;
      out_ = gradient.out_ + gradient.row_ * stride_ + gradient.column_;
      const bool first = gradient.rest_ + gradient_steps == gradient.steps_;
#pragma GCC unroll 8
      for (int r = 0; r < gradient_rows; ++r) first ? sum_[r].clear() : sum_[r].load_from(out_ + r * stride_);
      gradient.advance();
    }

    OSTINATO_INLINE void add(Index k) {
      const Real* delta = delta_ + k * stride_;
      Columns factor;
      factor.load_from(panel_ + k * width);
#pragma GCC unroll 8
      for (int r = 0; r < gradient_rows; ++r) sum_[r].add_product(delta[r], factor);
    }

    OSTINATO_INLINE void end() const {
#pragma GCC unroll 8
      for (int r = 0; r < gradient_rows; ++r) sum_[r].store_to(out_ + r * stride_);
    }

   private:
    using Columns = Strip<Real, gradient_vectors, false>;
    Columns sum_[gradient_rows];
    const Real *panel_, *delta_;
    Real* out_;
    Index stride_;
  };

  bool at_work() const { return column_ < columns(); }

 private:
  void advance() {
    row_ += gradient_rows;
    if (row_ < hidden_) return;
    row_ = 0;
    column_ += width;
  }

  // The states before the steps of this turn, some columns of them.
  void pack() {
    for (Index k = 0; k < gradient_steps; ++k) {
      const Index t = rest_ + k;
      const Real* from = states_ + (t - 1) * hidden_ + column_;
      for (int c = 0; c < gradient_vectors; ++c)
        store(panel_ + k * width + c * lanes<Real>,
              starts_ && starts_[t] ? Vec<Real>{} : load(from + c * lanes<Real>));
    }
  }

  Index hidden_, steps_, rest_;
  const Real *delta_, *states_;
  const unsigned char* starts_;
  Real* out_;
  Index column_, row_ = 0;  // of the next tile
  alignas(64) Real panel_[gradient_steps * width];
};

// As `tile`, for one row, with tiles of the gradient's sums between its parts.
template <class Real>
using InterleavedTile = void (*)(const Real* a, const Real* panel, Index depth, Real* out, bool add, Walk walk,
                            InterleavedGradient<Real>& gradient);

template <class Real, int vectors, bool halved>
void interleaved_tile(const Real* a, const Real* panel, Index depth, Real* out, bool add, Walk walk,
                 InterleavedGradient<Real>& gradient) {
  using Columns = Strip<Real, vectors, halved>;
  const Index next = static_cast<Index>(walk);
  Columns sum;
  sum.clear();
  const auto multiply = [&] {
    Columns columns;
    columns.load_from(panel);
    sum.add_product(*a, columns);
    a += next;
    panel += next * Columns::width;
  };
  Index k = 0;
  for (; k + gradient_steps <= depth && gradient.at_work(); k += gradient_steps) {
    typename InterleavedGradient<Real>::Sums sums;
    sums.begin(gradient);
    for (Index i = 0; i < gradient_steps; ++i) {
      multiply();
      sums.add(i);
    }
    sums.end();
  }
  for (; k < depth; ++k) multiply();
  if (add) {
    Columns before;
    before.load_from(out);
    sum.add(before);
  }
  sum.store_to(out);
}

template <class Real>
struct InterleavedTileTable {
  InterleavedTile<Real> at[tile_vectors + 1][2] = {};
};

template <class Real, int vectors>
constexpr void fill(InterleavedTileTable<Real>& table) {
  table.at[vectors][0] = interleaved_tile<Real, vectors, false>;
  if constexpr (halves) table.at[vectors][1] = interleaved_tile<Real, vectors, true>;
  if constexpr (vectors > 1) fill<Real, vectors - 1>(table);
}

template <class Real>
constexpr InterleavedTileTable<Real> make_interleaved_tiles() {
  InterleavedTileTable<Real> table;
  fill<Real, tile_vectors>(table);
  return table;
}

template <class Real>
constexpr InterleavedTileTable<Real> interleaved_tiles = make_interleaved_tiles<Real>();

// sums (width), a panel's, = a (depth) @ that panel.
template <class Real>
OSTINATO_INLINE void multiply_interleaved(const Real* a, const Real* panel, Index depth, Index width, Real* sums,
                                          Walk walk, InterleavedGradient<Real>& gradient) {
  const Index vectors = (width + lanes<Real> - 1) / lanes<Real>;
  const InterleavedTile<Real> tile = interleaved_tiles<Real>.at[vectors][width < vectors * lanes<Real>];
  bool begins = true;
  for_pieces(0, depth, walk, [&](Index from, Index to, Index first) {
    tile(a + first, panel + first * width, to - from, sums, !begins, walk, gradient);
    begins = false;
  });
}

// The adjoint scan's product with W, and the gradient in between where there is one.
template <class Real>
struct InterleavedProduct {
  InterleavedGradient<Real>* gradient;  // of one stream on one thread; or null

  OSTINATO_INLINE void operator()(const Real* a, Index hidden, const Real* panel, Index rows, Index width, Real* sums,
                                  Walk walk, const Upcoming<Real>& upcoming) const {
    if constexpr (interleaves)
      if (gradient) return multiply_interleaved(a, panel, hidden, width, sums, walk, *gradient);
    TiledProduct{}(a, hidden, panel, rows, width, sums, walk, upcoming);
  }
};

}  // namespace
}  // namespace ostinato::OSTINATO_ISA
