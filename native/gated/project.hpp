// The projection of dense inputs to the drive of all gates, for all frames at once.
#pragma once

#include "gated/arguments.hpp"
#include "linear/product.hpp"
#include "simd/for_vectors.hpp"
#include "team/scratch.hpp"
#include "team/team.hpp"

namespace ostinato::OSTINATO_ISA {
namespace {

// One thread's frames: for every panel of U', all of them in tiles.
template <class Real>
void project_frames(const ProjectArgs<Real>& args, Real* panel, Index begin, Index end) {
  const Index inputs = args.inputs, outputs = args.outputs, vectors = (outputs + lanes<Real> - 1) / lanes<Real>;
  const Columns cuts{0, vectors, widest_tile(tile_rows)};
  alignas(64) Real sums[tile_sums * lanes<Real>];
  for (Index p = 0; p < cuts.panels(); ++p) {
    const Index v = cuts.start(p), column = v * lanes<Real>;
    const Index width = panel_width<Real>(v, cuts.start(p + 1) - v, outputs);
    const Index count = column + width > outputs ? outputs - column : width;
    if (count < width) __builtin_memset(panel, 0, static_cast<unsigned long>(width * inputs) * sizeof(Real));
    transpose_matrix(panel, width, args.weight + column * inputs, inputs, count, inputs);
    for (Index n = begin; n < end; n += tile_rows) {
      const Index rows = end - n < tile_rows ? end - n : tile_rows;
      add_products(args.x + n * inputs, inputs, panel, rows, width, 0, inputs, sums, true, Walk::forwards,
                   Upcoming<Real>{});
      for (Index r = 0; r < rows; ++r)
        for_vectors<Real>(count, [&](Index c, auto lanes_used) {
          using Lanes = decltype(lanes_used);
          Vec<Real> sum = load(sums + r * width + c);
          if (args.bias) sum += Lanes::get(lanes_used, args.bias + column + c);
          if (args.second_bias) sum += Lanes::get(lanes_used, args.second_bias + column + c);
          Lanes::put(lanes_used, args.out + (n + r) * outputs + column + c, sum);
        });
    }
  }
}

template <class Real>
bool project(const ProjectArgs<Real>& args) {
  const int threads = args.threads < 1 ? 1 : args.threads;
  const Index size = roomy(widest_tile(tile_rows) * lanes<Real> * args.inputs);
  Real* panels = allocate_numbers<Real>(threads * size);
  if (!panels) return false;
  struct Context {
    const ProjectArgs<Real>& args;
    Real* panels;
    Index size;
  } context{args, panels, size};
  run_team(
      threads,
      [](void* data, int rank, int team) {
        const Context& c = *static_cast<const Context*>(data);
        const FlushDenormals flush;
        project_frames(c.args, c.panels + rank * c.size, cut(c.args.frames, team, rank), cut(c.args.frames, team, rank + 1));
      },
      &context);
  release(panels);
  return true;
}

}  // namespace
}  // namespace ostinato::OSTINATO_ISA
