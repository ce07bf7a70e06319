// What NADE's kernels compute, and from what. Letters: N frames, V notes, J hidden units. All arrays are C-contiguous.
#pragma once

#include "simd/types.hpp"

namespace ostinato {

// log p(v) = sum_i v_i z_i - softplus(z_i),  z_i = b_i + U_i sigmoid(c + sum_{k<i} v_k W_k),
// and the gradients of sum_n weights_n (-log p(v_n)).
template <class Real>
struct NadeArgs {
  Index frames, visible, hidden;  // N, V, J
  const unsigned char* v;         // (N, V)
  const Real* biases;             // (N, V + J): b and c of every frame
  const Real* encoder;            // (V, J): W
  const Real* decoder;            // (V, J): U
  const Real* weights;            // (N) or null: ones
  Real* log_prob;                 // (N)
  Real* grad_biases;              // (N, V + J) or null: no gradients are wanted
  Real* grad_encoder;             // (V, J)
  Real* grad_decoder;             // (V, J)
  int threads;
};

// Products with NADE's Gauss-Newton matrix, the Hessian taken at the logits: diag(p (1 - p)) for every note.
template <class Real>
struct NadeCurvatureArgs {
  NadeArgs<Real> at;     // the point; its three gradients are where the product goes, weights and log_prob are null
  const Real* variance;  // (N, V): p (1 - p)
  const Real* biases;    // (N, V + J), (V, J), (V, J): what is multiplied, a change of the point
  const Real* encoder;
  const Real* decoder;
};

// Ancestral samples of a NADE: note i is on where uniform_i < sigmoid(z_i), or as given where it is fixed.
template <class Real>
struct NadeSampleArgs {
  Index frames, visible, hidden;
  const Real* biases;          // (N, V + J)
  const Real* encoder;         // (V, J)
  const Real* decoder;         // (V, J)
  const Real* uniform;         // (N, V)
  const unsigned char* fixed;  // (N, V) or null: no note is fixed
  unsigned char* v;            // (N, V): the fixed notes' values in, all values out
  Real* log_weight;            // (N): sum of log p(note | notes before it) over the fixed notes
  Real* conditional;           // (N, V) or null: P(note | notes before it)
  int threads;
};

}  // namespace ostinato
