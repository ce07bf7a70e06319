// A layer of a rate network in one call: drive and noise of every step just before it, the scan, and the way back where
// rates are fed back. (Where they are not, the way back is a leaky layer's.)
#pragma once

#include "rnn/fed_back.hpp"
#include "rnn/layer.hpp"

namespace ostinato::OSTINATO_ISA {
namespace {

template <class Real>
bool rate_forward(const RateForwardArgs<Real>& args) {
  const RateDrive<Real> drive(args);
  const ForwardArgs<Real>& scan = args.scan;
  if (!args.r0) return forward_from(scan, drive.maker());
  return fed_back(FedBackArgs<Real>{scan.shape, scan.drive, scan.weight, scan.leak, scan.h0, args.r0, scan.starts,
                                    scan.states, nullptr, scan.slopes, scan.nonlinearity, scan.parameter, scan.threads,
                                    scan.by_part, args.last, scan.may_be_sparse},
                  drive.maker());
}

template <class Real>
bool fed_back_backward(const FedBackBackwardArgs<Real>& args) {
  const int threads = args.scan.threads < 1 ? 1 : args.scan.threads;
  const LayerGradient<Real> gradient(args.sums, threads, nullptr);
  if (!gradient.has_memory()) return false;
  FedBackAdjointArgs<Real> scan = args.scan;
  scan.ring = gradient.ring(threads);
  return fed_back_adjoint(scan, MakeGradient<Real>(gradient, threads));
}

template <class Real>
bool noise(const NoiseArgs<Real>& args) {
  const Philox philox(args.key);
  struct Context {
    const NoiseArgs<Real>& args;
    const Philox& philox;
  } context{args, philox};
  run_team(
      args.threads,
      [](void* data, int rank, int size) {
        const Context& c = *static_cast<const Context*>(data);
        const Shape& shape = c.args.shape;
        alignas(64) Real drawn[noise_blocks * noise_block];
        for (Index t = cut(shape.steps, size, rank); t < cut(shape.steps, size, rank + 1); ++t)
          for (Index row = 0; row < shape.streams; ++row) {
            Real* out = c.args.out + (t * shape.streams + row) * shape.hidden;
            for (Index first = 0; first < shape.hidden; first += noise_blocks * noise_block) {
              fill_noise(c.philox, t, row, first, shape.hidden, drawn);
              const Index rest = shape.hidden - first;
              const Index count = rest < noise_blocks * noise_block ? rest : noise_blocks * noise_block;
              __builtin_memcpy(out + first, drawn, static_cast<unsigned long>(count) * sizeof(Real));
            }
          }
      },
      &context);
  return true;
}

}  // namespace
}  // namespace ostinato::OSTINATO_ISA
