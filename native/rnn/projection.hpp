// The projection of inputs that are mostly zeros: a sum over what is not zero, a step at a time.
#pragma once

#include "linear/sparse.hpp"
#include "simd/reduce.hpp"
#include "simd/transpose.hpp"
#include "team/run_scan.hpp"

namespace ostinato::OSTINATO_ISA {
namespace {

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
