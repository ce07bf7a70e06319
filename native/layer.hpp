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
  if (!maker.projection.prepare(args)) return false;
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

}  // namespace
}  // namespace ostinato::OSTINATO_ISA
