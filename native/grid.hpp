// How a team of threads shares the rows and columns of a scan, and how its members wait for each other.
#pragma once

#include <sched.h>

#include "product.hpp"
#include "team.hpp"

namespace ostinato::OSTINATO_ISA {
namespace {

OSTINATO_INLINE void pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// All members meet here between two steps. A member spins while the others are surely running (microseconds), then
// gives its core away: two trainings on the same cores slow each other down but do not stall.
struct alignas(128) Barrier {  // as `allocate` aligns
  int arrived = 0;
  alignas(64) int phase = 0;

  void wait(int members, int& my_phase) {
    if (members == 1) return;
    const int next = ++my_phase;
    if (__atomic_fetch_add(&arrived, 1, __ATOMIC_ACQ_REL) == members - 1) {
      __atomic_store_n(&arrived, 0, __ATOMIC_RELAXED);
      __atomic_store_n(&phase, next, __ATOMIC_RELEASE);
      return;
    }
    for (int spins = 0; __atomic_load_n(&phase, __ATOMIC_ACQUIRE) != next;) {
      if (++spins < 4096)
        pause();
      else
        sched_yield();
    }
  }
};

// `groups` groups own rows of their own and never meet after packing; the `members` of one group share its rows,
// own columns of their own, and meet after every step. Few rows per thread leave the product bound by reading the
// matrix from cache, which splitting its columns halves; many rows make it bound by arithmetic.
struct Grid {
  int groups, members;

  template <class Real>
  static Grid choose(const Shape& shape, int threads) {
    constexpr Index rows_per_group = 4, vectors_per_member = 2;
    const Index vectors = (shape.hidden + lanes<Real> - 1) / lanes<Real>;
    Index groups = shape.streams / rows_per_group;
    groups = groups < 1 ? 1 : groups > threads ? threads : groups;
    Index members = threads / groups;
    const Index most = vectors / vectors_per_member;
    members = members > most ? most : members;
    return {static_cast<int>(groups), static_cast<int>(members < 1 ? 1 : members)};
  }
};

// What one member computes at every step, and with what.
template <class Real>
struct Share {
  const Real* packed;
  Index hidden, row_begin, row_end;
  Columns columns;
  Barrier* barrier;
  int members, phase;

  template <class After>
  OSTINATO_INLINE void multiply_by(const Real* rows, const Upcoming<Real>& upcoming, const After& after) const {
    multiply(rows, packed, hidden, row_begin, row_end, columns, upcoming, after);
  }
  void meet() { barrier->wait(members, phase); }
};

// Packs the weight, then calls steps(share) in every member of the team. False when memory is short.
template <class Real, class Steps>
bool run_scan(const Shape& shape, const Real* weight, bool transposed, int threads, Steps steps) {
  const Index vectors = (shape.hidden + lanes<Real> - 1) / lanes<Real>;
  threads = threads < 1 ? 1 : threads;
  const Index barriers_bytes = (threads + 1) * static_cast<Index>(sizeof(Barrier));
  const Index packed_bytes = vectors * lanes<Real> * shape.hidden * static_cast<Index>(sizeof(Real));
  char* scratch = static_cast<char*>(allocate(static_cast<unsigned long>(barriers_bytes + packed_bytes)));
  if (!scratch) return false;

  struct Context {
    const Shape& shape;
    const Real* weight;
    bool transposed;
    Index vectors;
    Barrier* barriers;  // the last is for all
    int last_barrier;
    Real* packed;
    Steps& steps;
  } context{shape,   weight,  transposed, vectors, reinterpret_cast<Barrier*>(scratch),
            threads, reinterpret_cast<Real*>(scratch + barriers_bytes), steps};
  for (int i = 0; i <= threads; ++i) context.barriers[i] = Barrier{};

  run_team(
      threads,
      [](void* data, int rank, int size) {
        Context& c = *static_cast<Context*>(data);
        const FlushDenormals flush;
        const Grid grid = Grid::choose<Real>(c.shape, size);
        const int group = rank / grid.members, member = rank % grid.members;
        const int widest = widest_tile(static_cast<int>((c.shape.streams + grid.groups - 1) / grid.groups));
        int panel = 0;  // panels are dealt to all members of the team in turn
        for (int m = 0; m < grid.members; ++m) {
          const Columns columns{cut(c.vectors, grid.members, m), cut(c.vectors, grid.members, m + 1), widest};
          for (Index p = 0; p < columns.panels(); ++p)
            if (panel++ % size == rank)
              pack_panel(c.packed, c.weight, c.transposed, c.shape.hidden, columns.start(p),
                         columns.start(p + 1) - columns.start(p));
        }
        int phase = 0;
        c.barriers[c.last_barrier].wait(size, phase);
        if (group >= grid.groups) return;
        Share<Real> share{c.packed,
                          c.shape.hidden,
                          cut(c.shape.streams, grid.groups, group),
                          cut(c.shape.streams, grid.groups, group + 1),
                          {cut(c.vectors, grid.members, member), cut(c.vectors, grid.members, member + 1), widest},
                          &c.barriers[group],
                          grid.members,
                          0};
        c.steps(share);
      },
      &context);
  release(scratch);
  return true;
}

}  // namespace
}  // namespace ostinato::OSTINATO_ISA
