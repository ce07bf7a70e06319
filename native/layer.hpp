// A whole layer in one call: the projection of its inputs and the scan.
#pragma once

#include "gradient.hpp"

namespace ostinato::OSTINATO_ISA {
namespace {

template <class Real>
bool forward_or_project(const LayerForwardArgs<Real>& args, const ForwardArgs<Real>& scan) {
  if (!args.input.binary && !args.input.real) return forward(scan);

  struct Maker {
    SparseProjection<Real> projection;
    Real* drive;
    Index streams;
  } maker{{}, scan.slopes, scan.shape.streams};
  if (!maker.projection.prepare(scan.shape, args.input, args.weight_ih, args.bias, args.second_bias)) return false;
  const auto make = [](const void* self, Index step, Index row_begin, Index row_end, Index first, Index last) {
    const Maker& m = *static_cast<const Maker*>(self);
    for (Index row = row_begin; row < row_end; ++row) {
      const Index n = step * m.streams + row;
      m.projection.project(n, first, last, m.drive + n * m.projection.hidden);
    }
  };
  return forward_from(scan, DriveMaker{make, &maker});
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

template <class Real>
bool layer_tangent(const LayerTangentArgs<Real>& args) {
  struct Maker {
    SparseProjection<Real> projection;
    const LayerTangentArgs<Real>& args;
  } maker{{}, args};
  const TangentArgs<Real>& scan = args.scan;
  if (!maker.projection.prepare(scan.shape, args.input, args.change_ih, args.change_bias, args.second_change_bias))
    return false;
  const auto make = [](const void* self, Index step, Index row_begin, Index row_end, Index first, Index last) {
    const Maker& m = *static_cast<const Maker*>(self);
    const TangentArgs<Real>& s = m.args.scan;
    constexpr Index line = 64 / static_cast<Index>(sizeof(Real));
    const Index later = step + 1 < s.shape.steps ? s.shape.streams * s.shape.hidden : 0;
    for (Index row = row_begin; row < row_end; ++row) {
      const Index n = step * s.shape.streams + row, at = n * s.shape.hidden + first;
      for (Index c = 0; c < last - first; c += line) {  // what the next step reads, while this one computes
        __builtin_prefetch(m.args.force + at + later + c, 1);
        __builtin_prefetch(s.slopes + at + later + c, 0);
      }
      m.projection.project(n, first, last, s.tangents + n * s.shape.hidden);  // free until the step's end
      for_vectors<Real>(last - first, [&](Index c, auto lanes_used) {
        using Lanes = decltype(lanes_used);
        Real* force = m.args.force + at + c;
        Lanes::put(lanes_used, force,
                   (Lanes::get(lanes_used, force) + Lanes::get(lanes_used, s.tangents + at + c)) *
                       Lanes::get(lanes_used, s.slopes + at + c));
      });
    }
  };
  return tangent_from(scan, DriveMaker{make, &maker});
}

}  // namespace
}  // namespace ostinato::OSTINATO_ISA
