// NADE: products with its Gauss-Newton matrix at the logits of the notes.
//
//   da_s = dc + sum of dW over the notes on before slot s,   dh_s = h_s (1 - h_s) da_s
//   dz_i = db_i + dU_i h_s + U_i dh_s,   and then back with p_i (1 - p_i) dz_i in the place of the likelihood's slopes
//
// A note's logit needs the hidden vector of its own slot alone, which is what makes this faster than dense products.
#pragma once

#include "nade/nade.hpp"

namespace ostinato::OSTINATO_ISA {
namespace {

// The change of the weights, padded as the weights are.
template <class Real>
struct NadeChange {
  const NadeCurvatureArgs<Real>& args;
  const Real *encoder, *decoder;
};

// slopes = p (1 - p) dz of one frame, whose hidden vectors `w` holds; `changes` has room for one frame's slots.
template <class Real>
void frame_curvature(const NadeProblem<Real>& p, const NadeChange<Real>& d, const NadeScratch<Real>& w, Real* changes,
                     Index frame, Index place) {
  const NadeArgs<Real>& a = p.args;
  const unsigned char* v = a.v + frame * a.visible;
  const Real* bias = d.args.biases + frame * (a.visible + a.hidden);
  const Real* variance = d.args.variance + frame * a.visible;
  const Index* slots = w.slots + place * p.notes;
  const Index first = slots[0];
  Index slot = first;
  const auto put = [&] {
    for (Index c = 0; c < p.units; c += lanes<Real>) {
      const Vec<Real> h = load(w.states + slot + c);
      store(changes + slot - first + c, load(w.total + c) * (h * (Real(1) - h)));
    }
  };
  for (Index j = 0; j < p.units; ++j) w.total[j] = j < a.hidden ? bias[a.visible + j] : Real(0);
  put();
  for (Index i = 0; i < a.visible; ++i) {
    if (!v[i]) continue;
    slot += p.units;
    add_row(w.total, d.encoder + i * p.units, p.units);
    put();
  }
  for (Index i = 0; i < p.notes; i += lanes<Real>) {
    Vec<Real> dots[lanes<Real>];
    for (int k = 0; k < lanes<Real>; ++k) {
      const Index own = slots[i + k], row = (i + k) * p.units;
      dots[k] = dot_lanes(p.decoder + row, changes + own - first, p.units) +
                dot_lanes(d.decoder + row, w.states + own, p.units);
    }
    store(w.logits + i, sums_of<Real>(dots));
  }
  Real* slopes = w.slopes + place * p.notes;
  for (Index i = 0; i < p.notes; ++i) slopes[i] = i < a.visible ? variance[i] * (bias[i] + w.logits[i]) : Real(0);
}

template <class Real>
bool nade_curvature(const NadeCurvatureArgs<Real>& args) {
  const NadeArgs<Real>& at = args.at;
  const Index notes = padded<Real>(at.visible), units = padded<Real>(at.hidden);
  Real* weights = allocate_numbers<Real>(2 * notes * units);
  if (!weights) return false;
  pad_rows(weights, args.encoder, at.visible, at.hidden, notes);
  pad_rows(weights + notes * units, args.decoder, at.visible, at.hidden, notes);
  const NadeChange<Real> change{args, weights, weights + notes * units};
  const auto frames = [&change](const NadeProblem<Real>& p, const NadeScratch<Real>& w, Real* changes, Index first,
                                Index last) {
    for_blocks(p, w, first, last, [&](Index frame, Index place, Index slot) {
      const Index next = fill_slots(p, w, frame, place, slot);
      frame_curvature(p, change, w, changes, frame, place);
      frame_gradients(p, w, frame, place);
      return next;
    });
  };
  const bool done = nade_team(at, (at.visible + 1) * units, frames);
  release(weights);
  return done;
}

}  // namespace
}  // namespace ostinato::OSTINATO_ISA
