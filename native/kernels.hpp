// The table through which one instruction set's build of the kernels is called.
//
// Nothing here, and in the headers of types and arguments that it includes, has code but what is always inlined, so
// nothing can be emitted twice by objects built for different processors.
#pragma once

#include "gated/arguments.hpp"
#include "nade/arguments.hpp"
#include "rnn/arguments.hpp"

namespace ostinato {

// Each returns false when scratch memory could not be had; nothing is written then.
template <class Real>
struct Kernels {
  bool (*forward)(const ForwardArgs<Real>&);
  bool (*adjoint)(const AdjointArgs<Real>&);
  bool (*tangent)(const TangentArgs<Real>&);
  bool (*layer_forward)(const LayerForwardArgs<Real>&);
  bool (*layer_tangent)(const LayerTangentArgs<Real>&);
  bool (*layer_backward)(const LayerBackwardArgs<Real>&);
  bool (*fed_back)(const FedBackArgs<Real>&);
  bool (*fed_back_adjoint)(const FedBackAdjointArgs<Real>&);
  bool (*rate_forward)(const RateForwardArgs<Real>&);
  bool (*fed_back_backward)(const FedBackBackwardArgs<Real>&);
  bool (*noise)(const NoiseArgs<Real>&);
  Index (*sparse_count)(const Real* weight, Index hidden, Index rows);
  bool (*gated_forward)(const GatedForwardArgs<Real>&);
  bool (*gated_adjoint)(const GatedAdjointArgs<Real>&);
  bool (*gated_tangent)(const GatedTangentArgs<Real>&);
  bool (*project)(const ProjectArgs<Real>&);
  bool (*nade)(const NadeArgs<Real>&);
  bool (*nade_curvature)(const NadeCurvatureArgs<Real>&);
  bool (*nade_sample)(const NadeSampleArgs<Real>&);
};

struct KernelTable {
  Kernels<float> float32;
  Kernels<double> float64;
};

// One per instruction set that was built (see CMakeLists.txt).
#define OSTINATO_DECLARE_ISA(isa) \
  namespace isa {                 \
  extern const KernelTable table; \
  }
OSTINATO_DECLARE_ISA(baseline)
OSTINATO_DECLARE_ISA(avx2)
OSTINATO_DECLARE_ISA(avx512)
#undef OSTINATO_DECLARE_ISA

}  // namespace ostinato
