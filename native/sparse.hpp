// Linear maps of inputs that are mostly zeros, piano-rolls above all: a sum over what is not zero.
#pragma once

#include "scan.hpp"

namespace ostinato::OSTINATO_ISA {
namespace {

// Where one input in four is not zero, a dense product is as fast.
constexpr Index densest = 4;

// One input that is not zero.
template <class Real>
struct Nonzero {
  int column;
  Real value;
};

// The inputs of one frame that are not zero, appended to `found`, which has room for all; returns the new end.
template <class Real, class Number>
OSTINATO_INLINE Nonzero<Real>* find_nonzeros(const Number* x, Index count, Nonzero<Real>* found) {
  constexpr Index group = 8;
  Index v = 0;
  for (; v + group <= count; v += group) {  // most groups of eight are silent
    unsigned long long words[sizeof(Number)], any = 0;
    __builtin_memcpy(words, x + v, sizeof(words));
#pragma GCC unroll 8
    for (const auto word : words) any |= word;
    if (!any) continue;
#pragma GCC unroll 8
    for (Index i = v; i < v + group; ++i) {  // without branches: which ones sound cannot be foretold
      *found = {static_cast<int>(i), static_cast<Real>(x[i])};
      found += x[i] != Number(0);
    }
  }
  for (; v < count; ++v)
    if (x[v] != Number(0)) *found++ = {static_cast<int>(v), static_cast<Real>(x[v])};
  return found;
}

// Whether few inputs are not zero, judged by at most 256 frames from everywhere.
template <class Number>
bool are_sparse(const Number* x, Index inputs, Index frames) {
  constexpr Index most = 256;
  const Index looked_at = frames < most ? frames : most;
  Index sounding = 0;
  for (Index i = 0; i < looked_at; ++i) {
    const Number* from = x + cut(frames, looked_at, i) * inputs;
    for (Index v = 0; v < inputs; ++v) sounding += from[v] != Number(0);
  }
  return sounding <= looked_at * inputs / densest;
}

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

// x U' + b of sparse frames, a step's rows and columns at a time.
template <class Real>
class SparseProjection {
 public:
  // False when memory is short, or when the sum would not be what a dense product is: an infinity or a NaN among the
  // weights reaches every frame, since it is not zero even times zero; or when a dense product is as fast.
  bool begin(const Shape& shape, const Input<Real>& input, const Real* weight_ih, const Real* first_bias,
             const Real* second_bias, int threads) {
    const Index frames = shape.steps * shape.streams;
    streams_ = shape.streams, hidden_ = shape.hidden, input_ = input;
    weight_ih_ = weight_ih, first_bias_ = first_bias, second_bias_ = second_bias;
    if (!all_finite(weight_ih, hidden_ * input.size)) return false;
    if (!(input.binary ? are_sparse(input.binary, input.size, frames) : are_sparse(input.real, input.size, frames)))
      return false;
    const auto lists = static_cast<unsigned long>((threads < 1 ? 1 : threads) * list_size()) * sizeof(Nonzero<Real>);
    const auto by_input = static_cast<unsigned long>((input.size + 1) * hidden_) * sizeof(Real);
    memory_ = static_cast<char*>(allocate(lists + by_input));
    by_input_ = reinterpret_cast<Real*>(memory_ + lists);
    return memory_;
  }

  // To be made before the first step.
  Preparation preparation() const {
    return {[](const void* self, Index first, Index last) {
              static_cast<const SparseProjection*>(self)->transpose_weights(first, last);
            },
            this};
  }

  // The share's part of a step's.
  void project(Index step, const Share<Real>& share, const Rows<Real>& to) const {
    Nonzero<Real>* found = reinterpret_cast<Nonzero<Real>*>(memory_) + share.rank * list_size();
    for (Index row = share.row_begin; row < share.row_end; ++row) {
      const Index x = (step * streams_ + row) * input_.size;
      const Nonzero<Real>* end = input_.binary ? find_nonzeros(input_.binary + x, input_.size, found)
                                               : find_nonzeros(input_.real + x, input_.size, found);
      add_up(found, end, share.first_column(), share.last_column(), to.at(row * hidden_));
    }
  }

  SparseProjection() = default;
  SparseProjection(const SparseProjection&) = delete;
  SparseProjection& operator=(const SparseProjection&) = delete;
  ~SparseProjection() { release(memory_); }

 private:
  // One more than there can be is written in vain; threads keep off each other's lines.
  Index list_size() const { return input_.size / 16 * 16 + 32; }

  void transpose_weights(Index first, Index last) const {
    const Index inputs = input_.size;
    transpose_matrix(by_input_ + first, hidden_, weight_ih_ + first * inputs, inputs, last - first, inputs);
    Real* bias = by_input_ + inputs * hidden_;
    for (Index h = first; h < last; ++h)
      bias[h] = (first_bias_ ? first_bias_[h] : Real(0)) + (second_bias_ ? second_bias_[h] : Real(0));
  }

  // to[first..last) = b + sum of the rows of U' that `found` names.
  void add_up(const Nonzero<Real>* found, const Nonzero<Real>* end, Index first, Index last, Real* to) const {
    Index c = first;
    for (; c + 8 * lanes<Real> <= last; c += 8 * lanes<Real>) add_up_vectors<8>(found, end, c, to);
    if (c + 4 * lanes<Real> <= last) add_up_vectors<4>(found, end, c, to), c += 4 * lanes<Real>;
    const Real* bias = by_input_ + input_.size * hidden_;
    for_vectors<Real>(last - c, [&](Index i, auto lanes_used) {
      using Lanes = decltype(lanes_used);
      Vec<Real> sum = Lanes::get(lanes_used, bias + c + i);
      for (const Nonzero<Real>* x = found; x < end; ++x)
        sum += x->value * Lanes::get(lanes_used, by_input_ + x->column * hidden_ + c + i);
      Lanes::put(lanes_used, to + c + i, sum);
    });
  }

  template <int vectors>
  OSTINATO_INLINE void add_up_vectors(const Nonzero<Real>* found, const Nonzero<Real>* end, Index c, Real* to) const {
    const Real* bias = by_input_ + input_.size * hidden_;
    Vec<Real> sum[vectors];
#pragma GCC unroll 8
    for (int k = 0; k < vectors; ++k) sum[k] = load(bias + c + k * lanes<Real>);
    for (const Nonzero<Real>* x = found; x < end; ++x) {
      const Real* from = by_input_ + x->column * hidden_ + c;
#pragma GCC unroll 8
      for (int k = 0; k < vectors; ++k) sum[k] += x->value * load(from + k * lanes<Real>);
    }
#pragma GCC unroll 8
    for (int k = 0; k < vectors; ++k) store(to + c + k * lanes<Real>, sum[k]);
  }

  Index streams_ = 0, hidden_ = 0;
  Input<Real> input_{};
  const Real *weight_ih_ = nullptr, *first_bias_ = nullptr, *second_bias_ = nullptr;
  char* memory_ = nullptr;    // the non-zero inputs of a frame, for every thread; then:
  Real* by_input_ = nullptr;  // U' (I, H), so that one input's weights are a row, and b (H)
};

}  // namespace
}  // namespace ostinato::OSTINATO_ISA
