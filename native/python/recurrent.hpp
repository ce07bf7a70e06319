// The kernels of rnn/, as Python calls them.
#pragma once

#include "python/calls.hpp"

namespace ostinato::python {

inline void forward(const NativeKernels& self, bool float64, nb::tuple shape, Address drive, Address weight, Address leak, Address h0, Address starts,
             Address states, Address slopes, int nonlinearity, int threads) {
  const Shape s = to_shape(shape);
  const auto call = [&]<class Real>(const Kernels<Real>& kernels) {
    run(kernels.forward, ForwardArgs<Real>{s, at<const Real>(drive), at<const Real>(weight), at<const Real>(leak),
                                           at<const Real>(h0), at<const unsigned char>(starts), at<Real>(states),
                                           at<Real>(slopes), static_cast<Nonlinearity>(nonlinearity), threads});
  };
  self.call(float64, call);
}

// A rate network's layer. Its slopes go part by part, and are not kept without an address for them; with an r0 its rates
// are fed back, and written where else the states are.
inline void rate_forward(const NativeKernels& self, bool float64, nb::tuple shape, Index inputs, Address input, Address weight_ih, Address bias,
                  Address second_bias, Address drive, Address noise_scale, Address draws, unsigned long long key,
                  bool noise_at_state, Address weight, Address leak, Address h0, Address r0, Address starts,
                  Address states, Address last, Address slopes, int nonlinearity, double parameter,
                  bool may_be_sparse, int threads) {
  const Shape s = to_shape(shape);
  const auto call = [&]<class Real>(const Kernels<Real>& kernels) {
    prefer_huge_pages_for_states<Real>(states, s, slopes);
    const ForwardArgs<Real> scan{s, at<const Real>(drive), at<const Real>(weight), at<const Real>(leak),
                                 at<const Real>(h0), at<const unsigned char>(starts), at<Real>(states),
                                 at<Real>(slopes), static_cast<Nonlinearity>(nonlinearity), threads, true,
                                 static_cast<Real>(parameter), nullptr, may_be_sparse};
    run(kernels.rate_forward,
        RateForwardArgs<Real>{scan, inputs, at<const Real>(input), at<const Real>(weight_ih), at<const Real>(bias),
                              at<const Real>(second_bias),
                              {at<const Real>(noise_scale), at<const Real>(draws), key, noise_at_state},
                              at<const Real>(r0), at<Real>(last)});
  };
  self.call(float64, call);
}

// The way back through a rate network's layer. Slopes go part by part; delta, which is g where rates are fed back, lives
// in scratch memory, and at `delta` as well if there is such an address. `first` is the gradient of the initial state,
// or where rates are fed back g of the first step.
inline void rate_backward(const NativeKernels& self, bool float64, nb::tuple shape, bool feeds_back, Index inputs, Address input, Address grad_rates,
                   Address slopes, Address rates, Address start, Address weight, Address leak, Address starts,
                   Address delta, Address first, Address grad_hh, Address grad_ih, Address grad_bias,
                   Address second_grad_bias, bool may_be_sparse, int threads) {
  const Shape s = to_shape(shape);
  const auto call = [&]<class Real>(const Kernels<Real>& kernels) {
    const Scratch scratch(static_cast<unsigned long>(s.steps * s.streams * s.hidden) * sizeof(Real));
    Real* parts = static_cast<Real*>(scratch.memory);
    if (delta) prefer_huge_pages_for<Real>(delta, s.steps, s);
    const auto* begins = at<const unsigned char>(starts);
    const AdjointArgs<Real> scan{s, at<const Real>(grad_rates), at<const Real>(slopes), at<const Real>(weight),
                                 at<const Real>(leak), begins, at<Real>(delta), at<Real>(first), nullptr, threads,
                                 true, parts, may_be_sparse};
    const FedBackAdjointArgs<Real> fed_back{s, scan.grad_states, nullptr, scan.slopes, scan.weight, scan.leak, begins,
                                            scan.delta, threads, true, parts, scan.grad_h0,
                                            may_be_sparse};
    const bool sums = grad_hh || grad_ih || grad_bias || second_grad_bias;
    if (!sums && feeds_back) return run(kernels.fed_back_adjoint, fed_back);
    if (!sums) return run(kernels.adjoint, scan);
    const LayerBackwardArgs<Real> layer{scan, at<const Real>(rates), at<const Real>(start),
                                        input_at<Real>(inputs, 0, input), false, at<Real>(grad_hh), at<Real>(grad_ih),
                                        at<Real>(grad_bias), at<Real>(second_grad_bias),
                                        // sums and matrix then share the second-level cache; one stream has another way
                                        2 * s.hidden * s.hidden * static_cast<Index>(sizeof(Real)) <= (1 << 19) && s.streams > 1};
    feeds_back ? run(kernels.fed_back_backward, FedBackBackwardArgs<Real>{fed_back, layer})
               : run(kernels.layer_backward, layer);
  };
  self.call(float64, call);
}

// How many weights of a matrix (H, H) are not zero where a layer of so many streams multiplies these alone, or -1.
inline Index sparse_count(const NativeKernels& self, bool float64, Index hidden, Index streams, Address weight) {
  const auto call = [&]<class Real>(const Kernels<Real>& kernels) {
    return kernels.sparse_count(at<const Real>(weight), hidden, streams);
  };
  return self.call(float64, call);
}

inline void noise(const NativeKernels& self, bool float64, nb::tuple shape, unsigned long long key, Address out, int threads) {
  const Shape s = to_shape(shape);
  const auto call = [&]<class Real>(const Kernels<Real>& kernels) {
    prefer_huge_pages_for<Real>(out, s.steps, s);
    run(kernels.noise, NoiseArgs<Real>{s, key, at<Real>(out), threads});
  };
  self.call(float64, call);
}

inline void adjoint(const NativeKernels& self, bool float64, nb::tuple shape, Address grad_states, Address slopes, Address weight, Address leak,
             Address starts, Address delta, Address grad_h0, Address adjoint_states, int threads) {
  const Shape s = to_shape(shape);
  const auto call = [&]<class Real>(const Kernels<Real>& kernels) {
    run(kernels.adjoint,
        AdjointArgs<Real>{s, at<const Real>(grad_states), at<const Real>(slopes), at<const Real>(weight),
                          at<const Real>(leak), at<const unsigned char>(starts), at<Real>(delta),
                          at<Real>(grad_h0), at<Real>(adjoint_states), threads});
  };
  self.call(float64, call);
}

inline void tangent(const NativeKernels& self, bool float64, nb::tuple shape, Address force, Address slopes, Address weight, Address leak,
             Address h0_tangent, Address starts, Address tangents, int threads) {
  const Shape s = to_shape(shape);
  const auto call = [&]<class Real>(const Kernels<Real>& kernels) {
    run(kernels.tangent,
        TangentArgs<Real>{s, at<const Real>(force), at<const Real>(slopes), at<const Real>(weight),
                          at<const Real>(leak), at<const Real>(h0_tangent), at<const unsigned char>(starts),
                          at<Real>(tangents), threads});
  };
  self.call(float64, call);
}

// The forward scan with what only some have: a nonlinearity with a parameter, and a push.
inline void forward_further(const NativeKernels& self, bool float64, nb::tuple shape, Address drive, Address weight, Address leak, Address push,
                     Address h0, Address starts, Address states, Address slopes, int nonlinearity, double parameter,
                     int threads) {
  const Shape s = to_shape(shape);
  const auto call = [&]<class Real>(const Kernels<Real>& kernels) {
    run(kernels.forward, ForwardArgs<Real>{s, at<const Real>(drive), at<const Real>(weight), at<const Real>(leak),
                                           at<const Real>(h0), at<const unsigned char>(starts), at<Real>(states),
                                           at<Real>(slopes), static_cast<Nonlinearity>(nonlinearity), threads, false,
                                           static_cast<Real>(parameter), at<const Real>(push)});
  };
  self.call(float64, call);
}

inline void fed_back(const NativeKernels& self, bool float64, nb::tuple shape, Address drive, Address weight, Address leak, Address h0, Address r0,
              Address starts, Address rates, Address states, Address slopes, int nonlinearity, double parameter,
              int threads) {
  const Shape s = to_shape(shape);
  const auto call = [&]<class Real>(const Kernels<Real>& kernels) {
    run(kernels.fed_back,
        FedBackArgs<Real>{s, at<const Real>(drive), at<const Real>(weight), at<const Real>(leak), at<const Real>(h0),
                          at<const Real>(r0), at<const unsigned char>(starts), at<Real>(rates), at<Real>(states),
                          at<Real>(slopes), static_cast<Nonlinearity>(nonlinearity), static_cast<Real>(parameter),
                          threads});
  };
  self.call(float64, call);
}

inline void fed_back_adjoint(const NativeKernels& self, bool float64, nb::tuple shape, Address grad_rates, Address force, Address slopes,
                      Address weight, Address leak, Address starts, Address adjoint, int threads) {
  const Shape s = to_shape(shape);
  const auto call = [&]<class Real>(const Kernels<Real>& kernels) {
    run(kernels.fed_back_adjoint,
        FedBackAdjointArgs<Real>{s, at<const Real>(grad_rates), at<const Real>(force), at<const Real>(slopes),
                                 at<const Real>(weight), at<const Real>(leak), at<const unsigned char>(starts),
                                 at<Real>(adjoint), threads});
  };
  self.call(float64, call);
}

// False where the inputs are too dense, or the weights not finite, and they are not a few for a sparse matrix: the
// caller then makes the drive. Slopes go part by part; without an address for them they are not kept.
inline bool layer_forward(const NativeKernels& self, bool float64, nb::tuple shape, Index inputs, Address binary, Address real, Address weight_ih,
                   Address bias, Address second_bias, Address weight, Address leak, Address h0, Address starts,
                   Address states, Address last, Address slopes, int nonlinearity, bool may_be_sparse,
                   int threads) {
  const Shape s = to_shape(shape);
  const auto call = [&]<class Real>(const Kernels<Real>& kernels) {
    const ForwardArgs<Real> scan{s, nullptr, at<const Real>(weight), at<const Real>(leak), at<const Real>(h0),
                                 at<const unsigned char>(starts), at<Real>(states), at<Real>(slopes),
                                 static_cast<Nonlinearity>(nonlinearity), threads, true, 0, nullptr, may_be_sparse};
    const nb::gil_scoped_release unlocked;
    prefer_huge_pages_for_states<Real>(states, s, slopes);
    return kernels.layer_forward({scan, input_at<Real>(inputs, binary, real), at<const Real>(weight_ih),
                                  at<const Real>(bias), at<const Real>(second_bias), at<Real>(last)});
  };
  return self.call(float64, call);
}

// False where the inputs are too dense, or the weights' change not finite.
inline bool layer_tangent(const NativeKernels& self, bool float64, nb::tuple shape, Index inputs, Address binary, Address real, Address states,
                   Address slopes, bool by_part, Address h0, Address weight, Address leak, Address starts,
                   Address change_ih, Address change_hh, Address change_bias, Address second_change_bias,
                   Address tangents, int threads) {
  const Shape s = to_shape(shape);
  const auto call = [&]<class Real>(const Kernels<Real>& kernels) {
    const nb::gil_scoped_release unlocked;
    return kernels.layer_tangent({s, input_at<Real>(inputs, binary, real), at<const Real>(states),
                                  at<const Real>(slopes), at<const Real>(h0), at<const Real>(weight), at<const Real>(leak),
                                  at<const unsigned char>(starts), at<const Real>(change_ih),
                                  at<const Real>(change_hh), at<const Real>(change_bias),
                                  at<const Real>(second_change_bias), at<Real>(tangents), threads, by_part});
  };
  return self.call(float64, call);
}

// Where it goes by part, or without an address for it, delta lives in scratch memory.
inline void layer_backward(const NativeKernels& self, bool float64, nb::tuple shape, Index inputs, Address binary, Address real, bool sparse,
                    Address grad_states, Address slopes, bool by_part, Address states, Address h0, Address weight,
                    Address leak, Address starts, Address delta, Address grad_h0, Address grad_hh, Address grad_ih,
                    Address grad_bias, Address second_grad_bias, bool may_be_sparse, int threads) {
  const Shape s = to_shape(shape);
  const auto call = [&]<class Real>(const Kernels<Real>& kernels) {
    const auto bytes = static_cast<unsigned long>(s.steps * s.streams * s.hidden) * sizeof(Real);
    const Scratch scratch(delta && !by_part ? 0 : bytes);
    Real* own = static_cast<Real*>(scratch.memory);
    Real* deltas = own ? own : at<Real>(delta);
    if (delta) prefer_huge_pages_for<Real>(delta, s.steps, s);
    const AdjointArgs<Real> scan{s, at<const Real>(grad_states), at<const Real>(slopes), at<const Real>(weight),
                                 at<const Real>(leak), at<const unsigned char>(starts),
                                 by_part ? at<Real>(delta) : deltas, at<Real>(grad_h0), nullptr, threads, by_part,
                                 by_part ? own : nullptr, may_be_sparse};
    if (grad_hh || grad_ih || grad_bias || second_grad_bias)
      run(kernels.layer_backward,
          LayerBackwardArgs<Real>{scan, at<const Real>(states), at<const Real>(h0),
                                  input_at<Real>(inputs, binary, real), sparse, at<Real>(grad_hh),
                                  at<Real>(grad_ih), at<Real>(grad_bias), at<Real>(second_grad_bias)});
    else
      run(kernels.adjoint, scan);
  };
  self.call(float64, call);
}

inline void add_recurrent(nb::class_<NativeKernels>& kernels) {
  kernels.def("forward", &forward)
      .def("rate_forward", &rate_forward)
      .def("rate_backward", &rate_backward)
      .def("sparse_count", &sparse_count)
      .def("noise", &noise)
      .def("adjoint", &adjoint)
      .def("tangent", &tangent)
      .def("forward_further", &forward_further)
      .def("fed_back", &fed_back)
      .def("fed_back_adjoint", &fed_back_adjoint)
      .def("layer_forward", &layer_forward)
      .def("layer_tangent", &layer_tangent)
      .def("layer_backward", &layer_backward);
}

}  // namespace ostinato::python
