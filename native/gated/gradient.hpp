// The gradients of a gated cell's weights: for each gate, the sum over all frames of delta' hp, and of delta.
//
// Every gate's rows are cut in tiles, and every thread has some tiles of all gates'. Frames go by in chunks, whose deltas
// are packed once for all columns. A row's sum does not depend on who makes it.
#pragma once

#include "gated/arguments.hpp"
#include "linear/outer_product.hpp"
#include "team/progress.hpp"
#include "team/scratch.hpp"

namespace ostinato::OSTINATO_ISA {
namespace {

template <class Real>
class GatedGradient {
 public:
  // Of every frame's `deltas` blocks, blocks[k] is gate k's.
  GatedGradient(const GatedAdjointArgs<Real>& args, int gates, int deltas, const int* blocks)
      : args_(args), gates_(gates), stride_(deltas * args.shape.hidden), blocks_(blocks),
        threads_(args.threads < 1 ? 1 : args.threads) {
    if (!wanted()) return;
    const Index reals = tiles() * tile_size + threads_ * (panel_size + roomy(args.shape.hidden) + 2 * alignment);
    const auto progress = static_cast<unsigned long>(threads_) * sizeof(Progress);
    memory_ = static_cast<char*>(allocate(progress + static_cast<unsigned long>(reals) * sizeof(Real)));
    if (!memory_) return;
    finished_ = reinterpret_cast<Progress*>(memory_);
    for (int i = 0; i < threads_; ++i) finished_[i] = Progress{};
    numbers_ = reinterpret_cast<Real*>(memory_ + progress);
  }
  GatedGradient(const GatedGradient&) = delete;
  GatedGradient& operator=(const GatedGradient&) = delete;
  ~GatedGradient() { release(memory_); }

  bool has_memory() const { return memory_ || !wanted(); }

  void run(int rank, int size) const {
    if (!wanted()) return;
    finished_[rank].finish(1);  // all deltas are there
    for (int other = 0; other < size; ++other) finished_[other].await(1);
    const Index begin = cut(tiles(), size, rank), end = cut(tiles(), size, rank + 1);
    if (begin == end) return;
    const Index own = panel_size + roomy(args_.shape.hidden) + 2 * alignment;
    Real* panel = numbers_ + (rank * own + alignment - 1) / alignment * alignment;
    Real* zeros = panel + panel_size;
    Real* packed = numbers_ + (threads_ * own + alignment - 1) / alignment * alignment + begin * tile_size;
    for (Index c = 0; c < args_.shape.hidden; ++c) zeros[c] = 0;
    if (args_.grad_bias)
      for (Index i = begin; i < end; ++i)
        for (Index r = 0; r < rows_of(i); ++r) args_.grad_bias[row_of(i) + r] = 0;
    const Index frames = args_.shape.steps * args_.shape.streams;
    for (Index n = 0; n < frames; n += chunk_frames) {
      const Index depth = frames - n < chunk_frames ? frames - n : chunk_frames;
      pack(packed, n, depth, begin, end);
      if (args_.grad_weight) add_products(packed, panel, zeros, n, depth, begin, end);
    }
  }

 private:
  static constexpr Index panel_size = outer_vectors * lanes<Real> * chunk_frames;
  // A line more than needed: without it the tiles all begin in the same set of the first-level cache.
  static constexpr Index tile_size = tile_rows * chunk_frames + line_length<Real>;
  static constexpr Index alignment = 64;

  bool wanted() const { return args_.grad_weight || args_.grad_bias; }
  Index tiles_of_gate() const { return (args_.shape.hidden + tile_rows - 1) / tile_rows; }
  Index tiles() const { return gates_ * tiles_of_gate(); }
  Index gate_of(Index tile) const { return tile / tiles_of_gate(); }
  Index unit_of(Index tile) const { return tile % tiles_of_gate() * tile_rows; }  // the first
  Index row_of(Index tile) const { return gate_of(tile) * args_.shape.hidden + unit_of(tile); }
  Index rows_of(Index tile) const {
    const Index rest = args_.shape.hidden - unit_of(tile);
    return rest < tile_rows ? rest : tile_rows;
  }

  // packed[tile][frame][row within the tile], zero past the last row; and the sums of every row.
  void pack(Real* packed, Index first_frame, Index depth, Index begin, Index end) const {
    for (Index i = begin; i < end; ++i, packed += tile_size) {
      const Index count = rows_of(i);
      const Real* from = args_.deltas + first_frame * stride_ + blocks_[gate_of(i)] * args_.shape.hidden + unit_of(i);
      Real sums[tile_rows] = {}, *to = packed;
      for (Index k = 0; k < depth; ++k, from += stride_, to += tile_rows)
        for (Index r = 0; r < tile_rows; ++r) {
          to[r] = r < count ? from[r] : Real(0);
          sums[r] += to[r];
        }
      if (args_.grad_bias)
        for (Index r = 0; r < count; ++r) args_.grad_bias[row_of(i) + r] += sums[r];
    }
  }

  void add_products(const Real* packed, Real* panel, const Real* zeros, Index first_frame, Index depth, Index begin,
                    Index end) const {
    const Shape& shape = args_.shape;
    const Index hidden = shape.hidden, vectors = (hidden + lanes<Real> - 1) / lanes<Real>;
    const Factor<Real> before{args_.at.states, hidden, shape.streams, args_.at.h0, args_.starts};
    const StreamPart all{shape.streams, 0, shape.streams, shape.steps * shape.streams};
    const FactorRows<Real> given(before, all, first_frame, first_frame + depth, zeros);
    const Columns cuts{0, vectors, outer_vectors};
    for (Index p = 0; p < cuts.panels(); ++p) {
      const Index v = cuts.start(p), column = v * lanes<Real>;
      const Index width = panel_width<Real>(v, cuts.start(p + 1) - v, hidden);
      const Index count = column + width > hidden ? hidden - column : width;
      const Real* in_panel[chunk_frames];
      const bool whole = count == width;  // read where they lie
      if (!whole) {
        pack_factor(panel, given.at, depth, column, count, width);
        for (Index k = 0; k < depth; ++k) in_panel[k] = panel + k * width;
      }
      for (Index i = begin; i < end; ++i)
        outer_tile_of<Real>(width)(packed + (i - begin) * tile_size, whole ? given.at : in_panel, whole ? column : 0,
                                   depth, args_.grad_weight + row_of(i) * hidden + column, hidden, rows_of(i), count,
                                   first_frame == 0);
    }
  }

  const GatedAdjointArgs<Real>& args_;
  int gates_;
  Index stride_;
  const int* blocks_;
  int threads_;
  char* memory_ = nullptr;
  Progress* finished_ = nullptr;
  Real* numbers_ = nullptr;
};

}  // namespace
}  // namespace ostinato::OSTINATO_ISA
