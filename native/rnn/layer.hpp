// A whole layer in one call: the projection of its inputs and the scan, its tangent, and the way back.
#pragma once

#include "rnn/gradient.hpp"
#include "rnn/projection.hpp"
#include "rnn/rate_drive.hpp"
#include "rnn/scan.hpp"

namespace ostinato::OSTINATO_ISA {
namespace {

template <class Real>
bool project_and_scan(const LayerForwardArgs<Real>& args, const ForwardArgs<Real>& scan) {
  SparseProjection<Real> projection;
  const bool begun =
      projection.begin(scan.shape, args.input, args.weight_ih, args.bias, args.second_bias, scan.threads);
  if (!begun) return false;
  const auto make = [](const void* self, Index step, const Share<Real>& share, const Rows<Real>& to,
                       const Rows<Real>&) {
    static_cast<const SparseProjection<Real>*>(self)->project(step, share, to);
  };
  return forward_from(scan, DriveMaker<Real>{make, &projection, projection.preparation()});
}

// A few inputs of any kind, for a recurrent matrix that is sparse: writing and reading the drive of all steps would take
// as long as the scan does.
template <class Real>
bool drive_and_scan(const LayerForwardArgs<Real>& args, const ForwardArgs<Real>& scan) {
  constexpr Index few = 16;
  if (!args.input.real || args.input.size > few || !scan.may_be_sparse ||
      count_if_sparse(scan.weight, scan.shape.hidden, scan.shape.streams) < 0)
    return false;
  const RateForwardArgs<Real> layer{scan, args.input.size, args.input.real, args.weight_ih, args.bias,
                                    args.second_bias, {}, nullptr, nullptr};
  const RateDrive<Real> drive(layer);
  return forward_from(scan, drive.maker());
}

template <class Real>
bool layer_forward(const LayerForwardArgs<Real>& args) {
  ForwardArgs<Real> scan = args.scan;
  const Index frame = scan.shape.streams * scan.shape.hidden;
  const auto bytes = static_cast<unsigned long>(frame) * sizeof(Real);
  Real* zeros = nullptr;
  if (!scan.h0) {
    zeros = allocate_numbers<Real>(frame);
    if (!zeros) return false;
    __builtin_memset(zeros, 0, bytes);
    scan.h0 = zeros;
  }
  const bool driven = !args.input.binary && !args.input.real;
  scan.drive = driven ? scan.states : nullptr;
  const bool done = driven ? forward(scan) : project_and_scan(args, scan) || drive_and_scan(args, scan);
  release(zeros);
  if (done) __builtin_memcpy(args.last, scan.states + (scan.shape.steps - 1) * frame, bytes);
  return done;
}

// The tangents of a step hold dU x + db until its end, where the products join them.
template <class Real, bool leaky>
bool layer_tangent_with(const LayerTangentArgs<Real>& args, const SparseProjection<Real>& projection) {
  const Shape& shape = args.shape;
  const Order by_step = Order::by_step(shape), slope_order = Order::of(shape, args.by_part);
  const auto steps = [&](Share<Real>& share) {
    const Trail<Real> trail(share, shape, args.tangents);
    Rows<const Real> before;
    for (Index t = 0; t < shape.steps; ++t) {
      const Rows<Real> tangents = trail.rows(t);
      const Rows<const Real> slopes = share.rows(slope_order, args.slopes, t);
      const Rows<const Real> states = share.rows(by_step, t > 0 ? args.states : args.h0, t > 0 ? t - 1 : 0);
      projection.project(t, share, tangents);
      const auto after = [&](const Real* sums, Index row, Index column, Index count) {
        const Index at = row * shape.hidden + column;
        const bool start = is_start(args.starts, shape, t, row);
        for_vectors<Real>(count, [&](Index c, auto lanes_used) {
          using Lanes = decltype(lanes_used);
          const Index i = at + c;
          Vec<Real> s = Lanes::get(lanes_used, tangents.at(i));
          if (!start) s += load(sums + c);
          s *= Lanes::get(lanes_used, slopes.at(i));
          if constexpr (leaky)
            if (before && !start)
              s += Lanes::get(lanes_used, args.leak + column + c) * Lanes::get(lanes_used, before.at(i));
          Lanes::put(lanes_used, tangents.at(i), s);
        });
      };
      share.step(before, {{slopes}, {}}, after, args.change_hh ? states : Rows<const Real>{});
      trail.finish(t);
      before = tangents;
    }
  };
  return run_scan(shape, slope_order.split, args.weight, true, args.threads, steps, args.change_hh,
                  projection.preparation());
}

template <class Real>
bool layer_tangent(const LayerTangentArgs<Real>& args) {
  SparseProjection<Real> projection;
  const bool begun = projection.begin(args.shape, args.input, args.change_ih, args.change_bias,
                                      args.second_change_bias, args.threads);
  if (!begun) return false;
  return args.leak ? layer_tangent_with<Real, true>(args, projection)
                   : layer_tangent_with<Real, false>(args, projection);
}

// The adjoint scan, and the gradients in the same team.
template <class Real>
bool layer_backward(const LayerBackwardArgs<Real>& args) {
  const AdjointArgs<Real>& scan = args.scan;
  InterleavedGradient<Real> gradient_of_hh(scan.shape, args.delta(), args.states, scan.starts, args.grad_hh);
  InterleavedGradient<Real>* interleaved =
      args.grad_hh && !args.on_the_way && gradient_of_hh.pays(scan.shape, scan.threads) ? &gradient_of_hh : nullptr;
  const int threads = scan.threads < 1 ? 1 : scan.threads;
  const LayerGradient<Real> gradient(args, threads, interleaved);
  if (!gradient.has_memory()) return false;
  AdjointArgs<Real> kept = scan;
  kept.ring = gradient.ring(threads);
  return adjoint(kept, MakeGradient<Real>(gradient, threads), interleaved);
}

}  // namespace
}  // namespace ostinato::OSTINATO_ISA
