// The three scans of a cell with gates, for any such cell: forward, adjoint and tangent. Each step is a product with
// every gate's matrix, and the cell's pointwise part behind each tile while the sums are in cache.
//
// A cell is a struct of numbers and four functions of one vector of units each, which know nothing of memory, time or
// threads. h and c are the state; a cell without c (has_cell) ignores it.
//
//   gates, drives, saved, coefficients, deltas    K, D, S, C and R of gated/arguments.hpp
//   delta_of_gate                                 which of the deltas is that of each gate's u
//   delta_of_drive                                the first of the deltas of x, which lie together
//   forward(x, u, a, h, c, saved)                 the state before, zero at starts, becomes the state after
//   linearize(saved, a, h, c, by)                 the step's derivatives, from what was saved and the state before
//   adjoint(by, h, c, deltas, carried)            h: g of h; c: g of c but for what h passes on, which it adds; carried:
//                                                 what goes to c of the step before (to h, where there is no c)
//                                                 besides what the gates' products pass on
//   tangent(by, u, force_h, force_c, h, c)        the state's change before becomes that after
#pragma once

#include "gated/arguments.hpp"
#include "gated/gradient.hpp"
#include "simd/for_vectors.hpp"
#include "team/run_scan.hpp"
#include "team/trail.hpp"

namespace ostinato::OSTINATO_ISA {
namespace {

// The order of an array with `blocks` blocks of H numbers for every frame; step by step.
OSTINATO_INLINE Order blocks_by_step(const Shape& shape, int blocks) {
  return Order::by_step({shape.steps, shape.streams, blocks * shape.hidden});
}

// A unit's place in such an array.
struct Blocks {
  Index count, hidden;
  OSTINATO_INLINE Index at(Index row, int block, Index column) const { return (row * count + block) * hidden + column; }
};

template <class Cell, class Real>
bool gated_forward_of(const GatedForwardArgs<Real>& args) {
  const Shape& shape = args.shape;
  const Index hidden = shape.hidden;
  const Order by_step = Order::by_step(shape);
  const Order drive_order = blocks_by_step(shape, Cell::drives), saved_order = blocks_by_step(shape, Cell::saved);
  const Blocks in{Cell::drives, hidden}, out{Cell::saved, hidden};
  const auto steps = [&](Share<Real>& share) {
    const Trail<Real> trail(share, shape, args.states);
    Rows<const Real> before = share.rows(by_step, args.h0, 0), before_c = share.rows(by_step, args.c0, 0);
    for (Index t = 0; t < shape.steps; ++t) {
      const Rows<Real> states = trail.rows(t), cells = share.rows(by_step, args.cells, t);
      const Rows<const Real> drive = share.rows(drive_order, args.drive, t);
      const Rows<Real> saved = share.rows(saved_order, args.saved, t);
      const auto after = [&](const Real* sums, Index apart, Index row, Index column, Index count) {
        const bool start = is_start(args.starts, shape, t, row);
        for_vectors<Real>(count, [&](Index c, auto lanes_used) {
          using Lanes = decltype(lanes_used);
          const Index unit = column + c, i = row * hidden + unit;
          Vec<Real> x[Cell::drives], u[Cell::gates], kept[Cell::saved], a{}, h{}, cell{};
#pragma GCC unroll 8
          for (int d = 0; d < Cell::drives; ++d) x[d] = Lanes::get(lanes_used, drive.at(in.at(row, d, unit)));
#pragma GCC unroll 8
          for (int g = 0; g < Cell::gates; ++g) {
            u[g] = start ? Vec<Real>{} : load(sums + g * apart + c);
            if (args.bias) u[g] += Lanes::get(lanes_used, args.bias + g * hidden + unit);
          }
          if (args.leak) a = Lanes::get(lanes_used, args.leak + unit);
          if (!start) {
            h = Lanes::get(lanes_used, before.at(i));
            if constexpr (Cell::has_cell) cell = Lanes::get(lanes_used, before_c.at(i));
          }
          Cell::template forward<Real>(x, u, a, h, cell, kept);
          Lanes::put(lanes_used, states.at(i), h);
          if constexpr (Cell::has_cell) Lanes::put(lanes_used, cells.at(i), cell);
          if (!saved) return;
#pragma GCC unroll 8
          for (int s = 0; s < Cell::saved; ++s) Lanes::put(lanes_used, saved.at(out.at(row, s, unit)), kept[s]);
        });
      };
      UpcomingBlocks<Real> upcoming(hidden);
      upcoming.read(drive, Cell::drives);
      upcoming.write(saved, Cell::saved);
      upcoming.write(cells, 1);
      upcoming.write(trail.far_rows(t), 1);
      share.template step_of_gates<Cell::gates, false>(before, hidden, nullptr, upcoming, after);
      trail.finish(t);
      before = states;
      before_c = cells;
    }
  };
  return run_scan<Real>(shape, by_step.split, args.weight, true, args.threads, steps, nullptr, {}, {}, Cell::gates);
}

// The derivatives of a step, from what was saved.
template <class Cell, class Real>
class FromSaved {
 public:
  FromSaved(const LinearizedArgs<Real>& args, const Shape& shape, const Share<Real>& share, Index t)
      : args_(args), in_{Cell::saved, shape.hidden},
        saved_(share.rows(blocks_by_step(shape, Cell::saved), args.saved, t < 0 ? 0 : t)) {
    const Order by_step = Order::by_step(shape);
    before_ = share.rows(by_step, t > 0 ? args.states : args.h0, t > 0 ? t - 1 : 0);
    if constexpr (Cell::has_cell) before_c_ = share.rows(by_step, t > 0 ? args.cells : args.c0, t > 0 ? t - 1 : 0);
  }

  template <class Lanes>
  OSTINATO_INLINE void find(const Lanes& lanes_used, Index row, Index unit, bool start, Vec<Real>* by) const {
    Vec<Real> saved[Cell::saved], a{}, h{}, cell{};
#pragma GCC unroll 8
    for (int s = 0; s < Cell::saved; ++s) saved[s] = Lanes::get(lanes_used, saved_.at(in_.at(row, s, unit)));
    if (args_.leak) a = Lanes::get(lanes_used, args_.leak + unit);
    if (!start) {
      h = Lanes::get(lanes_used, before_.at(row * in_.hidden + unit));
      if constexpr (Cell::has_cell) cell = Lanes::get(lanes_used, before_c_.at(row * in_.hidden + unit));
    }
    Cell::template linearize<Real>(saved, a, h, cell, by);
  }

  void tell(UpcomingBlocks<Real>& upcoming) const {
    upcoming.read(saved_, Cell::saved);
    upcoming.read(Cell::has_cell ? before_c_ : before_, 1);
  }

 private:
  const LinearizedArgs<Real>& args_;
  Blocks in_;
  Rows<const Real> saved_, before_, before_c_;
};

// The same where they are written out.
template <class Cell, class Real>
class WrittenOut {
 public:
  WrittenOut(const LinearizedArgs<Real>& args, const Shape& shape, const Share<Real>& share, Index t)
      : in_{Cell::coefficients, shape.hidden},
        rows_(share.rows(blocks_by_step(shape, Cell::coefficients), args.coefficients, t < 0 ? 0 : t)) {}

  template <class Lanes>
  OSTINATO_INLINE void find(const Lanes& lanes_used, Index row, Index unit, bool, Vec<Real>* by) const {
#pragma GCC unroll 8
    for (int i = 0; i < Cell::coefficients; ++i) by[i] = Lanes::get(lanes_used, rows_.at(in_.at(row, i, unit)));
  }

  void tell(UpcomingBlocks<Real>& upcoming) const { upcoming.read(rows_, Cell::coefficients); }

 private:
  Blocks in_;
  Rows<const Real> rows_;
};

// `carried` holds what a step passes to the one before it besides the product: rows that every step reads and then
// overwrites in place.
template <class Cell, template <class, class> class Linearized, class Real>
bool gated_adjoint_from(const GatedAdjointArgs<Real>& args) {
  const Shape& shape = args.shape;
  const Index hidden = shape.hidden;
  const Order by_step = Order::by_step(shape), delta_order = blocks_by_step(shape, Cell::deltas);
  const Blocks out{Cell::deltas, hidden};
  const auto steps = [&](Share<Real>& share) {
    const Rows<Real> carried = share.own_rows(2);
    Rows<const Real> later;
    for (Index t = shape.steps - 1; t >= -1; --t) {
      const bool inside = t >= 0;
      const Linearized<Cell, Real> at(args.at, shape, share, t);
      const Rows<const Real> grads = share.rows(by_step, args.grad_states, t);
      const Rows<const Real> grads_c = share.rows(by_step, args.grad_cells, t);
      const Rows<Real> deltas = share.rows(delta_order, args.deltas, t);
      const Rows<Real> total = share.rows(by_step, args.total_states, t);
      const Rows<Real> total_c = share.rows(by_step, args.total_cells, t);
      const auto after = [&](const Real* sums, Index, Index row, Index column, Index count) {
        const bool joined = later && !is_start(args.starts, shape, t + 1, row);
        const bool start = inside && is_start(args.starts, shape, t, row);
        for_vectors<Real>(count, [&](Index c, auto lanes_used) {
          using Lanes = decltype(lanes_used);
          const Index unit = column + c, i = row * hidden + unit;
          Vec<Real> h{}, cell{}, passed, delta[Cell::deltas], by[Cell::coefficients];
          if (joined) {
            h = load(sums + c);
            (Cell::has_cell ? cell : h) += Lanes::get(lanes_used, carried.at(i));
          }
          if (!inside) {
            Lanes::put(lanes_used, args.grad_h0 + i, h);
            if constexpr (Cell::has_cell) Lanes::put(lanes_used, args.grad_c0 + i, cell);
            return;
          }
          h += Lanes::get(lanes_used, grads.at(i));
          if constexpr (Cell::has_cell)
            if (grads_c) cell += Lanes::get(lanes_used, grads_c.at(i));
          at.find(lanes_used, row, unit, start, by);
          Cell::template adjoint<Real>(by, h, cell, delta, passed);
          Lanes::put(lanes_used, carried.at(i), passed);
          if (total) Lanes::put(lanes_used, total.at(i), h);
          if constexpr (Cell::has_cell)
            if (total_c) Lanes::put(lanes_used, total_c.at(i), cell);
#pragma GCC unroll 8
          for (int d = 0; d < Cell::deltas; ++d) Lanes::put(lanes_used, deltas.at(out.at(row, d, unit)), delta[d]);
        });
      };
      UpcomingBlocks<Real> upcoming(hidden);
      if (inside) {
        at.tell(upcoming);
        upcoming.read(grads, 1);
        upcoming.read(grads_c, 1);
        upcoming.write(deltas, Cell::deltas);
      }
      share.template step_of_gates<Cell::gates, true>(later, Cell::deltas * hidden, Cell::delta_of_gate, upcoming, after);
      later = deltas;
    }
  };
  const GatedGradient<Real> gradient(args, Cell{});
  if (!gradient.has_memory()) return false;
  const auto then = [&gradient](int rank, int size) { gradient.run(rank, size); };
  return run_scan<Real>(shape, by_step.split, args.weight, false, args.threads, steps, nullptr, {}, then, Cell::gates);
}

template <class Cell, class Real>
bool gated_adjoint_of(const GatedAdjointArgs<Real>& args) {
  return args.at.coefficients ? gated_adjoint_from<Cell, WrittenOut>(args) : gated_adjoint_from<Cell, FromSaved>(args);
}

template <class Cell, class Real>
bool gated_tangent_of(const GatedTangentArgs<Real>& args) {
  const Shape& shape = args.shape;
  const Index hidden = shape.hidden;
  const Order by_step = Order::by_step(shape);
  const LinearizedArgs<Real> linearized{args.coefficients, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr};
  const auto steps = [&](Share<Real>& share) {
    const Trail<Real> trail(share, shape, args.states);
    Rows<const Real> before = share.rows(by_step, args.h0_tangent, 0), before_c = share.rows(by_step, args.c0_tangent, 0);
    for (Index t = 0; t < shape.steps; ++t) {
      const WrittenOut<Cell, Real> at(linearized, shape, share, t);
      const Rows<Real> states = trail.rows(t), cells = share.rows(by_step, args.cells, t);
      const Rows<const Real> force = share.rows(by_step, args.force_states, t);
      const Rows<const Real> force_c = share.rows(by_step, args.force_cells, t);
      const auto after = [&](const Real* sums, Index apart, Index row, Index column, Index count) {
        const bool start = is_start(args.starts, shape, t, row);
        for_vectors<Real>(count, [&](Index c, auto lanes_used) {
          using Lanes = decltype(lanes_used);
          const Index unit = column + c, i = row * hidden + unit;
          Vec<Real> u[Cell::gates], by[Cell::coefficients], h{}, cell{}, pushed = Lanes::get(lanes_used, force.at(i)),
                                                                         pushed_c{};
#pragma GCC unroll 8
          for (int g = 0; g < Cell::gates; ++g) u[g] = start ? Vec<Real>{} : load(sums + g * apart + c);
          if (!start) {
            h = Lanes::get(lanes_used, before.at(i));
            if constexpr (Cell::has_cell) cell = Lanes::get(lanes_used, before_c.at(i));
          }
          if constexpr (Cell::has_cell) pushed_c = Lanes::get(lanes_used, force_c.at(i));
          at.find(lanes_used, row, unit, start, by);
          Cell::template tangent<Real>(by, u, pushed, pushed_c, h, cell);
          Lanes::put(lanes_used, states.at(i), h);
          if constexpr (Cell::has_cell) Lanes::put(lanes_used, cells.at(i), cell);
        });
      };
      UpcomingBlocks<Real> upcoming(hidden);
      at.tell(upcoming);
      upcoming.read(force, 1);
      share.template step_of_gates<Cell::gates, false>(before, hidden, nullptr, upcoming, after);
      trail.finish(t);
      before = states;
      before_c = cells;
    }
  };
  return run_scan<Real>(shape, by_step.split, args.weight, true, args.threads, steps, nullptr, {}, {}, Cell::gates);
}

}  // namespace
}  // namespace ostinato::OSTINATO_ISA
