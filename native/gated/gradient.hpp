// The gradients of a gated cell's weights: for each gate, the sum over all frames of delta' hp, and of delta; and for
// each drive those of delta' x, and of delta.
//
// Every gate's rows are cut in tiles, and every thread has some tiles of all gates'. Frames go by in chunks, whose deltas
// are packed once for all columns, and once for both matrices where they are the same. A row's sum does not depend on who
// makes it.
#pragma once

#include "gated/arguments.hpp"
#include "linear/outer_product.hpp"
#include "team/progress.hpp"
#include "team/scratch.hpp"

namespace ostinato::OSTINATO_ISA {
namespace {

// One matrix and its bias: which of every frame's blocks of deltas, and what they are multiplied by.
template <class Real>
struct GatedSum {
  int count;
  int blocks[8];
  Factor<Real> factor;
  Real *weight, *bias;  // (count, H, columns of the factor), (count, H); null: not wanted

  bool wanted() const { return weight || bias; }
};

template <class Real>
class GatedGradient {
 public:
  template <class Cell>
  GatedGradient(const GatedAdjointArgs<Real>& args, Cell)
      : args_(args), stride_(Cell::deltas * args.shape.hidden), threads_(args.threads < 1 ? 1 : args.threads) {
    const Shape& shape = args.shape;
    const Index frames = shape.steps * shape.streams;
    sums_[0] = {Cell::gates, {}, {args.at.states, shape.hidden, shape.streams, args.at.h0, args.starts, frames},
                args.grad_weight, args.grad_bias};
    sums_[1] = {Cell::drives, {}, {args.inputs, args.input_size, 0, nullptr, nullptr, frames}, args.grad_input_weight,
                args.grad_input_bias};
    for (int g = 0; g < Cell::gates; ++g) sums_[0].blocks[g] = Cell::delta_of_gate[g];
    for (int d = 0; d < Cell::drives; ++d) sums_[1].blocks[d] = Cell::delta_of_drive + d;
    if (!wanted()) return;
    const auto progress = static_cast<unsigned long>(threads_) * sizeof(Progress);
    const Index reals = most_tiles() * tile_size + threads_ * own_size() + alignment;
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
    const Index frames = args_.shape.steps * args_.shape.streams;
    for (const GatedSum<Real>& sum : sums_) begin(sum, rank, size);
    for (Index n = 0; n < frames; n += chunk_frames) {
      const Index depth = frames - n < chunk_frames ? frames - n : chunk_frames;
      for (int s = 0; s < 2; ++s)
        if (sums_[s].wanted()) add_chunk(s, n, depth, rank, size);
    }
  }

 private:
  static constexpr Index panel_size = outer_vectors * lanes<Real> * chunk_frames;
  // A line more than needed: without it the tiles all begin in the same set of the first-level cache.
  static constexpr Index tile_size = tile_rows * chunk_frames + line_length<Real>;
  static constexpr Index alignment = 64;

  bool wanted() const { return sums_[0].wanted() || sums_[1].wanted(); }
  Index widest() const { return args_.shape.hidden > args_.input_size ? args_.shape.hidden : args_.input_size; }
  Index own_size() const {
    return (panel_size + roomy(widest()) + roomy(args_.shape.hidden) + alignment - 1) / alignment * alignment;
  }

  Index tiles_of_block() const { return (args_.shape.hidden + tile_rows - 1) / tile_rows; }
  Index most_tiles() const { return (sums_[0].count > sums_[1].count ? sums_[0] : sums_[1]).count * tiles_of_block(); }
  Index block_of(Index tile) const { return tile / tiles_of_block(); }
  Index unit_of(Index tile) const { return tile % tiles_of_block() * tile_rows; }  // the first
  Index row_of(Index tile) const { return block_of(tile) * args_.shape.hidden + unit_of(tile); }
  Index rows_of(Index tile) const {
    const Index rest = args_.shape.hidden - unit_of(tile);
    return rest < tile_rows ? rest : tile_rows;
  }

  // Memory of one thread: a panel, a row of zeros, the sums of a chunk's deltas.
  Real* panel(int rank) const { return numbers_ + rank * own_size(); }
  Real* zeros(int rank) const { return panel(rank) + panel_size; }
  Real* chunk_sums(int rank) const { return zeros(rank) + roomy(widest()); }

  void begin(const GatedSum<Real>& sum, int rank, int size) const {
    for (Index c = 0; c < roomy(widest()); ++c) zeros(rank)[c] = 0;
    const Index tiles = sum.count * tiles_of_block();
    if (sum.bias)
      for (Index i = cut(tiles, size, rank); i < cut(tiles, size, rank + 1); ++i)
        for (Index r = 0; r < rows_of(i); ++r) sum.bias[row_of(i) + r] = 0;
  }

  // Whether both have the same deltas there, packed at the same place.
  bool is_common(Index block) const {
    const GatedSum<Real>&first = sums_[0], &second = sums_[1];
    return first.wanted() && second.wanted() && first.count == second.count &&
           first.blocks[block] == second.blocks[block];
  }

  // A thread's tiles of a sum, over some frames; the first sum packs what is common.
  void add_chunk(int which, Index first_frame, Index depth, int rank, int size) const {
    const GatedSum<Real>& sum = sums_[which];
    const Index all = sum.count * tiles_of_block(), begin = cut(all, size, rank), end = cut(all, size, rank + 1);
    Real* packed = numbers_ + threads_ * own_size() + cut(most_tiles(), size, rank) * tile_size;
    for (Index i = begin, next; i < end; i = next) {  // block by block
      const Index block = block_of(i);
      next = (block + 1) * tiles_of_block() < end ? (block + 1) * tiles_of_block() : end;
      if (which == 1 && is_common(block)) continue;
      Real* const biases[] = {sum.bias, is_common(block) ? sums_[1].bias : nullptr};
      pack(sum.blocks[block], packed + (i - begin) * tile_size, biases, chunk_sums(rank), first_frame, depth, i, next);
    }
    if (sum.weight) add_products(sum, packed, panel(rank), zeros(rank), first_frame, depth, begin, end);
  }

  // packed[tile][frame][row within the tile], zero past the last row, for tiles of one block; and the sums of every row.
  void pack(int block, Real* packed, Real* const (&biases)[2], Real* added, Index first_frame, Index depth, Index begin,
            Index end) const {
    const Index first = unit_of(begin), count = unit_of(end - 1) + rows_of(end - 1) - first, whole = count / tile_rows;
    const Real* from = args_.deltas + first_frame * stride_ + block * args_.shape.hidden + first;
    for (Index c = 0; c < count; ++c) added[c] = 0;
    for (Index k = 0; k < depth; ++k, from += stride_, packed += tile_rows) {
      Real* to = packed;
      for (Index i = 0; i < whole; ++i, to += tile_size)
        __builtin_memcpy(to, from + i * tile_rows, sizeof(Real) * tile_rows);
      if (whole * tile_rows < count)
        for (Index r = 0; r < tile_rows; ++r)
          to[r] = whole * tile_rows + r < count ? from[whole * tile_rows + r] : Real(0);
      if (biases[0] || biases[1])
        for_vectors<Real>(count, [added, from](Index c, auto lanes_used) {
          using Lanes = decltype(lanes_used);
          Lanes::put(lanes_used, added + c, Lanes::get(lanes_used, added + c) + Lanes::get(lanes_used, from + c));
        });
    }
    for (Real* bias : biases)
      for (Index c = 0; bias && c < count; ++c) bias[row_of(begin) + c] += added[c];
  }

  void add_products(const GatedSum<Real>& sum, const Real* packed, Real* panel, const Real* zeros, Index first_frame,
                    Index depth, Index begin, Index end) const {
    const Shape& shape = args_.shape;
    const Index size = sum.factor.columns, vectors = (size + lanes<Real> - 1) / lanes<Real>;
    const StreamPart all{shape.streams, 0, shape.streams, shape.steps * shape.streams};
    const FactorRows<Real> given(sum.factor, all, first_frame, first_frame + depth, zeros);
    const Columns cuts{0, vectors, outer_vectors};
    for (Index p = 0; p < cuts.panels(); ++p) {
      const Index v = cuts.start(p), column = v * lanes<Real>;
      const Index width = panel_width<Real>(v, cuts.start(p + 1) - v, size);
      const Index count = column + width > size ? size - column : width;
      const Real* in_panel[chunk_frames];
      const bool whole = count == width;  // read where they lie
      if (!whole) reach_factor(in_panel, panel, sum.factor, given.at, zeros, depth, column, count, width);
      for (Index i = begin; i < end; ++i)
        outer_tile_of<Real>(width)(packed + (i - begin) * tile_size, whole ? given.at : in_panel, whole ? column : 0,
                                   depth, sum.weight + row_of(i) * size + column, size, rows_of(i), count,
                                   first_frame == 0);
    }
  }

  const GatedAdjointArgs<Real>& args_;
  Index stride_;
  int threads_;
  GatedSum<Real> sums_[2] = {};
  char* memory_ = nullptr;
  Progress* finished_ = nullptr;
  Real* numbers_ = nullptr;
};

}  // namespace
}  // namespace ostinato::OSTINATO_ISA
