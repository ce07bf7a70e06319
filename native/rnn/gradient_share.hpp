// One thread's share of a layer's weight gradients: what it is made in, and how. rnn/gradient.hpp says what the sums are
// and who makes which.
#pragma once

#include "linear/sparse_columns.hpp"
#include "rnn/arguments.hpp"
#include "rnn/interleaved_gradient.hpp"
#include "simd/reduce.hpp"
#include "simd/transpose.hpp"
#include "team/grid.hpp"
#include "team/scratch.hpp"
#include "team/trail.hpp"

namespace ostinato::OSTINATO_ISA {
namespace {

// Where the sums of one part go.
template <class Real>
struct PartSums {
  Real *hh, *ih;   // (H, H), (H, I)
  Real* deltas;    // (H)
  Real* by_input;  // (I, H): the part of ih that comes from sparse chunks, or from inputs that are few, transposed
};

// Memory of one thread.
template <class Real>
struct GradientMemory {
  Real *deltas, *panel, *zeros;  // packed deltas of a chunk, a panel of a factor, a row of a factor
  SparseColumns<Real> sparse;  // of a chunk

  static constexpr Index panel_size = outer_vectors * lanes<Real> * chunk_frames;

  // Packed deltas of a tile of rows and a chunk. A line more than they need: without it they all begin in the same
  // set of the first-level cache, which a frame's deltas, going to every tile, then fall out of.
  static constexpr Index tile_size = tile_rows * chunk_frames + line_length<Real>;

  static constexpr Index alignment = 64;

  static Index zeros_size(const Shape& shape, Index inputs) {
    return roomy(shape.hidden > inputs ? shape.hidden : inputs);
  }

  // For all threads together, enough for as many or fewer of them.
  static Index size(const Shape& shape, Index inputs, int threads) {
    const Index tiles = parts_of(shape) * ((shape.hidden + tile_rows - 1) / tile_rows);
    const Index own = panel_size + zeros_size(shape, inputs) + SparseColumns<Real>::size(inputs) + 2 * alignment;
    return (tiles + threads) * tile_size + threads * own;
  }

  // That of one of them.
  static GradientMemory at(Real* all, Index size, const Shape& shape, Index inputs, int rank, int threads) {
    Real* panel = all + cut(size, threads, rank) / alignment * alignment;
    Real* zeros = panel + panel_size;
    Real* sparse = zeros + zeros_size(shape, inputs);
    __builtin_memset(zeros, 0, static_cast<unsigned long>(zeros_size(shape, inputs)) * sizeof(Real));
    Real* deltas = sparse + SparseColumns<Real>::size(inputs);
    return {deltas, panel, zeros, SparseColumns<Real>::at(sparse, inputs)};
  }
};

// One thread's share of one part: rows [first, last) of all sums.
template <class Real>
struct GradientShare {
  using Memory = GradientMemory<Real>;
  const LayerBackwardArgs<Real>& args;
  StreamPart part;
  Index first, last;
  PartSums<Real> sums;
  Memory memory;
  const InterleavedGradient<Real>* interleaved;  // has made some of the sums of W; or null

  Index ring = 0;  // see AdjointArgs

  // Where the part's deltas are.
  StreamPart deltas() const { return args.scan.by_part ? part.in_parts(ring) : part; }

  // How many frames earlier in their array those of a step lie that is in a ring.
  Index shift(Index frame) const {
    if (!ring) return 0;
    const Index width = part.last - part.first, step = frame / width;
    return (step - Trail<Real>::in_ring(step, args.scan.shape.steps, ring)) * width;
  }

  Index tiles_of_rows() const { return (last - first + tile_rows - 1) / tile_rows; }

  // deltas[tile][frame][row within the tile], zero past the last row.
  void pack_deltas(Index begin, Index end) const {
    const Index hidden = args.scan.shape.hidden, count = last - first, whole = count / tile_rows;
    const Real* delta = args.delta() + first;
    Real *packed = memory.deltas, *const added = sums.deltas + first;
    const Index earlier = shift(begin);
    deltas().visit(begin - earlier, end - earlier, [=, &packed](Index n) {
      const Real* from = delta + n * hidden;
      Real* to = packed;
      for (Index i = 0; i < whole; ++i, to += Memory::tile_size)
        __builtin_memcpy(to, from + i * tile_rows, sizeof(Real) * tile_rows);
      if (whole * tile_rows < count)
        for (Index r = 0; r < tile_rows; ++r)
          to[r] = whole * tile_rows + r < count ? from[whole * tile_rows + r] : Real(0);
      packed += tile_rows;
      for_vectors<Real>(count, [=](Index c, auto lanes_used) {
        using Lanes = decltype(lanes_used);
        Lanes::put(lanes_used, added + c, Lanes::get(lanes_used, added + c) + Lanes::get(lanes_used, from + c));
      });
    });
  }

  // Where the last columns of a factor's rows are, or a copy of them.
  template <class Number>
  void place(const Real** at, const Factor<Number>& factor, const FactorRows<Number>& given, Index depth, Index column,
             Index count, Index width) const {
    if constexpr (sizeof(Number) == sizeof(Real)) {
      reach_factor(at, memory.panel, factor, given.at, memory.zeros, depth, column, count, width);
    } else {
      pack_factor(memory.panel, given.at, depth, column, count, width);
      for (Index k = 0; k < depth; ++k) at[k] = memory.panel + k * width;
    }
  }

  // out (hidden, factor.columns) += packed deltas' factor over the beginning of a chunk, or = where `begins`; columns
  // [left, right) of it. A factor of the sums' own type is read where it lies but for its last rows, where a whole vector
  // may reach past the array.
  template <class Number>
  void add_product(const Factor<Number>& factor, Index begin, Index end, Real* out, bool begins, Index left,
                   Index right) const {
    const Index vectors = (right - left + lanes<Real> - 1) / lanes<Real>, depth = end - begin;
    const Columns cuts{0, vectors, outer_vectors};
    const bool far = part.frames * factor.columns * static_cast<Index>(sizeof(Number)) > far_bytes;
    const FactorRows<Number> given(factor, part, begin, end, memory.zeros);
    for (Index p = 0; p < cuts.panels(); ++p) {
      const Index v = cuts.start(p), column = left + v * lanes<Real>;
      const Index width = panel_width<Real>(v, cuts.start(p + 1) - v, right - left);
      const Index count = column + width > right ? right - column : width;
      const Real* packed[chunk_frames];
      const Real* const* rows = packed;
      Index first_here = 0;
      if constexpr (sizeof(Number) == sizeof(Real))
        if (count == width) rows = given.at, first_here = column;
      if (rows == packed) place(packed, factor, given, depth, column, count, width);
      const Index tiles = tiles_of_rows(), next = column + width;
      for (Index i = 0; i < tiles; ++i) {
        if (far && next < right)
          fetch_factor(given.at, cut(depth, tiles, i), cut(depth, tiles, i + 1), next,
                       next + width < right ? width : right - next);
        const Index row = first + i * tile_rows, rows_here = last - row < tile_rows ? last - row : tile_rows;
        outer_tile_of<Real>(width)(memory.deltas + i * Memory::tile_size, rows, first_here, depth,
                       out + row * factor.columns + column, factor.columns, rows_here, count, begins);
      }
    }
  }

  // by_input += x' delta over a chunk, or = where `begins`. False, and nothing, where too many inputs are not zero.
  bool add_sparse(Index begin, Index end, bool begins) const {
    const Input<Real>& x = args.input;
    const SparseColumns<Real>& sparse = memory.sparse;
    if (!(x.binary ? sparse.find(x.binary, part, begin, end) : sparse.find(x.real, part, begin, end))) return false;
    const Index hidden = args.scan.shape.hidden;
    const FactorRows<Real> rows(Factor<Real>{args.delta(), hidden}, deltas(), begin, end, nullptr);
    sparse.add_products(rows.at, first, last, sums.by_input, hidden, begins);
    return true;
  }

  // Whether a tile of the inputs would be half empty or more.
  static bool are_few(const LayerBackwardArgs<Real>& args) {
    return args.input.real && !args.sparse && args.input.size <= lanes<Real> / 2;
  }

  // by_input += x' delta over a chunk, or = where `begins`, for a few inputs: the sums of one or two stay in registers,
  // and vectors are of units.
  void add_few_inputs(Index begin, Index end, bool begins) const {
    const Index hidden = args.scan.shape.hidden, inputs = args.input.size, depth = end - begin, earlier = shift(begin);
    const FactorRows<Real> x(Factor<Real>{args.input.real, inputs}, part, begin, end, nullptr);
    const FactorRows<Real> d(Factor<Real>{args.delta(), hidden}, deltas(), begin - earlier, end - earlier, nullptr);
    for_strips<Real>(first, last, [&](Index c, auto strip) {
      const auto add = [&]<int count>(Index v, Constant<count>) {
        decltype(strip) sum[count];
#pragma GCC unroll 2
        for (int i = 0; i < count; ++i) sum[i] = strip, sum[i].clear();
        for (Index k = 0; k < depth; ++k)
#pragma GCC unroll 2
          for (int i = 0; i < count; ++i) sum[i].add_product(x.at[k][v + i], d.at[k] + c);
#pragma GCC unroll 2
        for (int i = 0; i < count; ++i) {
          Real* const to = sums.by_input + (v + i) * hidden + c;
          if (!begins) sum[i].add_from(to);
          sum[i].store_to(to);
        }
      };
      Index v = 0;
      if constexpr (halves)  // there are registers for two
        for (; v + 1 < inputs; v += 2) add(v, Constant<2>{});
      for (; v < inputs; ++v) add(v, Constant<1>{});
    });
  }

  void add_inputs(Index begin, Index end, bool begins) const {
    const Input<Real>& x = args.input;
    if (are_few(args))
      add_few_inputs(begin, end, begins);
    else if (x.binary)
      add_product(Factor<unsigned char>{x.binary, x.size}, begin, end, sums.ih, begins, 0, x.size);
    else
      add_product(Factor<Real>{x.real, x.size, 0, nullptr, nullptr, args.scan.shape.steps * args.scan.shape.streams},
                  begin, end, sums.ih, begins, 0, x.size);
  }

  // ih = by_input', or += where dense chunks have begun it.
  void finish_sparse(bool begun) const {
    const Index inputs = args.input.size, hidden = args.scan.shape.hidden;
    if (!begun)
      transpose_matrix(sums.ih + first * inputs, inputs, sums.by_input + first, hidden, inputs, last - first);
    else
      for (Index h = first; h < last; ++h)
        for (Index v = 0; v < inputs; ++v) sums.ih[h * inputs + v] += sums.by_input[v * hidden + h];
  }

  template <class Body>
  void for_chunks(Index first_frame, Index last_frame, const Body& body) const {
    for (Index begin = first_frame; begin < last_frame; begin += chunk_frames) {
      const Index end = begin + chunk_frames < last_frame ? begin + chunk_frames : last_frame;
      pack_deltas(begin, end);
      body(begin, end);
    }
  }

  void clear() const {
    for (Index h = first; h < last; ++h) sums.deltas[h] = 0;
  }

  // What the adjoint scan has left over.
  void add_states(const Factor<Real>& before, Index begin, Index end, bool begins) const {
    const Index hidden = args.scan.shape.hidden, done = interleaved ? interleaved->columns() : 0;
    if (done && begin < interleaved->rest())
      add_product(before, begin, end < interleaved->rest() ? end : interleaved->rest(), sums.hh, false, 0, done);
    if (done < hidden) add_product(before, begin, end, sums.hh, begins, done, hidden);
  }

  Factor<Real> states_before() const {
    const Shape& shape = args.scan.shape;
    return {args.states, shape.hidden, shape.streams, args.h0, args.scan.starts, shape.steps * shape.streams};
  }

  // Steps [begin, end) of the part, the last ones first; none is sparse.
  void add_steps(Index begin, Index end) const {
    const Factor<Real> before = states_before();
    const Index width = part.last - part.first;
    bool begins = end == args.scan.shape.steps;
    if (begins) clear();
    for_chunks(begin * width, end * width, [&](Index from, Index to) {
      if (sums.hh) add_states(before, from, to, begins);
      if (sums.ih) add_inputs(from, to, begins);
      begins = false;
    });
    if (sums.ih && begin == 0 && are_few(args)) finish_sparse(false);
  }

  // How many steps' deltas a chunk needs that goes by as soon as it is made; 0 where parts differ in it, where it is one,
  // or where there are no more.
  static Index ring_of(const Shape& shape) {
    const Index at_once = steps_at_once(StreamPart::of(shape, 0));
    return at_once < 2 || at_once >= shape.steps || shape.streams % parts_of(shape) ? 0 : at_once;
  }

  // As many of a part's steps as make a chunk, or one.
  static Index steps_at_once(const StreamPart& part) {
    const Index width = part.last - part.first;
    return width < chunk_frames ? chunk_frames / width : 1;
  }

  void run_backwards() const {
    const Index at_once = steps_at_once(part);
    for (Index end = args.scan.shape.steps; end > 0; end -= at_once) add_steps(end > at_once ? end - at_once : 0, end);
  }

  void run() const {
    const Factor<Real> before = states_before();
    bool sparse = false, dense = false;  // whether such a chunk has been
    clear();
    for_chunks(0, part.frames, [&](Index begin, Index end) {
      if (sums.hh) add_states(before, begin, end, begin == 0);
      if (!sums.ih) return;
      if (args.sparse && add_sparse(begin, end, !sparse)) {
        sparse = true;
      } else {
        add_inputs(begin, end, !dense);
        dense = true;
      }
    });
    if (!sparse) {
      if (sums.ih && are_few(args)) finish_sparse(false);
      return;
    }
    if (all_finite(sums.deltas + first, last - first)) {
      finish_sparse(dense);
    } else {  // a delta that is not finite makes a gradient of NaN even where the input is zero
      clear();
      for_chunks(0, part.frames, [&](Index begin, Index end) { add_inputs(begin, end, begin == 0); });
    }
  }
};

}  // namespace
}  // namespace ostinato::OSTINATO_ISA
