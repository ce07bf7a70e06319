// A whole layer in one call: the projection of its inputs and the scan.
#pragma once

#include "gradient.hpp"

namespace ostinato::OSTINATO_ISA {
namespace {

template <class Real>
bool forward_or_project(const LayerForwardArgs<Real>& args, const ForwardArgs<Real>& scan) {
  if (!args.input.binary && !args.input.real) return forward(scan);

  SparseProjection<Real> projection;
  const bool begun =
      projection.begin(scan.shape, args.input, args.weight_ih, args.bias, args.second_bias, scan.threads);
  if (!begun) return false;
  projection.out = scan.slopes;
  const auto make = [](const void* self, Index step, const Share<Real>& share) {
    const auto& p = *static_cast<const SparseProjection<Real>*>(self);
    p.project(step, share, p.out + step * p.streams * p.hidden);
  };
  return forward_from(scan, DriveMaker<Real>{make, &projection, projection.preparation()});
}

template <class Real>
bool layer_forward(const LayerForwardArgs<Real>& args) {
  ForwardArgs<Real> scan = args.scan;
  const Index frame = scan.shape.streams * scan.shape.hidden;
  const auto bytes = static_cast<unsigned long>(frame) * sizeof(Real);
  Real* zeros = nullptr;
  if (!scan.h0) {
    zeros = allocate_reals<Real>(frame);
    if (!zeros) return false;
    __builtin_memset(zeros, 0, bytes);
    scan.h0 = zeros;
  }
  scan.drive = scan.slopes;
  const bool done = forward_or_project(args, scan);
  release(zeros);
  if (done) __builtin_memcpy(args.last, scan.states + (scan.shape.steps - 1) * frame, bytes);
  return done;
}

// The tangents of a step hold dU x + db until its end, where the products join them.
template <class Real, bool leaky>
bool layer_tangent_with(const LayerTangentArgs<Real>& args, const SparseProjection<Real>& projection) {
  const auto steps = [&args, &projection](Share<Real>& share) {
    const Index streams = args.shape.streams, hidden = args.shape.hidden, step = streams * hidden;
    for (Index t = 0; t < args.shape.steps; ++t) {
      Real* tangents = args.tangents + t * step;
      const Real *before = t > 0 ? tangents - step : nullptr, *slopes = args.slopes + t * step;
      const Real* states = t > 0 ? args.states + (t - 1) * step : args.h0;
      projection.project(t, share, tangents);
      const auto after = [&](const Real* sums, Index row, Index column, Index count) {
        const Index at = row * hidden + column;
        const bool start = is_start(args.starts, args.shape, t, row);
        for_vectors<Real>(count, [&](Index c, auto lanes_used) {
          using Lanes = decltype(lanes_used);
          const Index i = at + c;
          Vec<Real> s = Lanes::get(lanes_used, tangents + i);
          if (!start) s += load(sums + c);
          s *= Lanes::get(lanes_used, slopes + i);
          if constexpr (leaky)
            if (before && !start)
              s += Lanes::get(lanes_used, args.leak + column + c) * Lanes::get(lanes_used, before + i);
          Lanes::put(lanes_used, tangents + i, s);
        });
      };
      share.step(before, {{slopes}, {}}, after, args.change_hh ? states : nullptr);
    }
  };
  return run_scan(args.shape, args.weight, true, args.threads, steps, args.change_hh, projection.preparation());
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

}  // namespace
}  // namespace ostinato::OSTINATO_ISA
