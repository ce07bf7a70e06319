// The inputs of some frames that are not zero, as compressed sparse columns, and what their weights' gradient sums over
// them.
#pragma once

#include "linear/outer_product.hpp"
#include "linear/sparse.hpp"

namespace ostinato::OSTINATO_ISA {
namespace {

// First found frame by frame, then sorted by input: an input's sum stays in registers while the deltas of the frames in
// which it is not zero go by.
template <class Real>
class SparseColumns {
 public:
  // How many may be non-zero among all inputs of a chunk.
  static Index most(Index inputs) { return chunk_frames * inputs / densest; }

  // The memory of `at`, in numbers of this size.
  static Index size(Index inputs) { return 4 * list_size(inputs) + roomy(inputs + 1); }

  static SparseColumns at(Real* memory, Index inputs) {
    const Index list = list_size(inputs);
    const auto integers = [=](Index lists) { return reinterpret_cast<int*>(memory + lists * list); };
    return SparseColumns(inputs, {integers(0), memory + list}, {integers(2), memory + 3 * list}, integers(4));
  }

  // Those of a part's frames [begin, end). False where they are too many.
  template <class Number>
  bool find(const Number* x, const StreamPart& part, Index begin, Index end) const {
    int counts[chunk_frames];
    Index count = 0, frames = 0;
    part.visit(begin, end, [&](Index n) {
      const Index before = count;
      if (before <= most(inputs_)) count = find_nonzeros(x + n * inputs_, inputs_, found_, before);
      counts[frames++] = static_cast<int>(count - before);
    });
    if (count > most(inputs_)) return false;
    sort(count, counts, frames);
    return true;
  }

  // by_input (I, H) += x' delta, or = where `begins`, columns [first, last), for the deltas (H) of every frame.
  void add_products(const Real* const* deltas, Index first, Index last, Real* by_input, Index hidden,
                    bool begins) const {
    for_strips<Real>(first, last, [=, this](Index c, auto strip) {
      for (Index v = 0; v < inputs_; ++v) {
        const int begin = v > 0 ? ends_[v - 1] : 0, end = ends_[v];
        if (begin == end && !begins) continue;
        auto sum = strip;
        Real* to = by_input + v * hidden + c;
        begins ? sum.clear() : sum.load_from(to);
        for (int k = begin; k < end; ++k) sum.add_product(sorted_.values[k], deltas[sorted_.columns[k]] + c);
        sum.store_to(to);
      }
    });
  }

 private:
  SparseColumns(Index inputs, Nonzeros<Real> found, Nonzeros<Real> sorted, int* ends)
      : inputs_(inputs), found_(found), sorted_(sorted), ends_(ends) {}

  // A frame more is found before it is noticed that they are too many.
  static Index list_size(Index inputs) { return roomy(most(inputs) + inputs + Nonzeros<Real>::spare); }

  void sort(Index count, const int* counts, Index frames) const {
    // ends_[v + 1] counts input v; then ends_[v] says where v begins, and moves to its end while v is filled in.
    for (Index v = 0; v <= inputs_; ++v) ends_[v] = 0;
    for (Index k = 0; k < count; ++k) ++ends_[found_.columns[k] + 1];
    for (Index v = 0; v < inputs_; ++v) ends_[v + 1] += ends_[v];
    Index k = 0;
    for (Index frame = 0; frame < frames; ++frame)
      for (const Index end = k + counts[frame]; k < end; ++k) {
        const int place = ends_[found_.columns[k]]++;
        sorted_.columns[place] = static_cast<int>(frame);
        sorted_.values[place] = found_.values[k];
      }
  }

  Index inputs_;
  Nonzeros<Real> found_, sorted_;  // by frame; by input, where a column is the frame
  int* ends_;                      // of every input in the sorted list
};

}  // namespace
}  // namespace ostinato::OSTINATO_ISA
