// Linear maps of inputs that are mostly zeros, piano-rolls above all: a sum over what is not zero.
#pragma once

#include "scan.hpp"

namespace ostinato::OSTINATO_ISA {
namespace {

// Where one input in four is not zero, a dense product is as fast.
constexpr Index densest = 4;

template <class Real>
OSTINATO_INLINE Real* allocate_reals(Index count) {
  return static_cast<Real*>(allocate(static_cast<unsigned long>(count) * sizeof(Real)));
}

// The inputs of one frame that are not zero, appended to `found`; returns the new end.
template <class Input>
OSTINATO_INLINE int* find_nonzeros(const Input* x, Index count, int* found) {
  constexpr Index group = 8;
  using Word = unsigned long long;
  Index v = 0;
  for (; v + group <= count; v += group) {  // most groups of eight are silent
    Word words[sizeof(Input)], any = 0;
    __builtin_memcpy(words, x + v, sizeof(words));
    for (const Word word : words) any |= word;
    if (!any) continue;
    for (Index i = v; i < v + group; ++i)
      if (x[i] != Input(0)) *found++ = static_cast<int>(i);
  }
  for (; v < count; ++v)
    if (x[v] != Input(0)) *found++ = static_cast<int>(v);
  return found;
}

// The non-zero inputs of every frame: those of frame n are at columns [begin[n], begin[n + 1]).
template <class Real>
class Nonzeros {
 public:
  // False when memory is short or the inputs are too dense to be worth it.
  bool find(const Input<Real>& input, Index frames) {
    input_ = input;
    const Index most = frames * input.size / densest;
    begin_ = static_cast<Index*>(allocate(static_cast<unsigned long>(frames + 1) * sizeof(Index)));
    columns_ = static_cast<int*>(allocate(static_cast<unsigned long>(most + input.size) * sizeof(int)));
    if (!begin_ || !columns_) return false;
    return input.binary ? list(input.binary, frames, most) : list(input.real, frames, most);
  }

  template <class Body>
  OSTINATO_INLINE void for_frame(Index n, const Body& body) const {
    const Index row = n * input_.size;
    for (Index i = begin_[n]; i < begin_[n + 1]; ++i) {
      const Index at = row + columns_[i];
      body(columns_[i], input_.binary ? static_cast<Real>(input_.binary[at]) : input_.real[at]);
    }
  }

  Nonzeros() = default;
  Nonzeros(const Nonzeros&) = delete;
  Nonzeros& operator=(const Nonzeros&) = delete;
  ~Nonzeros() {
    release(begin_);
    release(columns_);
  }

 private:
  template <class Number>
  bool list(const Number* x, Index frames, Index most) {
    int* end = columns_;
    for (Index n = 0; n < frames; ++n) {
      begin_[n] = end - columns_;
      end = find_nonzeros(x + n * input_.size, input_.size, end);
      if (end - columns_ > most) return false;
    }
    begin_[frames] = end - columns_;
    return true;
  }

  Input<Real> input_{};
  Index* begin_ = nullptr;
  int* columns_ = nullptr;
};

// to (columns, rows) = from (rows, columns) transposed; consecutive rows are a stride apart.
template <class Real>
void transpose_matrix(Real* to, Index to_stride, const Real* from, Index from_stride, Index rows, Index columns) {
  constexpr Index n = lanes<Real>;
  const Index whole_rows = rows / n * n, whole_columns = columns / n * n;
  for (Index r = 0; r < whole_rows; r += n)
    for (Index c = 0; c < whole_columns; c += n) {
      Vec<Real> square[n];
#pragma GCC unroll 16
      for (Index i = 0; i < n; ++i) square[i] = load(from + (r + i) * from_stride + c);
      transpose<Real>(square, FirstIntegers<n>{});
#pragma GCC unroll 16
      for (Index i = 0; i < n; ++i) store(to + (c + i) * to_stride + r, square[i]);
    }
  for (Index r = 0; r < rows; ++r)
    for (Index c = r < whole_rows ? whole_columns : 0; c < columns; ++c)
      to[c * to_stride + r] = from[r * from_stride + c];
}

template <class Real>
bool all_finite(const Real* x, Index count) {
  Vec<Real> wrong{};
  for_vectors<Real>(count, [&](Index i, auto lanes_used) {
    using Lanes = decltype(lanes_used);
    wrong += Lanes::get(lanes_used, x + i) * Real(0);  // infinity and NaN times zero are NaN
  });
  for (int k = 0; k < lanes<Real>; ++k)
    if (wrong[k] != Real(0)) return false;
  return true;
}

// x U' + b of sparse frames, some columns of one frame at a time.
template <class Real>
struct SparseProjection {
  Nonzeros<Real> nonzeros;
  Real *by_input = nullptr, *bias = nullptr;  // U' (I, H), so that one input's weights are a row, and b (H)
  Index hidden = 0;

  // False when memory is short, or when the sum would not be what a dense product is: an infinity or a NaN among the
  // weights reaches every frame, since it is not zero even times zero.
  bool prepare(const LayerForwardArgs<Real>& args) {
    const Index inputs = args.input.size, frames = args.scan.shape.steps * args.scan.shape.streams;
    hidden = args.scan.shape.hidden;
    if (!all_finite(args.weight_ih, hidden * inputs) || !nonzeros.find(args.input, frames)) return false;
    by_input = allocate_reals<Real>((inputs + 1) * hidden);
    if (!by_input) return false;
    bias = by_input + inputs * hidden;
    transpose_matrix(by_input, hidden, args.weight_ih, inputs, hidden, inputs);
    for (Index h = 0; h < hidden; ++h)
      bias[h] = (args.bias ? args.bias[h] : Real(0)) + (args.second_bias ? args.second_bias[h] : Real(0));
    return true;
  }

  void project(Index frame, Index first, Index last, Real* out) const {
    constexpr Index step = 4 * lanes<Real>;
    Index c = first;
    for (; c + step <= last; c += step) {
      Vec<Real> sum[4];
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k) sum[k] = load(bias + c + k * lanes<Real>);
      nonzeros.for_frame(frame, [&](Index input, Real value) {
#pragma GCC unroll 4
        for (int k = 0; k < 4; ++k) sum[k] += value * load(by_input + input * hidden + c + k * lanes<Real>);
      });
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k) store(out + c + k * lanes<Real>, sum[k]);
    }
    for_vectors<Real>(last - c, [&](Index i, auto lanes_used) {
      using Lanes = decltype(lanes_used);
      Vec<Real> sum = Lanes::get(lanes_used, bias + c + i);
      nonzeros.for_frame(frame, [&](Index input, Real value) {
        sum += value * Lanes::get(lanes_used, by_input + input * hidden + c + i);
      });
      Lanes::put(lanes_used, out + c + i, sum);
    });
  }

  SparseProjection() = default;
  SparseProjection(const SparseProjection&) = delete;
  SparseProjection& operator=(const SparseProjection&) = delete;
  ~SparseProjection() { release(by_input); }
};

}  // namespace
}  // namespace ostinato::OSTINATO_ISA
