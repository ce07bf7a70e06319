// The weights of a scan that are not zero, found once, and every thread's memory for its products with them.
#pragma once

#include "linear/sparse_product.hpp"
#include "team/scratch.hpp"

namespace ostinato::OSTINATO_ISA {
namespace {

template <class Real>
class SparseScan {
 public:
  SparseScan() = default;
  SparseScan(const SparseScan&) = delete;
  SparseScan& operator=(const SparseScan&) = delete;
  ~SparseScan() { release(memory_); }

  // Nothing where a dense product is as fast, or memory is short.
  void begin(const Shape& shape, const Real* weight, bool transposed, int threads) {
    const Index hidden = shape.hidden, count = count_if_sparse(weight, hidden, shape.streams);
    if (count < 0) return;
    const Index list = roomy(count + Nonzeros<Real>::spare), row = roomy(hidden + Nonzeros<Real>::spare);
    const auto reals = static_cast<Index>(sizeof(Real)), integers = static_cast<Index>(sizeof(int));
    own_ = roomy(SparseProduct<Real>::size(hidden, shape.streams));
    const Index bytes = roomy(hidden) * static_cast<Index>(sizeof(Index)) + (list + row) * (reals + integers);
    memory_ = static_cast<char*>(allocate(static_cast<unsigned long>(bytes + threads * own_ * reals)));
    if (!memory_) return;
    hidden_ = hidden;
    char* next = memory_;
    const auto take = [&next](Index of_bytes) { return next += of_bytes, next - of_bytes; };
    products_ = reinterpret_cast<Real*>(take(threads * own_ * reals));
    weights_.ends = reinterpret_cast<Index*>(take(roomy(hidden) * static_cast<Index>(sizeof(Index))));
    weights_.found.values = reinterpret_cast<Real*>(take(list * reals));
    Nonzeros<Real> of_a_row{nullptr, reinterpret_cast<Real*>(take(row * reals))};
    weights_.found.columns = reinterpret_cast<int*>(take(list * integers));
    of_a_row.columns = reinterpret_cast<int*>(take(row * integers));
    weights_.find(weight, hidden, transposed, of_a_row);
  }

  bool exists() const { return memory_; }
  SparseProduct<Real> product(int rank) const { return {weights_, hidden_, products_ + rank * own_}; }

 private:
  char* memory_ = nullptr;
  Real* products_ = nullptr;
  SparseWeights<Real> weights_{};
  Index hidden_ = 0, own_ = 0;
};

}  // namespace
}  // namespace ostinato::OSTINATO_ISA
