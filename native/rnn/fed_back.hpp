// The scan of a network whose rates are fed back, r = f(h), and its adjoint, which is the leaky scan's tangent over the
// transposed matrix, backwards in time.
#pragma once

#include "rnn/scan.hpp"

namespace ostinato::OSTINATO_ISA {
namespace {

template <class Real, class F>
bool fed_back_with(const FedBackArgs<Real>& args, const DriveMaker<Real>& maker, const F& f) {
  const Shape& shape = args.shape;
  const Order by_step = Order::by_step(shape), slope_order = Order::of(shape, args.by_part);
  const auto steps = [&](Share<Real>& share) {
    const Trail<Real> trail(share, shape, args.rates);
    Rows<const Real> before = share.rows(by_step, args.h0, 0), fed = share.rows(by_step, args.r0, 0);
    for (Index t = 0; t < shape.steps; ++t) {
      const Rows<Real> rates = trail.rows(t), kept = share.rows(slope_order, args.slopes, t);
      const Rows<Real> slopes = kept ? kept : share.own_rows(3);
      const Rows<Real> wanted = share.rows(by_step, args.states, t), states = wanted ? wanted : share.own_rows(2);
      const Rows<const Real> given = maker.make ? Rows<const Real>{} : share.rows(by_step, args.drive, t);
      const Rows<const Real> drive = given ? given : Rows<const Real>(rates);
      Real* const last = t + 1 == shape.steps ? args.last : nullptr;
      if (maker.make) maker.make(maker.self, t, share, rates, {});
      const auto after = [&](const Real* sums, Index row, Index column, Index count) {
        const Index at = row * shape.hidden + column;
        const bool start = is_start(args.starts, shape, t, row);
        for_vectors<Real>(count, [&](Index c, auto lanes_used) {
          using Lanes = decltype(lanes_used);
          const Index i = at + c;
          Vec<Real> h = Lanes::get(lanes_used, drive.at(i)), rate, slope;
          if (!start)
            h += load(sums + c) + Lanes::get(lanes_used, args.leak + column + c) * Lanes::get(lanes_used, before.at(i));
          f.template apply<Real>(h, rate, slope);
          Lanes::put(lanes_used, states.at(i), h);
          if (last) Lanes::put(lanes_used, last + i, h);
          Lanes::put(lanes_used, rates.at(i), rate);
          Lanes::put(lanes_used, slopes.at(i), slope);
        });
      };
      share.step(fed, {{given, wanted}, {trail.far_rows(t), kept}}, after);
      trail.finish(t);
      before = states;
      fed = rates;
    }
  };
  return run_scan<Real>(shape, slope_order.split, args.weight, true, args.threads, steps, nullptr, maker.preparation,
                        Nothing{}, 1, args.may_be_sparse);
}

template <class Real>
bool fed_back(const FedBackArgs<Real>& args, const DriveMaker<Real>& maker) {
  return with_activation(args.nonlinearity, args.parameter,
                         [&](const auto& f) { return fed_back_with<Real>(args, maker, f); });
}

template <class Real>
bool fed_back(const FedBackArgs<Real>& args) {
  return fed_back(args, DriveMaker<Real>{});
}

template <class Real, class Then>
bool fed_back_adjoint(const FedBackAdjointArgs<Real>& args, const Then& then) {
  const Shape& shape = args.shape;
  const Order by_step = Order::by_step(shape), slope_order = Order::of(shape, args.by_part);
  const auto steps = [&](Share<Real>& share) {
    const Trail<Real> trail = args.by_part ? Trail<Real>(share, shape, args.adjoint_in_parts, args.adjoint, args.ring)
                                           : Trail<Real>(share, shape, args.adjoint);
    Rows<const Real> later;
    for (Index t = shape.steps - 1; t >= 0; --t) {
      const Rows<Real> adjoint = trail.rows(t);
      const Rows<const Real> grads = share.rows(by_step, args.grad_rates, t);
      const Rows<const Real> slopes = share.rows(slope_order, args.slopes, t);
      const Rows<const Real> force = share.rows(by_step, args.force, t);
      const auto after = [&](const Real* sums, Index row, Index column, Index count) {
        const Index at = row * shape.hidden + column;
        const bool joined = later && !is_start(args.starts, shape, t + 1, row);
        for_vectors<Real>(count, [&](Index c, auto lanes_used) {
          using Lanes = decltype(lanes_used);
          const Index i = at + c;
          Vec<Real> g{};
          if (joined) g = load(sums + c);
          if (grads) g += Lanes::get(lanes_used, grads.at(i));
          g *= Lanes::get(lanes_used, slopes.at(i));
          if (force) g += Lanes::get(lanes_used, force.at(i));
          if (joined) g += Lanes::get(lanes_used, args.leak + column + c) * Lanes::get(lanes_used, later.at(i));
          Lanes::put(lanes_used, adjoint.at(i), g);
          if (t == 0 && args.first) Lanes::put(lanes_used, args.first + i, g);
        });
      };
      share.step(later, {{grads, slopes}, {trail.far_rows(t)}}, after);
      trail.finish(t);
      then.finish_step(t, share);
      later = adjoint;
    }
  };
  return run_scan<Real>(shape, slope_order.split, args.weight, false, args.threads, steps, nullptr, {}, then, 1,
                        args.may_be_sparse);
}

template <class Real>
bool fed_back_adjoint(const FedBackAdjointArgs<Real>& args) {
  return fed_back_adjoint(args, Nothing{});
}

}  // namespace
}  // namespace ostinato::OSTINATO_ISA
