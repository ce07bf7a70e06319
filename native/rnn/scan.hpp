// The three scans: forward, adjoint and tangent. Each step is one product and an elementwise part behind each tile.
#pragma once

#include "rnn/arguments.hpp"
#include "rnn/interleaved_gradient.hpp"
#include "simd/for_vectors.hpp"
#include "simd/nonlinearity.hpp"
#include "team/run_scan.hpp"
#include "team/trail.hpp"

namespace ostinato::OSTINATO_ISA {
namespace {

// What makes a share of a step's drive just before the step, where its states will be, and maybe its push as well. It
// may read the drive that is given.
template <class Real>
struct DriveMaker {
  void (*make)(const void* self, Index step, const Share<Real>& share, const Rows<Real>& to, const Rows<Real>& push) =
      nullptr;
  const void* self = nullptr;
  Preparation<Real> preparation;
  bool pushes = false;
};

// `pushes` says whether there may be a push.
template <class Real, bool leaky, bool pushes, class F>
bool forward_with(const ForwardArgs<Real>& args, const DriveMaker<Real>& maker, const F& f) {
  const Shape& shape = args.shape;
  const Order by_step = Order::by_step(shape), slope_order = Order::of(shape, args.by_part);
  const auto steps = [&](Share<Real>& share) {
    const Trail<Real> trail(share, shape, args.states);
    Rows<const Real> before = share.rows(by_step, args.h0, 0);
    for (Index t = 0; t < shape.steps; ++t) {
      const Rows<Real> states = trail.rows(t), kept = share.rows(slope_order, args.slopes, t);
      const Rows<Real> slopes = kept ? kept : share.own_rows(3);
      const Rows<const Real> given = maker.make ? Rows<const Real>{} : share.rows(by_step, args.drive, t);
      const Rows<const Real> drive = given ? given : Rows<const Real>(states);
      const Rows<Real> made = pushes && maker.pushes ? share.own_rows(2) : Rows<Real>{};
      Rows<const Real> push = made;
      if (pushes && !push) push = share.rows(by_step, args.push, t);
      if (maker.make) maker.make(maker.self, t, share, states, made);
      const auto after = [&](const Real* sums, Index row, Index column, Index count) {
        const Index at = row * shape.hidden + column;
        const bool start = is_start(args.starts, shape, t, row);
        for_vectors<Real>(count, [&](Index c, auto lanes_used) {
          using Lanes = decltype(lanes_used);
          const Index i = at + c;
          Vec<Real> z = Lanes::get(lanes_used, drive.at(i)), value, slope;
          if (!start) z += load(sums + c);
          f.template apply<Real>(z, value, slope);
          if constexpr (leaky) {
            const Vec<Real> a = Lanes::get(lanes_used, args.leak + column + c), rest = Real(1) - a;
            value *= rest;
            slope *= rest;
            if (!start) value += a * Lanes::get(lanes_used, before.at(i));
          }
          if constexpr (pushes)
            if (push) value += Lanes::get(lanes_used, push.at(i));
          Lanes::put(lanes_used, states.at(i), value);
          Lanes::put(lanes_used, slopes.at(i), slope);
        });
      };
      share.step(before, {{given, push}, {trail.far_rows(t), kept}}, after);
      trail.finish(t);
      before = states;
    }
  };
  return run_scan<Real>(shape, slope_order.split, args.weight, true, args.threads, steps, nullptr, maker.preparation,
                        Nothing{}, 1, args.may_be_sparse);
}

template <class Real, Nonlinearity f>
bool forward_of(const ForwardArgs<Real>& args, const DriveMaker<Real>& maker) {
  return args.leak ? forward_with<Real, true, false>(args, maker, Activation<f>{})
                   : forward_with<Real, false, false>(args, maker, Activation<f>{});
}

template <class Real>
bool forward_from(const ForwardArgs<Real>& args, const DriveMaker<Real>& maker) {
  if (args.push || maker.pushes || args.nonlinearity > Nonlinearity::identity)
    return with_activation(args.nonlinearity, args.parameter, [&](const auto& f) {
      return args.leak ? forward_with<Real, true, true>(args, maker, f) : forward_with<Real, false, true>(args, maker, f);
    });
  switch (args.nonlinearity) {
    case Nonlinearity::tanh: return forward_of<Real, Nonlinearity::tanh>(args, maker);
    case Nonlinearity::relu: return forward_of<Real, Nonlinearity::relu>(args, maker);
    case Nonlinearity::sigmoid: return forward_of<Real, Nonlinearity::sigmoid>(args, maker);
    default: return forward_of<Real, Nonlinearity::identity>(args, maker);
  }
}

template <class Real>
bool forward(const ForwardArgs<Real>& args) {
  return forward_from(args, DriveMaker<Real>{});
}

// `carried` holds g of step t + 1 when it is needed there: in adjoint_states when those are wanted, otherwise in rows
// that every step reads and then overwrites in place.
template <class Real, bool leaky, class Then>
void adjoint_steps(const AdjointArgs<Real>& args, const Trail<Real>& trail, Share<Real>& share,
                   InterleavedGradient<Real>* gradient, const Then& then) {
  const Shape& shape = args.shape;
  const Order by_step = Order::by_step(shape), slope_order = Order::of(shape, args.by_part);
  Rows<const Real> delta_next, carried;
  for (Index t = shape.steps - 1; t >= -1; --t) {
    const bool inside = t >= 0;
    const Rows<const Real> grads = share.rows(by_step, args.grad_states, t);
    const Rows<const Real> slopes = share.rows(slope_order, args.slopes, t);
    const Rows<Real> deltas = trail.rows(t), wanted = share.rows(by_step, args.adjoint_states, t);
    const Rows<Real> keep = wanted ? wanted : leaky ? share.own_rows(2) : Rows<Real>{};
    const auto after = [&](const Real* sums, Index row, Index column, Index count) {
      const Index at = row * shape.hidden + column;
      const bool cleared = t + 1 < shape.steps && is_start(args.starts, shape, t + 1, row);
      for_vectors<Real>(count, [&](Index c, auto lanes_used) {
        using Lanes = decltype(lanes_used);
        const Index i = at + c;
        Vec<Real> g{};
        if (!cleared) {
          g = load(sums + c);
          if constexpr (leaky)
            if (carried) g += Lanes::get(lanes_used, args.leak + column + c) * Lanes::get(lanes_used, carried.at(i));
        }
        if (!inside) {
          Lanes::put(lanes_used, args.grad_h0 + i, g);
          return;
        }
        g += Lanes::get(lanes_used, grads.at(i));
        if (keep) Lanes::put(lanes_used, keep.at(i), g);
        Lanes::put(lanes_used, deltas.at(i), g * Lanes::get(lanes_used, slopes.at(i)));
      });
    };
    UpcomingRows<Real> upcoming;
    if (inside) upcoming = {{grads, slopes}, {trail.far_rows(t), wanted}};
    share.step(delta_next, upcoming, after, {}, InterleavedProduct<Real>{gradient});
    if (!inside) break;
    trail.finish(t);
    if (gradient) gradient->finish_step(t);
    then.finish_step(t, share);
    delta_next = deltas;
    carried = keep;
  }
  if (gradient) gradient->finish();
}

// With `gradient`, of one stream on one thread, its sums are made meanwhile. `then` hears of every step's end, and is
// called when all are done.
template <class Real, class Then>
bool adjoint(const AdjointArgs<Real>& args, const Then& then, InterleavedGradient<Real>* gradient = nullptr) {
  const auto steps = [&args, &then, gradient](Share<Real>& share) {
    const Trail<Real> trail = args.by_part ? Trail<Real>(share, args.shape, args.delta_in_parts, args.delta, args.ring)
                                          : Trail<Real>(share, args.shape, args.delta);
    args.leak ? adjoint_steps<Real, true>(args, trail, share, gradient, then)
              : adjoint_steps<Real, false>(args, trail, share, gradient, then);
  };
  return run_scan<Real>(args.shape, Order::of(args.shape, args.by_part).split, args.weight, false, args.threads, steps,
                        nullptr, {}, then, 1, args.may_be_sparse && !gradient);
}

template <class Real>
bool adjoint(const AdjointArgs<Real>& args) {
  return adjoint(args, Nothing{});
}

template <class Real, bool leaky>
bool tangent_with(const TangentArgs<Real>& args) {
  const Shape& shape = args.shape;
  const Order by_step = Order::by_step(shape);
  const auto steps = [&](Share<Real>& share) {
    const Trail<Real> trail(share, shape, args.tangents);
    Rows<const Real> before = share.rows(by_step, args.h0_tangent, 0);
    for (Index t = 0; t < shape.steps; ++t) {
      const Rows<Real> tangents = trail.rows(t);
      const Rows<const Real> force = share.rows(by_step, args.force, t), slopes = share.rows(by_step, args.slopes, t);
      const auto after = [&](const Real* sums, Index row, Index column, Index count) {
        const Index at = row * shape.hidden + column;
        const bool start = is_start(args.starts, shape, t, row);
        for_vectors<Real>(count, [&](Index c, auto lanes_used) {
          using Lanes = decltype(lanes_used);
          const Index i = at + c;
          Vec<Real> s = Lanes::get(lanes_used, force.at(i));
          if (!start) {
            s += load(sums + c) * Lanes::get(lanes_used, slopes.at(i));
            if constexpr (leaky)
              s += Lanes::get(lanes_used, args.leak + column + c) * Lanes::get(lanes_used, before.at(i));
          }
          Lanes::put(lanes_used, tangents.at(i), s);
        });
      };
      share.step(before, {{force, slopes}, {trail.far_rows(t)}}, after);
      trail.finish(t);
      before = tangents;
    }
  };
  return run_scan(shape, by_step.split, args.weight, true, args.threads, steps);
}

template <class Real>
bool tangent(const TangentArgs<Real>& args) {
  return args.leak ? tangent_with<Real, true>(args) : tangent_with<Real, false>(args);
}

}  // namespace
}  // namespace ostinato::OSTINATO_ISA
