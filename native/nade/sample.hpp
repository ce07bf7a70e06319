// Sampling from NADE, note by note, with notes held fixed where asked.
#pragma once

#include "nade/nade.hpp"

namespace ostinato::OSTINATO_ISA {
namespace {

template <class Real>
struct NadeSampler {
  const NadeSampleArgs<Real>& args;
  const Real *encoder, *decoder;  // padded
  Index notes, units;

  // Logits come for a vector of notes at a time; after a note that is on, those behind it are made anew.
  void draw(Index frame, Real* total, Real* state) const {
    const Index visible = args.visible, at = frame * visible;
    const Real* bias = args.biases + frame * (visible + args.hidden);
    for (Index j = 0; j < units; ++j) total[j] = j < args.hidden ? bias[visible + j] : Real(0);
    sigmoid_row(total, state, units);
    Real log_weight = 0;
    for (Index i = 0; i < visible;) {
      Real z[lanes<Real>], log_on[lanes<Real>], log_off[lanes<Real>], p[lanes<Real>];
      const Index count = visible - i < lanes<Real> ? visible - i : lanes<Real>;
      conditionals(bias, state, i, count, z, log_on, log_off, p);
      for (Index k = 0; k < count; ++k, ++i) {
        const bool given = args.fixed && args.fixed[at + i];
        if (!given) args.v[at + i] = args.uniform[at + i] < p[k];
        const bool on = args.v[at + i];
        if (given) log_weight += on ? log_on[k] : log_off[k];
        if (args.conditional) args.conditional[at + i] = p[k];
        if (!on) continue;
        add_row(total, encoder + i * units, units);
        sigmoid_row(total, state, units);
        ++i;
        break;
      }
    }
    args.log_weight[frame] = log_weight;
  }

 private:
  OSTINATO_INLINE void conditionals(const Real* bias, const Real* state, Index i, Index count, Real* z, Real* log_on,
                                    Real* log_off, Real* p) const {
    Vec<Real> dots[lanes<Real>];
    for (int k = 0; k < lanes<Real>; ++k) {
      dots[k] = k < count ? dot_lanes(decoder + (i + k) * units, state, units) : Vec<Real>{};
      z[k] = k < count ? bias[i + k] : Real(0);
    }
    const Vec<Real> logits = load(z) + sums_of<Real>(dots);
    Vec<Real> on, off, slope;
    note_likelihood<Real>(logits, splat<Real>(1), on, slope);
    note_likelihood<Real>(logits, Vec<Real>{}, off, slope);
    store(log_on, on);
    store(log_off, off);
    store(p, slope);  // sigmoid(z) - 0
  }
};

template <class Real>
bool nade_sample(const NadeSampleArgs<Real>& args) {
  const int threads = args.threads < 1 ? 1 : args.threads;
  const Index notes = padded<Real>(args.visible), units = padded<Real>(args.hidden);
  const Index own = (2 * units + 63) / 64 * 64;
  Real* memory = static_cast<Real*>(
      allocate(static_cast<unsigned long>((2 * notes * units + threads * own) * static_cast<Index>(sizeof(Real)))));
  if (!memory) return false;
  Real *encoder = memory, *decoder = memory + notes * units;
  pad_rows(encoder, args.encoder, args.visible, args.hidden, notes);
  pad_rows(decoder, args.decoder, args.visible, args.hidden, notes);
  struct Context {
    NadeSampler<Real> sampler;
    Real* memory;
    Index own;
  } context{{args, encoder, decoder, notes, units}, memory + 2 * notes * units, own};
  run_team(
      threads,
      [](void* data, int rank, int size) {
        const Context& c = *static_cast<Context*>(data);
        const FlushDenormals flush;
        const Index frames = c.sampler.args.frames;
        Real* total = c.memory + rank * c.own;
        for (Index n = cut(frames, size, rank); n < cut(frames, size, rank + 1); ++n)
          c.sampler.draw(n, total, total + c.sampler.units);
      },
      &context);
  release(memory);
  return true;
}

}  // namespace
}  // namespace ostinato::OSTINATO_ISA
