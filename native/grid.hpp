// How a team of threads shares the rows and columns of a scan, and how its members wait for each other.
#pragma once

#include <sched.h>

#include "ride.hpp"
#include "scratch.hpp"
#include "team.hpp"

namespace ostinato::OSTINATO_ISA {
namespace {

template <class Real>
OSTINATO_INLINE Real* allocate_reals(Index count) {
  return static_cast<Real*>(allocate(static_cast<unsigned long>(count) * sizeof(Real)));
}

OSTINATO_INLINE void pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// How many steps a thread has finished, on a line of its own. Waiting spins while the other is surely running
// (microseconds), then gives the core away: two trainings on the same cores slow each other down but do not stall.
struct alignas(128) Progress {  // as `allocate` aligns
  Index finished = 0;

  void finish(Index steps) { __atomic_store_n(&finished, steps, __ATOMIC_RELEASE); }

  void await(Index steps) const {
    for (int spins = 0; __atomic_load_n(&finished, __ATOMIC_ACQUIRE) < steps;) {
      if (++spins < 512)
        pause();
      else
        sched_yield();
    }
  }
};

// `groups` groups own rows of their own and never wait for each other after packing; the `members` of one group share
// its rows and own columns of their own, so every step needs what the others made in the one before. Few rows per
// thread leave the product bound by reading the matrix from cache, which splitting its columns halves; many rows make
// it bound by arithmetic.
struct Grid {
  int groups, members;

  // Whether the rows are too few to be shared out, for any number of threads. Where they are not, a row's sums are the
  // same to the last bit in whatever group it is.
  static bool keeps_rows_together(const Shape& shape) { return parts_of(shape) == 1; }

  static Index most_groups(const Shape& shape, int threads) {
    const Index groups = shape.streams / fewest_rows;
    return groups < 1 ? 1 : groups > threads ? threads : groups;
  }

  template <class Real>
  static Grid choose(const Shape& shape, int threads) {
    constexpr Index vectors_per_member = 2;
    const Index vectors = (shape.hidden + lanes<Real> - 1) / lanes<Real>;
    const Index groups = most_groups(shape, threads);
    Index members = threads / groups;
    const Index most = vectors / vectors_per_member;
    members = members > most ? most : members;
    return {static_cast<int>(groups), static_cast<int>(members < 1 ? 1 : members)};
  }
};

// What the elementwise part of a step will touch; see `Upcoming`.
template <class Real>
struct UpcomingRows {
  Rows<const Real> read[2], written[2];

  OSTINATO_INLINE Upcoming<Real> at(Index i, Index columns) const {
    return {{read[0].find(i), read[1].find(i)}, {written[0].find(i), written[1].find(i)}, columns};
  }
};

// What one member computes at every step, and with what.
template <class Real>
struct Share {
  const Real *packed, *second, *prepared;  // the matrix, maybe another one, and what else was made
  Index hidden, vectors;
  Index row_begin, row_end;
  Columns columns;
  Progress* group;  // one per member
  int groups, members, member;
  int rank;         // in the whole team
  Real* kept;       // of this group: see own_rows
  Index kept_size;  // of a block
  bool turns;       // whether steps and their products go back and forth; the order of sums is then theirs
  Walk walk = Walk::forwards;          // of the next product
  GradientRide<Real>* ride = nullptr;  // of one stream on one thread
  Index steps_done = 0;

  Index first_column() const { return columns.first * lanes<Real>; }
  Index last_column() const { return columns.last * lanes<Real> < hidden ? columns.last * lanes<Real> : hidden; }

  // The rows of a step in an array of all frames.
  template <class Number>
  Rows<Number> rows(const Order& order, Number* array, Index t) const {
    return order.rows(array, t, row_begin);
  }

  // Room for this group's rows that no other group touches, `kept_blocks` times.
  static constexpr Index kept_blocks = 3;
  Rows<Real> own_rows(Index block) const { return {kept, block * kept_size - row_begin * hidden}; }
  static Index block_size(Index rows, Index hidden) {
    return (rows * hidden + line_length<Real> - 1) / line_length<Real> * line_length<Real>;
  }

  // For every row and every panel of this share: after(sums, row, column, count), where sums[0..count) are
  // (a @ packed + b @ second)[row, column..column+count). No `a` or `b` adds nothing; nobody waits for `b`.
  template <class After>
  OSTINATO_INLINE void step(const Rows<const Real>& a, const UpcomingRows<Real>& upcoming, const After& after,
                            const Rows<const Real>& b = {}) {
    alignas(64) Real sums[tile_sums * lanes<Real>];
    const Index row_tiles = (row_end - row_begin + tile_rows - 1) / tile_rows, panels = columns.panels();
    for (Index turn = 0; turn < panels; ++turn) {
      const Index p = turns && steps_done % 2 ? panels - 1 - turn : turn;
      const Index v = columns.start(p), column = v * lanes<Real>;
      const Index width = panel_width<Real>(v, columns.start(p + 1) - v, hidden);
      const Index count = column + width > hidden ? hidden - column : width;
      for (Index i = 0; i < row_tiles; ++i) {
        const Index row = row_begin + cut(row_end - row_begin, row_tiles, i);
        const Index rows = row_begin + cut(row_end - row_begin, row_tiles, i + 1) - row;
        if (a)
          sum_over_members(a.at(row * hidden), packed + column * hidden, rows, width, sums,
                           upcoming.at(row * hidden + column, hidden - column));
        else
          __builtin_memset(sums, 0, sizeof(sums));
        if (b)
          add_products(b.at(row * hidden), hidden, second + column * hidden, rows, width, 0, hidden, sums, false,
                       Walk::forwards, Upcoming<Real>{});
        for (Index r = 0; r < rows; ++r) after(sums + r * width, row + r, column, count);
      }
    }
    ++steps_done;
    if (members > 1) group[member].finish(steps_done);
  }

 private:
  // The part of the sum over this member's own columns needs no waiting, and hides that for the others'. What the
  // others wrote comes from their caches, a hundred nanoseconds a line when asked for one after the other: all lines
  // are asked for at once, half way through the own part, when the others have most likely written them.
  OSTINATO_INLINE void sum_over_members(const Real* a, const Real* panel, Index rows, Index width, Real* sums,
                                        const Upcoming<Real>& upcoming) {
    const auto add = [&](Index begin, Index end, bool begins, const Upcoming<Real>& next) {
      add_products(a, hidden, panel, rows, width, begin, end, sums, begins, walk, next);
    };
    const Index first = first_column(), last = last_column();
    if (members == 1) {
      bool ridden = false;
      if constexpr (rides) {
        ridden = ride;
        if (ridden) multiply_riding(a, panel, hidden, width, sums, walk, *ride);
      }
      if (!ridden) add(first, last, true, upcoming);
      if (turns) walk = turned(walk);
      return;
    }
    const Index middle = first + (last - first) / 2;
    add(first, middle, true, upcoming);
    fetch_others(a, rows, first, last);
    add(middle, last, false, {});
    for (int turn = 1; turn < members; ++turn) {
      const int m = member + turn < members ? member + turn : member + turn - members;
      const Index begin = cut(vectors, members, m) * lanes<Real>, end = cut(vectors, members, m + 1) * lanes<Real>;
      group[m].await(steps_done);
      add(begin, end < hidden ? end : hidden, false, {});
    }
  }

  OSTINATO_INLINE void fetch_others(const Real* a, Index rows, Index first, Index last) const {
    for (int m = 0; m < members; ++m)
      if (m != member) __builtin_prefetch(&group[m]);
    for (Index r = 0; r < rows; ++r, a += hidden) {
      for (Index c = 0; c < first; c += line_length<Real>) __builtin_prefetch(a + c);
      for (Index c = last; c < hidden; c += line_length<Real>) __builtin_prefetch(a + c);
    }
  }
};

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
  Real* packed(Index group) const { return copies_ + (shared ? 0 : group * copy_); }
  Real* second(Index group) const { return packed(group) + matrix_; }
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

// A scan as its team runs it. Packs the weight, and a second one if there is one, and prepares what else there is; then
// calls steps(share) in every member of the team, twice where its rows are on both sides of `row_split`.
template <class Real, class Steps>
struct Scan {
  const Shape& shape;
  Index row_split;
  const Real *weight, *second;
  bool transposed;
  const Preparation<Real>& preparation;
  const ScanMemory<Real>& memory;
  const Steps& steps;

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
    pack_panel(memory.packed(group), weight, transposed, shape.hidden, start, wide);
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

// What every member of the team does after a scan, if anything.
struct Nothing {
  void operator()(int, int) const {}
};

// False when memory is short.
template <class Real, class Steps, class Then = Nothing>
bool run_scan(const Shape& shape, Index row_split, const Real* weight, bool transposed, int threads,
              const Steps& steps, const Real* second = nullptr, const Preparation<Real>& preparation = {},
              const Then& then = {}) {
  threads = threads < 1 ? 1 : threads;
  const ScanMemory<Real> memory(shape, threads, second ? 2 : 1, preparation.reals);
  if (!memory.exists()) return false;
  const Scan<Real, Steps> scan{shape, row_split, weight, second, transposed, preparation, memory, steps};
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
