// How a team runs a scan: the memory it works in, what is made before the first step, and who does which share.
#pragma once

#include "team/grid.hpp"
#include "team/scratch.hpp"
#include "team/sparse_scan.hpp"
#include "team/team.hpp"

namespace ostinato::OSTINATO_ISA {
namespace {

// What is made before the first step besides the packed matrices: so many numbers, some columns of them at a time.
template <class Real>
struct Preparation {
  Index reals = 0;
  void (*make)(const void* self, Real* to, Index first, Index last) = nullptr;
  const void* self = nullptr;
};

// The memory of a scan: how far everybody is; the packed matrices and what else is prepared, once for every group where
// they are small; and rows of every group's own. What one core made, another fetches from that core's cache, a line at
// a time: to make 200 units' matrix oneself takes a quarter of that.
template <class Real>
class ScanMemory {
 public:
  Progress *preparing = nullptr, *scanning = nullptr;  // of every thread
  bool shared = false;                                 // whether all groups use the same matrices

  ScanMemory(const Shape& shape, int threads, Index matrices, Index prepared) : shape_(shape) {
    const Index vectors = (shape.hidden + lanes<Real> - 1) / lanes<Real>, reals = static_cast<Index>(sizeof(Real));
    const Index progress = 2 * threads * static_cast<Index>(sizeof(Progress));
    const Index groups = Grid::most_groups(shape, threads);
    matrix_ = vectors * lanes<Real> * shape.hidden;
    copy_ = (matrices * matrix_ + prepared) / line_length<Real> * line_length<Real> + line_length<Real> + gap;
    prepared_ = matrices * matrix_;
    shared = groups > 1 && copy_ * reals > most_bytes;
    const Index all = (shared ? 1 : groups) * copy_;
    memory_ = static_cast<char*>(allocate(static_cast<unsigned long>(
        progress + (all + kept_begin(shape.streams, groups)) * reals)));
    if (!memory_) return;
    preparing = reinterpret_cast<Progress*>(memory_);
    scanning = preparing + threads;
    for (int i = 0; i < 2 * threads; ++i) preparing[i] = Progress{};
    copies_ = reinterpret_cast<Real*>(memory_ + progress);
    kept_ = copies_ + all;
  }
  ScanMemory(const ScanMemory&) = delete;
  ScanMemory& operator=(const ScanMemory&) = delete;
  ~ScanMemory() { release(memory_); }

  bool exists() const { return memory_; }
  Index matrix() const { return matrix_; }  // numbers of a packed one
  Real* packed(Index group) const { return copies_ + (shared ? 0 : group * copy_); }
  Real* second(Index group) const { return packed(group) + matrix_; }  // of a weight that is one matrix
  Real* prepared(Index group) const { return packed(group) + prepared_; }
  Real* kept(Index row_begin, Index group) const { return kept_ + kept_begin(row_begin, group); }

 private:
  static constexpr Index gap = 64 * line_length<Real>;
  static constexpr Index most_bytes = 1 << 20;  // of one group's: the second-level cache of a core

  // Groups keep off each other's lines, and what is fetched around them.
  Index kept_begin(Index row_begin, Index group) const {
    const Index blocks = Share<Real>::kept_blocks;
    const Index reals = blocks * row_begin * shape_.hidden + group * (blocks * line_length<Real> + gap);
    return reals / line_length<Real> * line_length<Real>;
  }

  const Shape& shape_;
  Index matrix_ = 0, copy_ = 0, prepared_ = 0;
  char* memory_ = nullptr;
  Real *copies_ = nullptr, *kept_ = nullptr;
};

// A scan as its team runs it. Packs the weight, which is one (H, H) matrix or one for each gate, and a second one if
// there is one, and prepares what else there is; then calls steps(share) in every member of the team, twice where its
// rows are on both sides of `row_split`.
template <class Real, class Steps>
struct Scan {
  const Shape& shape;
  Index row_split;
  const Real *weight, *second;
  bool transposed;
  const Preparation<Real>& preparation;
  const ScanMemory<Real>& memory;
  const Steps& steps;
  Index gates;
  const SparseScan<Real>& sparse;  // in place of the packed weight, where it exists

  void run(int rank, int size) const {
    const Grid grid = Grid::choose<Real>(shape, size);
    const Index vectors = (shape.hidden + lanes<Real> - 1) / lanes<Real>;
    const int group = rank / grid.members, member = rank % grid.members;
    const int widest = widest_tile(static_cast<int>((shape.streams + grid.groups - 1) / grid.groups));
    const Columns columns{cut(vectors, grid.members, member), cut(vectors, grid.members, member + 1), widest};
    if (memory.shared)
      prepare_together(grid, vectors, widest, rank, size);
    else if (group < grid.groups)
      prepare_own(group, columns);
    if (group >= grid.groups) return;
    const Index begin = cut(shape.streams, grid.groups, group), end = cut(shape.streams, grid.groups, group + 1);
    Share<Real> share{memory.packed(group),
                      memory.second(group),
                      memory.prepared(group),
                      shape.hidden,
                      vectors,
                      begin,
                      end,
                      columns,
                      memory.scanning + group * grid.members,
                      grid.groups,
                      grid.members,
                      member,
                      rank,
                      memory.kept(begin, group),
                      Share<Real>::block_size(end - begin, shape.hidden),
                      grid.members == 1 && Grid::keeps_rows_together(shape)};
    share.matrix = memory.matrix();
    SparseProduct<Real> product;
    if (sparse.exists()) product = sparse.product(rank), share.sparse = &product;
    const bool spans = begin < row_split && row_split < end;
    if (spans) share.row_end = row_split;
    steps(share);
    if (!spans) return;
    share.row_begin = row_split, share.row_end = end;
    steps(share);
  }

 private:
  void pack(Index group, const Columns& columns, Index p) const {
    const Index start = columns.start(p), wide = columns.start(p + 1) - start;
    for (Index g = 0; !sparse.exists() && g < gates; ++g)
      pack_panel(memory.packed(group) + g * memory.matrix(), weight + g * shape.hidden * shape.hidden, transposed,
                 shape.hidden, start, wide);
    if (second) pack_panel(memory.second(group), second, transposed, shape.hidden, start, wide);
  }

  void make(Index group, Index first_vector, Index last_vector) const {
    const Index first = first_vector * lanes<Real>, last = last_vector * lanes<Real>;
    if (preparation.make)
      preparation.make(preparation.self, memory.prepared(group), first, last < shape.hidden ? last : shape.hidden);
  }

  // Who uses some columns makes them, and waits for nobody.
  void prepare_own(Index group, const Columns& columns) const {
    for (Index p = 0; p < columns.panels(); ++p) pack(group, columns, p);
    make(group, columns.first, columns.last);
  }

  void prepare_together(const Grid& grid, Index vectors, int widest, int rank, int size) const {
    int panel = 0;
    for (int m = 0; m < grid.members; ++m) {
      const Columns columns{cut(vectors, grid.members, m), cut(vectors, grid.members, m + 1), widest};
      for (Index p = 0; p < columns.panels(); ++p)
        if (panel++ % size == rank) pack(0, columns, p);
    }
    make(0, cut(vectors, size, rank), cut(vectors, size, rank + 1));
    memory.preparing[rank].finish(1);
    for (int other = 0; other < size; ++other) memory.preparing[other].await(1);
  }
};

// What every member of the team does after a scan and after each of its steps, if anything.
struct Nothing {
  void operator()(int, int) const {}
  template <class Real>
  void finish_step(Index, const Share<Real>&) const {}
};

// False when memory is short. A weight that `may_be_sparse` goes by what is not zero where that is quicker; with no second
// matrix, and no gates.
template <class Real, class Steps, class Then = Nothing>
bool run_scan(const Shape& shape, Index row_split, const Real* weight, bool transposed, int threads,
              const Steps& steps, const Real* second = nullptr, const Preparation<Real>& preparation = {},
              const Then& then = {}, Index gates = 1, bool may_be_sparse = false) {
  threads = threads < 1 ? 1 : threads;
  SparseScan<Real> sparse;
  if (may_be_sparse) sparse.begin(shape, weight, transposed, threads);
  const ScanMemory<Real> memory(shape, threads, sparse.exists() ? 0 : gates + (second ? 1 : 0), preparation.reals);
  if (!memory.exists()) return false;
  const Scan<Real, Steps> scan{shape, row_split, weight, second, transposed, preparation, memory, steps, gates, sparse};
  struct Context {
    const Scan<Real, Steps>& scan;
    const Then& then;
  } context{scan, then};
  run_team(
      threads,
      [](void* data, int rank, int size) {
        const Context& c = *static_cast<const Context*>(data);
        const FlushDenormals flush;
        c.scan.run(rank, size);
        c.then(rank, size);
      },
      &context);
  return true;
}

}  // namespace
}  // namespace ostinato::OSTINATO_ISA
