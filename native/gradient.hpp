// The weight gradients of a layer: sums over all frames of outer products, delta' x for each x the weights multiply.
//
// Every thread owns some rows (units) of all gradients, so nothing is added up between threads and the number of
// threads changes no bit. Frames go by in chunks, whose deltas are packed once for all products.
#pragma once

#include "sparse.hpp"

namespace ostinato::OSTINATO_ISA {
namespace {

constexpr Index chunk_frames = piece_depth;
constexpr int outer_vectors = tile_sums / tile_rows;

// out (tile_rows, count <= width) += a' panel, or = where `begins`, for a (depth, tile_rows) and panel (depth, width);
// only the first `rows` rows are written.
template <class Real, int vectors, bool halved>
void outer_tile(const Real* a, const Real* panel, Index depth, Real* out, Index stride, Index rows, Index count,
                bool begins) {
  using Columns = Strip<Real, vectors, halved>;
  constexpr int width = Columns::width;
  Columns sum[tile_rows];
#pragma GCC unroll 16
  for (int i = 0; i < tile_rows; ++i) sum[i].clear();
  for (Index k = 0; k < depth; ++k, a += tile_rows, panel += width) {
    Columns columns;
    columns.load_from(panel);
#pragma GCC unroll 16
    for (int i = 0; i < tile_rows; ++i) sum[i].add_product(a[i], columns);
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

// A row for every frame: the inputs, or the state before, which is `late` frames (one step) earlier in x; the first
// ones are in `initial`, or zero where that is null. Zero where `dropped` says so.
template <class Number>
struct Factor {
  const Number* x;  // (frames, columns)
  Index columns;
  Index late = 0;
  const Number* initial = nullptr;         // (late, columns)
  const unsigned char* dropped = nullptr;  // per frame

  const Number* row(Index n) const {
    if (dropped && dropped[n]) return nullptr;
    if (n >= late) return x + (n - late) * columns;
    return initial ? initial + n * columns : nullptr;
  }
};

// panel (frames, width) = columns [first, first + width) of frames [begin, end); zero past the last column.
template <class Real, class Number>
void pack_factor(Real* panel, const Factor<Number>& factor, Index begin, Index end, Index first, Index width) {
  const Index count = first + width > factor.columns ? factor.columns - first : width;
  for (Index n = begin; n < end; ++n, panel += width) {
    const Number* from = factor.row(n);
    Index c = 0;
    if (!from) {
      for (; c < count; ++c) panel[c] = 0;
    } else if constexpr (sizeof(Number) == sizeof(Real)) {
      for_vectors<Real>(count, [&](Index i, auto lanes_used) {
        using Lanes = decltype(lanes_used);
        Lanes::put(lanes_used, panel + i, Lanes::get(lanes_used, from + first + i));
      });
      c = count;
    } else {
      for (; c < count; ++c) panel[c] = static_cast<Real>(from[first + c]);
    }
    for (; c < width; ++c) panel[c] = 0;
  }
}

// One thread's share: rows [first, last) of every gradient, and memory of its own.
template <class Real>
struct GradientShare {
  const LayerGradientArgs<Real>& args;
  Index first, last;
  Real *deltas, *panel, *sums;  // packed deltas of a chunk, a panel of a factor, the deltas' sums over frames

  static constexpr Index panel_size = outer_vectors * lanes<Real> * chunk_frames;

  // Packed deltas of a tile of rows and a chunk. A line more than they need: without it they all begin in the same
  // set of the first-level cache, which a frame's deltas, going to every tile, then fall out of.
  static constexpr Index tile_size = tile_rows * chunk_frames + 64 / static_cast<Index>(sizeof(Real));

  // Memory for all shares together, enough for as many or fewer threads.
  static Index memory(Index hidden, int threads) {
    const Index tiles = hidden / tile_rows + threads + 1;
    return tiles * (tile_size + tile_rows) + threads * (panel_size + 2 * alignment);
  }
  static constexpr Index alignment = 64;

  Index tiles_of_rows() const { return (last - first + tile_rows - 1) / tile_rows; }

  // deltas[tile][frame][row within the tile], zero past the last row.
  void pack_deltas(Index begin, Index end) const {
    const Index depth = end - begin, tiles = tiles_of_rows(), hidden = args.shape.hidden;
    for (Index n = 0; n < depth; ++n) {
      const Real* from = args.delta + (begin + n) * hidden;
      for (Index i = 0; i < tiles; ++i) {
        Real* to = deltas + i * tile_size + n * tile_rows;
        const Index row = first + i * tile_rows, count = last - row;
        if (count >= tile_rows)
          __builtin_memcpy(to, from + row, sizeof(Real) * tile_rows);
        else
          for (int r = 0; r < tile_rows; ++r) to[r] = r < count ? from[row + r] : Real(0);
      }
      for_vectors<Real>(last - first, [&](Index c, auto lanes_used) {
        using Lanes = decltype(lanes_used);
        Real* sum = sums + c;
        Lanes::put(lanes_used, sum, Lanes::get(lanes_used, sum) + Lanes::get(lanes_used, from + first + c));
      });
    }
  }

  // out (hidden, factor.columns) += packed deltas' factor over one chunk, or = where `begins`.
  template <class Number>
  void add_product(const Factor<Number>& factor, Index begin, Index end, Real* out, bool begins) const {
    const Index vectors = (factor.columns + lanes<Real> - 1) / lanes<Real>, depth = end - begin;
    const Columns cuts{0, vectors, outer_vectors};
    for (Index p = 0; p < cuts.panels(); ++p) {
      const Index v = cuts.start(p), column = v * lanes<Real>;
      const Index width = panel_width<Real>(v, cuts.start(p + 1) - v, factor.columns);
      const Index count = column + width > factor.columns ? factor.columns - column : width;
      pack_factor(panel, factor, begin, end, column, width);
      for (Index i = 0; i < tiles_of_rows(); ++i) {
        const Index row = first + i * tile_rows, rows = last - row < tile_rows ? last - row : tile_rows;
        product(width)(deltas + i * tile_size, panel, depth, out + row * factor.columns + column, factor.columns,
                      rows, count, begins);
      }
    }
  }

  using Product = void (*)(const Real*, const Real*, Index, Real*, Index, Index, Index, bool);
  static Product product(Index width) {
    static_assert(outer_vectors == 2 || outer_vectors == 3);
    const Index vectors = (width + lanes<Real> - 1) / lanes<Real>;
    const bool halved = width < vectors * lanes<Real>;
    if constexpr (outer_vectors == 3)
      if (vectors == 3) return product_of<3>(halved);
    return vectors == 2 ? product_of<2>(halved) : product_of<1>(halved);
  }

  template <int vectors>
  static Product product_of(bool halved) {
    if constexpr (halves)
      if (halved) return outer_tile<Real, vectors, true>;
    return outer_tile<Real, vectors, false>;
  }

  // by_input (inputs, hidden) += x' delta over one chunk, at this share's columns, strip by strip: a strip of the sums
  // stays in the first-level cache.
  void add_sparse(const Nonzeros<Real>& nonzeros, Index begin, Index end, Real* by_input) const {
    constexpr int strip = 4;
    Index c = first;
    for (; c + strip * lanes<Real> <= last; c += strip * lanes<Real>)
      for (Index n = begin; n < end; ++n) {
        Vec<Real> delta[strip];
#pragma GCC unroll 4
        for (int k = 0; k < strip; ++k) delta[k] = load(args.delta + n * args.shape.hidden + c + k * lanes<Real>);
        for (const Nonzero<Real>* x = nonzeros.begin(n); x < nonzeros.begin(n + 1); ++x) {
          Real* to = by_input + x->column * args.shape.hidden + c;
#pragma GCC unroll 4
          for (int k = 0; k < strip; ++k)
            store(to + k * lanes<Real>, load(to + k * lanes<Real>) + x->value * delta[k]);
        }
      }
    for (Index n = begin; c < last && n < end; ++n)
      for (const Nonzero<Real>* x = nonzeros.begin(n); x < nonzeros.begin(n + 1); ++x)
        for_vectors<Real>(last - c, [&](Index i, auto lanes_used) {
          using Lanes = decltype(lanes_used);
          Real* to = by_input + x->column * args.shape.hidden + c + i;
          const Vec<Real> delta = Lanes::get(lanes_used, args.delta + n * args.shape.hidden + c + i);
          Lanes::put(lanes_used, to, Lanes::get(lanes_used, to) + x->value * delta);
        });
  }

  void add_inputs(Index begin, Index end) const {
    const Input<Real>& x = args.input;
    if (x.binary)
      add_product(Factor<unsigned char>{x.binary, x.size}, begin, end, args.grad_ih, begin == 0);
    else
      add_product(Factor<Real>{x.real, x.size}, begin, end, args.grad_ih, begin == 0);
  }

  // A delta that is not finite makes a gradient of NaN even where the input is zero.
  void finish_sparse(const Real* by_input) const {
    const Index inputs = args.input.size;
    if (all_finite(sums, last - first)) {
      transpose_matrix(args.grad_ih + first * inputs, inputs, by_input + first, args.shape.hidden, inputs, last - first);
      return;
    }
    for (Index begin = 0; begin < args.frames(); begin += chunk_frames) {
      const Index end = begin + chunk_frames < args.frames() ? begin + chunk_frames : args.frames();
      pack_deltas(begin, end);
      add_inputs(begin, end);
    }
  }

  void run(const Nonzeros<Real>* nonzeros, Real* by_input) const {
    for (Index h = 0; h < last - first; ++h) sums[h] = 0;
    if (nonzeros)
      for (Index v = 0; v < args.input.size; ++v)
        for (Index h = first; h < last; ++h) by_input[v * args.shape.hidden + h] = 0;
    for (Index begin = 0; begin < args.frames(); begin += chunk_frames) {
      const Index end = begin + chunk_frames < args.frames() ? begin + chunk_frames : args.frames();
      pack_deltas(begin, end);
      if (args.grad_hh)
        add_product(Factor<Real>{args.states, args.shape.hidden, args.shape.streams, args.h0, args.starts}, begin, end, args.grad_hh,
                    begin == 0);
      if (nonzeros) add_sparse(*nonzeros, begin, end, by_input);
      else if (args.grad_ih) add_inputs(begin, end);
    }
    Real* const biases[] = {args.grad_bias, args.second_grad_bias};
    for (Real* out : biases)
      if (out)
        for (Index h = first; h < last; ++h) out[h] = sums[h - first];
    if (nonzeros) finish_sparse(by_input);
  }
};

template <class Real>
bool layer_gradient(const LayerGradientArgs<Real>& args) {
  const int threads = args.threads < 1 ? 1 : args.threads;
  Nonzeros<Real> nonzeros;
  const bool sparse = args.grad_ih && args.sparse && nonzeros.find(args.input, args.frames());
  const Index all = GradientShare<Real>::memory(args.shape.hidden, threads), shared = sparse ? args.input.size * args.shape.hidden : 0;
  Real* memory = allocate_reals<Real>(all + shared);
  if (!memory) return false;
  struct Context {
    const LayerGradientArgs<Real>& args;
    const Nonzeros<Real>* nonzeros;
    Real* memory;
    Index all;
  } context{args, sparse ? &nonzeros : nullptr, memory, all};
  run_team(
      threads,
      [](void* data, int rank, int size) {
        const Context& c = *static_cast<Context*>(data);
        const FlushDenormals flush;
        using Share = GradientShare<Real>;
        const Index hidden = c.args.shape.hidden, tiles = (hidden + tile_rows - 1) / tile_rows;
        const Index first = cut(tiles, size, rank) * tile_rows, end = cut(tiles, size, rank + 1) * tile_rows;
        if (first == end) return;
        Real* mine = c.memory + cut(c.all, size, rank) / Share::alignment * Share::alignment;
        Real* panel = mine + (end - first) / tile_rows * Share::tile_size;
        Share{c.args, first, end < hidden ? end : hidden, mine, panel, panel + Share::panel_size}.run(
            c.nonzeros, c.memory + c.all);
      },
      &context);
  release(memory);
  return true;
}

}  // namespace
}  // namespace ostinato::OSTINATO_ISA
