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

// The non-zero inputs of every frame: those of frame n are [begin(n), begin(n + 1)).
template <class Real>
class Nonzeros {
 public:
  // False when memory is short or the inputs are too dense to be worth it.
  bool find(const Input<Real>& input, Index frames) {
    const Index most = frames * input.size / densest, room = most + input.size + 1;  // one is written in vain
    ends_ = static_cast<Index*>(allocate(static_cast<unsigned long>(frames + 1) * sizeof(Index)));
    list_ = static_cast<Nonzero<Real>*>(allocate(static_cast<unsigned long>(room) * sizeof(Nonzero<Real>)));
    if (!ends_ || !list_) return false;
    return input.binary ? list(input.binary, input.size, frames, most) : list(input.real, input.size, frames, most);
  }

  const Nonzero<Real>* begin(Index frame) const { return list_ + ends_[frame]; }

  Nonzeros() = default;
  Nonzeros(const Nonzeros&) = delete;
  Nonzeros& operator=(const Nonzeros&) = delete;
  ~Nonzeros() {
    release(ends_);
    release(list_);
  }

 private:
  template <class Number>
  bool list(const Number* x, Index inputs, Index frames, Index most) {
    Nonzero<Real>* end = list_;
    for (Index n = 0; n < frames; ++n) {
      ends_[n] = end - list_;
      end = find_nonzeros(x + n * inputs, inputs, end);
      if (end - list_ > most) return false;
    }
    ends_[frames] = end - list_;
    return true;
  }

  Index* ends_ = nullptr;  // of the frame before; 0 for the first
  Nonzero<Real>* list_ = nullptr;
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
  bool prepare(const Shape& shape, const Input<Real>& input, const Real* weight_ih, const Real* first_bias,
               const Real* second_bias) {
    const Index inputs = input.size, frames = shape.steps * shape.streams;
    hidden = shape.hidden;
    if (!all_finite(weight_ih, hidden * inputs) || !nonzeros.find(input, frames)) return false;
    by_input = allocate_reals<Real>((inputs + 1) * hidden);
    if (!by_input) return false;
    bias = by_input + inputs * hidden;
    transpose_matrix(by_input, hidden, weight_ih, inputs, hidden, inputs);
    for (Index h = 0; h < hidden; ++h)
      bias[h] = (first_bias ? first_bias[h] : Real(0)) + (second_bias ? second_bias[h] : Real(0));
    return true;
  }

  void project(Index frame, Index first, Index last, Real* out) const {
    Index c = first;
    for (; c + 8 * lanes<Real> <= last; c += 8 * lanes<Real>) add_up<8>(frame, c, out);
    if (c + 4 * lanes<Real> <= last) add_up<4>(frame, c, out), c += 4 * lanes<Real>;
    for_vectors<Real>(last - c, [&](Index i, auto lanes_used) {
      using Lanes = decltype(lanes_used);
      Vec<Real> sum = Lanes::get(lanes_used, bias + c + i);
      for (const Nonzero<Real>* x = nonzeros.begin(frame); x < nonzeros.begin(frame + 1); ++x)
        sum += x->value * Lanes::get(lanes_used, by_input + x->column * hidden + c + i);
      Lanes::put(lanes_used, out + c + i, sum);
    });
  }

  template <int vectors>
  OSTINATO_INLINE void add_up(Index frame, Index c, Real* out) const {
    Vec<Real> sum[vectors];
#pragma GCC unroll 8
    for (int k = 0; k < vectors; ++k) sum[k] = load(bias + c + k * lanes<Real>);
    for (const Nonzero<Real>* x = nonzeros.begin(frame); x < nonzeros.begin(frame + 1); ++x) {
      const Real* from = by_input + x->column * hidden + c;
#pragma GCC unroll 8
      for (int k = 0; k < vectors; ++k) sum[k] += x->value * load(from + k * lanes<Real>);
    }
#pragma GCC unroll 8
    for (int k = 0; k < vectors; ++k) store(out + c + k * lanes<Real>, sum[k]);
  }

  SparseProjection() = default;
  SparseProjection(const SparseProjection&) = delete;
  SparseProjection& operator=(const SparseProjection&) = delete;
  ~SparseProjection() { release(by_input); }
};

}  // namespace
}  // namespace ostinato::OSTINATO_ISA
