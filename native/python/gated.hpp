// The kernels of gated/, as Python calls them.
#pragma once

#include "python/calls.hpp"

namespace ostinato::python {

inline void gated_forward(const NativeKernels& self, int cell, bool float64, nb::tuple shape, Address drive, Address weight, Address bias, Address leak,
                   Address h0, Address c0, Address starts, Address states, Address cells, Address saved,
                   int threads) {
  const Shape s = to_shape(shape);
  const auto call = [&]<class Real>(const Kernels<Real>& kernels) {
    run(kernels.gated_forward,
        GatedForwardArgs<Real>{static_cast<Cell>(cell), s, at<const Real>(drive), at<const Real>(weight),
                               at<const Real>(bias), at<const Real>(leak), at<const Real>(h0), at<const Real>(c0),
                               at<const unsigned char>(starts), at<Real>(states), at<Real>(cells), at<Real>(saved),
                               threads});
  };
  self.call(float64, call);
}

// `linearized` has the addresses of LinearizedArgs, in their order.
inline void gated_adjoint(const NativeKernels& self, int cell, bool float64, nb::tuple shape, nb::tuple linearized, Address grad_states,
                   Address grad_cells, Address weight, Address starts, Address deltas,
                   Address total_states, Address total_cells, Address grad_h0, Address grad_c0, Address grad_weight,
                   Address grad_bias, Address inputs, Index input_size, Address grad_input_weight,
                   Address grad_input_bias, int threads) {
  const Shape s = to_shape(shape);
  const auto call = [&]<class Real>(const Kernels<Real>& kernels) {
    const auto point = [&linearized](int i) { return at<const Real>(nb::cast<Address>(linearized[i])); };
    run(kernels.gated_adjoint,
        GatedAdjointArgs<Real>{static_cast<Cell>(cell), s,
                               LinearizedArgs<Real>{point(0), point(1), point(2), point(3), point(4), point(5), point(6)},
                               at<const Real>(grad_states), at<const Real>(grad_cells), at<const Real>(weight),
                               at<const unsigned char>(starts), at<Real>(deltas), at<Real>(total_states),
                               at<Real>(total_cells), at<Real>(grad_h0), at<Real>(grad_c0),
                               at<Real>(grad_weight), at<Real>(grad_bias), at<const Real>(inputs), input_size,
                               at<Real>(grad_input_weight), at<Real>(grad_input_bias), threads});
  };
  self.call(float64, call);
}

inline void gated_tangent(const NativeKernels& self, int cell, bool float64, nb::tuple shape, Address coefficients, Address force_states,
                   Address force_cells, Address weight, Address h0_tangent, Address c0_tangent, Address starts,
                   Address states, Address cells, int threads) {
  const Shape s = to_shape(shape);
  const auto call = [&]<class Real>(const Kernels<Real>& kernels) {
    run(kernels.gated_tangent,
        GatedTangentArgs<Real>{static_cast<Cell>(cell), s, at<const Real>(coefficients), at<const Real>(force_states),
                               at<const Real>(force_cells), at<const Real>(weight), at<const Real>(h0_tangent),
                               at<const Real>(c0_tangent), at<const unsigned char>(starts), at<Real>(states),
                               at<Real>(cells), threads});
  };
  self.call(float64, call);
}

// out (frames, outputs) = x U' + b + b2; sizes are those of `ProjectArgs`.
inline void project(const NativeKernels& self, bool float64, nb::tuple sizes, Address x, Address weight, Address bias, Address second_bias, Address out,
             int threads) {
  const Shape s = to_shape(sizes);
  const auto call = [&]<class Real>(const Kernels<Real>& kernels) {
    run(kernels.project,
        ProjectArgs<Real>{s.steps, s.streams, s.hidden, at<const Real>(x), at<const Real>(weight),
                          at<const Real>(bias), at<const Real>(second_bias), at<Real>(out), threads});
  };
  self.call(float64, call);
}

inline void add_gated(nb::class_<NativeKernels>& kernels) {
  kernels.def("gated_forward", &gated_forward)
      .def("gated_adjoint", &gated_adjoint)
      .def("gated_tangent", &gated_tangent)
      .def("project", &project);
}

}  // namespace ostinato::python
