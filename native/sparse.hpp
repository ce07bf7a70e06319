// Linear maps of inputs that are mostly zeros, piano-rolls above all: a sum over what is not zero.
#pragma once

#include "scan.hpp"

namespace ostinato::OSTINATO_ISA {
namespace {

// Where one input in four is not zero, a dense product is as fast.
constexpr Index densest = 4;

// Inputs that are not zero, with room for `spare` more than there are.
template <class Real>
struct Nonzeros {
  int* columns;
  Real* values;
  static constexpr Index spare = 16;
};

// The inputs of one frame that are not zero, put after the first `n` found ones; returns how many there are then.
// Without branches: which ones sound cannot be foretold.
#if defined(__AVX512F__)
OSTINATO_INLINE __m512 load_inputs(const float* x, __mmask16 there) { return _mm512_maskz_loadu_ps(there, x); }
OSTINATO_INLINE __m512 load_inputs(const unsigned char* x, __mmask16 there) {
  return _mm512_maskz_cvtepi32_ps(there, _mm512_maskz_cvtepu8_epi32(there, _mm_maskz_loadu_epi8(there, x)));
}

template <class Number>
OSTINATO_INLINE Index find_nonzeros(const Number* x, Index count, const Nonzeros<float>& found, Index n) {
  const __m512i first = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  for (Index v = 0; v < count; v += 16) {
    const auto there = static_cast<__mmask16>(count - v < 16 ? (1u << (count - v)) - 1 : 0xffffu);
    const __m512 inputs = load_inputs(x + v, there);
    const __mmask16 sounding = _mm512_cmp_ps_mask(inputs, _mm512_setzero_ps(), _CMP_NEQ_UQ);
    const __m512i columns = _mm512_add_epi32(first, _mm512_set1_epi32(static_cast<int>(v)));
    _mm512_storeu_si512(found.columns + n, _mm512_maskz_compress_epi32(sounding, columns));
    _mm512_storeu_ps(found.values + n, _mm512_maskz_compress_ps(sounding, inputs));
    n += __builtin_popcount(sounding);
  }
  return n;
}
#endif

template <class Real, class Number>
OSTINATO_INLINE Index find_nonzeros(const Number* x, Index count, const Nonzeros<Real>& found, Index n) {
  constexpr Index group = 8;
  const auto take = [&](Index i) {
    found.columns[n] = static_cast<int>(i);
    found.values[n] = static_cast<Real>(x[i]);
    n += x[i] != Number(0);
  };
  Index v = 0;
  for (; v + group <= count; v += group) {  // most groups of eight are silent
    unsigned long long words[sizeof(Number)], any = 0;
    __builtin_memcpy(words, x + v, sizeof(words));
#pragma GCC unroll 8
    for (const auto word : words) any |= word;
    if (!any) continue;
#pragma GCC unroll 8
    for (Index i = v; i < v + group; ++i) take(i);
  }
  for (; v < count; ++v) take(v);
  return n;
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
    lists_ = static_cast<char*>(allocate(static_cast<unsigned long>((threads < 1 ? 1 : threads) * list_bytes())));
    return lists_;
  }

  // U' (I, H), so that one input's weights are a row, and b (H).
  Preparation<Real> preparation() const {
    return {(input_.size + 1) * hidden_,
            [](const void* self, Real* by_input, Index first, Index last) {
              static_cast<const SparseProjection*>(self)->transpose_weights(by_input, first, last);
            },
            this};
  }

  // The share's part of a step's.
  void project(Index step, const Share<Real>& share, const Rows<Real>& to) const {
    char* const list = lists_ + share.rank * list_bytes();
    const Nonzeros<Real> found{reinterpret_cast<int*>(list + list_size() * static_cast<Index>(sizeof(Real))),
                               reinterpret_cast<Real*>(list)};
    for (Index row = share.row_begin; row < share.row_end; ++row) {
      const Index x = (step * streams_ + row) * input_.size;
      const Index count = input_.binary ? find_nonzeros(input_.binary + x, input_.size, found, 0)
                                        : find_nonzeros(input_.real + x, input_.size, found, 0);
      add_up(share.prepared, found, count, share.first_column(), share.last_column(), to.at(row * hidden_));
    }
  }

  SparseProjection() = default;
  SparseProjection(const SparseProjection&) = delete;
  SparseProjection& operator=(const SparseProjection&) = delete;
  ~SparseProjection() { release(lists_); }

 private:
  // Threads keep off each other's lines.
  Index list_size() const { return roomy(input_.size + Nonzeros<Real>::spare); }
  Index list_bytes() const { return list_size() * static_cast<Index>(sizeof(int) + sizeof(Real)); }

  void transpose_weights(Real* by_input, Index first, Index last) const {
    const Index inputs = input_.size;
    transpose_matrix(by_input + first, hidden_, weight_ih_ + first * inputs, inputs, last - first, inputs);
    Real* bias = by_input + inputs * hidden_;
    for (Index h = first; h < last; ++h)
      bias[h] = (first_bias_ ? first_bias_[h] : Real(0)) + (second_bias_ ? second_bias_[h] : Real(0));
  }

  // to[first..last) = b + sum of the rows of U' that `found` names.
  void add_up(const Real* by_input, const Nonzeros<Real>& found, Index count, Index first, Index last,
              Real* to) const {
    const Real* bias = by_input + input_.size * hidden_;
    for_strips<Real>(first, last, [=, this](Index c, auto strip) {
      auto sum = strip;
      sum.load_from(bias + c);
      for (Index k = 0; k < count; ++k) sum.add_product(found.values[k], by_input + found.columns[k] * hidden_ + c);
      sum.store_to(to + c);
    });
  }

  Index streams_ = 0, hidden_ = 0;
  Input<Real> input_{};
  const Real *weight_ih_ = nullptr, *first_bias_ = nullptr, *second_bias_ = nullptr;
  char* lists_ = nullptr;  // the non-zero inputs of a frame, for every thread
};

}  // namespace
}  // namespace ostinato::OSTINATO_ISA
