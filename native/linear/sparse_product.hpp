// The product of some rows with an H x H matrix most of whose weights are zero: a reservoir's, or one with few
// connections.
//
// The rows of a block are turned, so that a unit's states in all of them lie side by side; a weight is then one
// multiply-add of some vectors, whose sums stay in registers for all weights of a unit. A sum has two halves, of every
// other weight that is not zero, in their order: the same to the last bit whatever rows share a block.
//
// What is not finite goes as in a dense product, where zero times infinity is no number: such a state leaves no number
// to any unit but those with a weight to every such state of the row.
#pragma once

#include "linear/product.hpp"
#include "linear/sparse.hpp"
#include "simd/reduce.hpp"

namespace ostinato::OSTINATO_ISA {
namespace {

// No product of fewer units is worth it.
constexpr Index fewest_sparse_units = 64;

// Vectors of a block's rows; twice as many sums are in registers.
constexpr int sparse_vectors = tile_sums >= 24 ? 8 : tile_sums >= 12 ? 6 : 4;

// How many weights (H, H) are not zero, or -1 where a dense product of so many rows is as fast. A weight takes as long as
// three of a dense product, whose rows it does a whole vector of at a time; to turn a unit's states takes as long as six
// weights; and a few rows of a dense product take as long as two more (measured on Zen 5, for 64 to 1,000 units, 1 to 64
// rows, float and double).
template <class Real>
Index count_if_sparse(const Real* weight, Index hidden, Index rows) {
  if (hidden < fewest_sparse_units || hidden > (1 << 30)) return -1;
  const Index all = hidden * hidden, vectors = (rows + lanes<Real> - 1) / lanes<Real>;
  const Index worth = all * (rows + 2) / (3 * vectors * lanes<Real>) - 6 * hidden;
  const Index most = worth < all / 4 ? worth : all / 4;
  constexpr Index looks = 64;
  Index nonzeros = 0;  // a dense matrix is known by a few of them, from everywhere
  for (Index i = 0; i < looks; ++i) nonzeros += weight[cut(all, looks, i) + (7 * i * i + 3) % (all / looks)] != 0;
  if (most < 0 || nonzeros > looks / 2) return -1;
  nonzeros = 0;
  for (Index row = 0; row < hidden && nonzeros <= most; ++row) {
    Index here = 0;
    for (Index c = 0; c < hidden; ++c) here += weight[row * hidden + c] != 0;
    nonzeros += here;
  }
  return nonzeros > most ? -1 : nonzeros;
}

// The weights that are not zero, unit by unit: those of unit u are [ends[u - 1], ends[u]), from 0 for the first.
template <class Real>
struct SparseWeights {
  Nonzeros<Real> found;  // of a unit, its columns in rising order
  Index* ends;           // (H)

  Index begin(Index unit) const { return unit > 0 ? ends[unit - 1] : 0; }

  // Unit u's are row u where `transposed`, for h W', otherwise column u, for delta W. `row` has room for H.
  void find(const Real* weight, Index hidden, bool transposed, const Nonzeros<Real>& row) const {
    if (transposed) {
      Index n = 0;
      for (Index u = 0; u < hidden; ++u) ends[u] = n = find_nonzeros(weight + u * hidden, hidden, found, n);
      return;
    }
    for (Index u = 0; u < hidden; ++u) ends[u] = 0;
    for (Index k = 0; k < hidden; ++k)
      for (Index u = 0; u < hidden; ++u) ends[u] += weight[k * hidden + u] != 0;
    Index before = 0;  // an end is first where its unit begins, and moves on with every weight
    for (Index u = 0; u < hidden; ++u) {
      const Index count = ends[u];
      ends[u] = before;
      before += count;
    }
    for (Index k = 0; k < hidden; ++k) {
      const Index count = find_nonzeros(weight + k * hidden, hidden, row, 0);
      for (Index i = 0; i < count; ++i) {
        const Index place = ends[row.columns[i]]++;
        found.columns[place] = static_cast<int>(k);
        found.values[place] = row.values[i];
      }
    }
  }
};

// What the elementwise part behind a block's product will touch, fetched unit by unit, some rows at a time.
template <class Real>
struct UpcomingBlock {
  Upcoming<Real> first;  // of the first row
  Index rows, hidden, width;

  OSTINATO_INLINE void fetch(Index unit, Index units) const {
    for (Index r = cut(rows, units, unit); r < cut(rows, units, unit + 1); ++r)
      for (Index c = 0; c < width + line_length<Real> - 1; c += line_length<Real>)
        first.fetch_line(r * hidden + (c < width ? c : width - 1));
  }
};

// out (units, wide) = the sums of some units from `first` on over turned rows (H, wide); where `counted`, each weight
// counts as one.
template <class Real>
using SparseSums = void (*)(const Real* turned, const SparseWeights<Real>& weights, Index first, Index units, Real* out,
                            const UpcomingBlock<Real>& upcoming);

template <class Real, int vectors, bool counted>
void sparse_sums(const Real* turned, const SparseWeights<Real>& weights, Index first, Index units, Real* out,
                 const UpcomingBlock<Real>& upcoming) {
  using Rows = Strip<Real, vectors, false>;
  const Real* values = weights.found.values;
  const int* columns = weights.found.columns;
  Index k = weights.begin(first);
  for (Index u = 0; u < units; ++u, out += Rows::width) {
    upcoming.fetch(u, units);
    Rows even, odd;
    even.clear(), odd.clear();
    const Index end = weights.ends[first + u];
    for (; k + 1 < end; k += 2) {
      even.add_product(counted ? Real(1) : values[k], turned + columns[k] * Rows::width);
      odd.add_product(counted ? Real(1) : values[k + 1], turned + columns[k + 1] * Rows::width);
    }
    if (k < end) {
      even.add_product(counted ? Real(1) : values[k], turned + columns[k] * Rows::width);
      ++k;
    }
    even.add(odd);
    even.store_to(out);
  }
}

template <class Real>
struct SparseTable {
  SparseSums<Real> at[sparse_vectors + 1][2] = {};  // by vectors, by whether weights are counted
};

template <class Real, int vectors>
constexpr void fill(SparseTable<Real>& table) {
  table.at[vectors][0] = sparse_sums<Real, vectors, false>;
  table.at[vectors][1] = sparse_sums<Real, vectors, true>;
  if constexpr (vectors > 1) fill<Real, vectors - 1>(table);
}

template <class Real>
constexpr SparseTable<Real> make_sparse_table() {
  SparseTable<Real> table;
  fill<Real, sparse_vectors>(table);
  return table;
}

template <class Real>
constexpr SparseTable<Real> sparse_table = make_sparse_table<Real>();

// One thread's: its rows go by in blocks, and of each block some units at a time.
template <class Real>
class SparseProduct {
 public:
  static constexpr Index most_rows = sparse_vectors * lanes<Real>, most_units = tile_vectors * lanes<Real>;

  static Index blocks(Index rows) { return (rows + most_rows - 1) / most_rows; }

  // The memory of `at`, in numbers, for blocks of that many rows.
  static Index size(Index hidden, Index rows) {
    const Index wide = width_of(rows < most_rows ? rows : most_rows);
    return (2 * hidden + 3 * most_units + 1) * wide + line_length<Real>;
  }

  SparseProduct() = default;
  SparseProduct(const SparseWeights<Real>& weights, Index hidden, Real* memory)
      : weights_(weights), hidden_(hidden), memory_(memory) {}

  // Begins a block: a (rows, H).
  void turn(const Real* a, Index rows) {
    rows_ = rows, wide_ = width_of(rows);
    Real* turned = memory_;
    constexpr Index n = lanes<Real>;
    const Index whole = hidden_ / n * n;
    for (Index r = 0; r < wide_; r += n)
      for (Index k = 0; k < whole; k += n) {
        Vec<Real> square[n];
#pragma GCC unroll 16
        for (Index i = 0; i < n; ++i) square[i] = r + i < rows ? load(a + (r + i) * hidden_ + k) : Vec<Real>{};
        transpose<Real>(square, FirstIntegers<n>{});
#pragma GCC unroll 16
        for (Index i = 0; i < n; ++i) store(turned + (k + i) * wide_ + r, square[i]);
      }
    for (Index k = whole; k < hidden_; ++k)
      for (Index r = 0; r < wide_; ++r) turned[k * wide_ + r] = r < rows ? a[r * hidden_ + k] : Real(0);
    finite_ = all_finite(a, rows * hidden_);
    if (finite_) return;
    Real *infinite = turned + hidden_ * wide_, *all = infinite + hidden_ * wide_;
    for (Index r = 0; r < wide_; ++r) all[r] = 0;
    for (Index k = 0; k < hidden_; ++k)
      for (Index r = 0; r < wide_; ++r) {
        const Real is = turned[k * wide_ + r] * Real(0) == Real(0) ? Real(0) : Real(1);
        infinite[k * wide_ + r] = is;
        all[r] += is;
      }
  }

  // The block's sums of units [first, first + units), row by row, `stride` numbers apart.
  const Real* multiply(Index first, Index units, Index stride, const UpcomingBlock<Real>& upcoming) const {
    const auto& kinds = sparse_table<Real>.at[wide_ / lanes<Real>];
    Real* all = memory_ + 2 * hidden_ * wide_;
    Real *sums = all + wide_, *counts = sums + most_units * wide_, *out = counts + most_units * wide_;
    kinds[0](memory_, weights_, first, units, sums, upcoming);
    if (!finite_) {
      kinds[1](memory_ + hidden_ * wide_, weights_, first, units, counts, {});
      for (Index u = 0; u < units; ++u)
        for (Index r = 0; r < wide_; ++r)
          if (counts[u * wide_ + r] != all[r]) sums[u * wide_ + r] = static_cast<Real>(__builtin_nan(""));
    }
    transpose_matrix(out, stride, sums, wide_, units, rows_);
    return out;
  }

 private:
  static Index width_of(Index rows) { return (rows + lanes<Real> - 1) / lanes<Real> * lanes<Real>; }

  SparseWeights<Real> weights_{};
  Index hidden_ = 0;
  Real* memory_ = nullptr;  // turned (H, wide), what is not finite (H, wide), how many are not (wide), sums, counts, out
  Index rows_ = 0, wide_ = 0;
  bool finite_ = true;
};

}  // namespace
}  // namespace ostinato::OSTINATO_ISA
