// The drive of a step from inputs of any kind, and noise, made just before the step.
#pragma once

#include "rnn/scan.hpp"
#include "simd/noise.hpp"

namespace ostinato::OSTINATO_ISA {
namespace {

// What a scan asks for before every step: scale * noise in the push or the drive, and the drive.
template <class Real>
class RateDrive {
 public:
  explicit RateDrive(const RateForwardArgs<Real>& args) : args_(args), philox_(args.noise.key) {}

  DriveMaker<Real> maker() const {
    if (args_.scan.drive && !args_.noise.scale) return {};
    const auto make = [](const void* self, Index step, const Share<Real>& share, const Rows<Real>& to,
                         const Rows<Real>& push) { static_cast<const RateDrive*>(self)->make(step, share, to, push); };
    return {make, this, preparation(), args_.noise.scale && args_.noise.at_state};
  }

 private:
  // U' (I, H) and the sum of the biases (H).
  Preparation<Real> preparation() const {
    if (args_.scan.drive) return {};
    return {(args_.inputs + 1) * args_.scan.shape.hidden,
            [](const void* self, Real* to, Index first, Index last) {
              static_cast<const RateDrive*>(self)->prepare(to, first, last);
            },
            this};
  }

  void prepare(Real* to, Index first, Index last) const {
    const Index inputs = args_.inputs, hidden = args_.scan.shape.hidden;
    for (Index i = 0; i < inputs; ++i)
      for (Index h = first; h < last; ++h) to[i * hidden + h] = args_.weight_ih[h * inputs + i];
    for (Index h = first; h < last; ++h)
      to[inputs * hidden + h] =
          (args_.bias ? args_.bias[h] : Real(0)) + (args_.second_bias ? args_.second_bias[h] : Real(0));
  }

  void make(Index step, const Share<Real>& share, const Rows<Real>& to, const Rows<Real>& push) const {
    const Shape& shape = args_.scan.shape;
    const Index first = share.first_column(), last = share.last_column();
    alignas(64) Real drawn[noise_blocks * noise_block];
    for (Index row = share.row_begin; row < share.row_end; ++row) {
      const Index frame = step * shape.streams + row, at = row * shape.hidden;
      for (Index begin = first, end; begin < last; begin = end) {
        const Index block = begin / noise_block * noise_block;  // where the numbers drawn begin
        end = block + noise_blocks * noise_block < last ? block + noise_blocks * noise_block : last;
        const Real* noise = nullptr;
        if (args_.noise.scale && args_.noise.draws) {
          noise = args_.noise.draws + frame * shape.hidden + begin;
        } else if (args_.noise.scale) {
          fill_noise(philox_, step, row, begin, end, drawn);
          noise = drawn + (begin - block);
        }
        make_columns(frame, share.prepared, noise, begin, end - begin, to.at(at + begin),
                     push ? push.at(at + begin) : nullptr);
      }
    }
  }

  void make_columns(Index frame, const Real* prepared, const Real* noise, Index first, Index count, Real* to,
                    Real* push) const {
    const Index inputs = args_.inputs, hidden = args_.scan.shape.hidden;
    const Real *given = args_.scan.drive ? args_.scan.drive + frame * hidden + first : nullptr;
    const Real *x = args_.input + frame * inputs, *weights = prepared + first, *bias = weights + inputs * hidden;
    for_vectors<Real>(count, [&](Index c, auto lanes_used) {
      using Lanes = decltype(lanes_used);
      Vec<Real> sum;
      if (given) {
        sum = Lanes::get(lanes_used, given + c);
      } else {
        sum = Lanes::get(lanes_used, bias + c);
        for (Index i = 0; i < inputs; ++i) sum += x[i] * Lanes::get(lanes_used, weights + i * hidden + c);
      }
      if (noise) {
        const Vec<Real> scaled = Lanes::get(lanes_used, noise + c) * Lanes::get(lanes_used, args_.noise.scale + first + c);
        if (push)
          Lanes::put(lanes_used, push + c, scaled);
        else
          sum += scaled;
      }
      Lanes::put(lanes_used, to + c, sum);
    });
  }

  const RateForwardArgs<Real>& args_;
  const Philox philox_;
};

}  // namespace
}  // namespace ostinato::OSTINATO_ISA
