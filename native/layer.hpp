// A whole layer in one call: the projection of its inputs and the scan.
#pragma once

#include "gradient.hpp"

namespace ostinato::OSTINATO_ISA {
namespace {

template <class Real>
bool layer_forward(const LayerForwardArgs<Real>& args) {
  ForwardArgs<Real> scan = args.scan;
  const Index frame = scan.shape.streams * scan.shape.hidden;
  const auto bytes = static_cast<unsigned long>(frame) * sizeof(Real);
  if (scan.h0)
    __builtin_memcpy(args.path, scan.h0, bytes);
  else
    __builtin_memset(args.path, 0, bytes);
  scan.h0 = args.path;
  scan.states = args.path + frame;
  scan.drive = scan.slopes;
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

}  // namespace
}  // namespace ostinato::OSTINATO_ISA
