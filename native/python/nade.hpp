// The kernels of nade/, as Python calls them.
#pragma once

#include "python/calls.hpp"

namespace ostinato::python {

inline void nade(const NativeKernels& self, bool float64, nb::tuple sizes, Address v, Address biases, Address encoder, Address decoder, Address weights,
          Address log_prob, Address grad_biases, Address grad_encoder, Address grad_decoder, int threads) {
  const Shape s = to_shape(sizes);  // (N, V, J)
  const auto call = [&]<class Real>(const Kernels<Real>& kernels) {
    run(kernels.nade,
        NadeArgs<Real>{s.steps, s.streams, s.hidden, at<const unsigned char>(v), at<const Real>(biases),
                       at<const Real>(encoder), at<const Real>(decoder), at<const Real>(weights),
                       at<Real>(log_prob), at<Real>(grad_biases), at<Real>(grad_encoder), at<Real>(grad_decoder),
                       threads});
  };
  self.call(float64, call);
}

inline void nade_curvature(const NativeKernels& self, bool float64, nb::tuple sizes, Address v, Address biases, Address encoder, Address decoder,
                    Address variance, Address change_biases, Address change_encoder, Address change_decoder,
                    Address out_biases, Address out_encoder, Address out_decoder, int threads) {
  const Shape s = to_shape(sizes);  // (N, V, J)
  const auto call = [&]<class Real>(const Kernels<Real>& kernels) {
    const NadeArgs<Real> point{s.steps, s.streams, s.hidden, at<const unsigned char>(v), at<const Real>(biases),
                               at<const Real>(encoder), at<const Real>(decoder), nullptr, nullptr,
                               at<Real>(out_biases), at<Real>(out_encoder), at<Real>(out_decoder), threads};
    run(kernels.nade_curvature,
        NadeCurvatureArgs<Real>{point, at<const Real>(variance), at<const Real>(change_biases),
                                at<const Real>(change_encoder), at<const Real>(change_decoder)});
  };
  self.call(float64, call);
}

inline void nade_sample(const NativeKernels& self, bool float64, nb::tuple sizes, Address biases, Address encoder, Address decoder, Address uniform,
                 Address fixed, Address v, Address log_weight, Address conditional, int threads) {
  const Shape s = to_shape(sizes);  // (N, V, J)
  const auto call = [&]<class Real>(const Kernels<Real>& kernels) {
    run(kernels.nade_sample,
        NadeSampleArgs<Real>{s.steps, s.streams, s.hidden, at<const Real>(biases), at<const Real>(encoder),
                             at<const Real>(decoder), at<const Real>(uniform), at<const unsigned char>(fixed),
                             at<unsigned char>(v), at<Real>(log_weight), at<Real>(conditional), threads});
  };
  self.call(float64, call);
}

inline void add_nade(nb::class_<NativeKernels>& kernels) {
  kernels.def("nade", &nade)
      .def("nade_curvature", &nade_curvature)
      .def("nade_sample", &nade_sample);
}

}  // namespace ostinato::python
