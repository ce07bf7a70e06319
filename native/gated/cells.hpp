// Every gated cell that there is, and the kernels that choose among them.
#pragma once

#include "gated/gru.hpp"
#include "gated/lstm.hpp"
#include "gated/project.hpp"
#include "gated/scan.hpp"

namespace ostinato::OSTINATO_ISA {
namespace {

// body(a cell's struct), for the cell of this name.
template <class Body>
OSTINATO_INLINE bool with_cell(Cell cell, const Body& body) {
  switch (cell) {
    case Cell::gru: return body(Gru{});
    case Cell::lstm: return body(Lstm{});
  }
  return false;
}

template <class Real>
bool gated_forward(const GatedForwardArgs<Real>& args) {
  return with_cell(args.cell, [&](auto cell) { return gated_forward_of<decltype(cell)>(args); });
}

template <class Real>
bool gated_adjoint(const GatedAdjointArgs<Real>& args) {
  return with_cell(args.cell, [&](auto cell) { return gated_adjoint_of<decltype(cell)>(args); });
}

template <class Real>
bool gated_tangent(const GatedTangentArgs<Real>& args) {
  return with_cell(args.cell, [&](auto cell) { return gated_tangent_of<decltype(cell)>(args); });
}

}  // namespace
}  // namespace ostinato::OSTINATO_ISA
