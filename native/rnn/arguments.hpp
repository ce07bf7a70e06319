// What the kernels of a recurrent layer compute, and from what. Letters: T steps, B streams (rows), H units (columns),
// N frames, I inputs. All arrays are C-contiguous. Where `by_part` is set, slopes and delta go part by part (see
// linear/frames.hpp), which is for the kernels' own use. A weight that `may_be_sparse` is multiplied by what is not zero
// where that is quicker, which changes the order of sums.
#pragma once

#include "linear/types.hpp"

namespace ostinato {

// h_t = a hp_t + (1 - a) f(drive_t + hp_t W') + push_t,  d_t = (1 - a) f'(...),  hp_t = 0 where starts[t], else
// h_{t-1}. A push makes the scan ask for its nonlinearity at every vector, as those with a parameter do.
template <class Real>
struct ForwardArgs {
  Shape shape;
  const Real* drive;            // (T, B, H); may be the states themselves
  const Real* weight;           // (H, H)
  const Real* leak;             // (H) or null: a = 0
  const Real* h0;               // (B, H)
  const unsigned char* starts;  // (T, B) or null: no start
  Real* states;                 // (T, B, H)
  Real* slopes;                 // (T, B, H), maybe the drive itself where it does not go by part; null: not wanted
  Nonlinearity nonlinearity;
  int threads;
  bool by_part = false;
  Real parameter = 0;          // of the nonlinearity
  const Real* push = nullptr;  // (T, B, H) or null: none
  bool may_be_sparse = false;
};

// h_t = a hp_t + rp_t W' + drive_t,  r_t = f(h_t),  d_t = f'(h_t),  hp_t and rp_t zero where starts[t].
template <class Real>
struct FedBackArgs {
  Shape shape;
  const Real* drive;            // (T, B, H)
  const Real* weight;           // (H, H)
  const Real* leak;             // (H)
  const Real* h0;               // (B, H)
  const Real* r0;               // (B, H)
  const unsigned char* starts;  // (T, B) or null: no start
  Real* rates;                  // (T, B, H)
  Real* states;                 // (T, B, H), maybe the drive itself; or null: not wanted
  Real* slopes;                 // (T, B, H), or null: not wanted
  Nonlinearity nonlinearity;
  Real parameter;
  int threads;
  bool by_part = false;
  Real* last = nullptr;  // (B, H) or null: the last states once more
  bool may_be_sparse = false;
};

// g_t = force_t + d_t (G_t + m g_{t+1} W) + m a g_{t+1},  m zero where starts[t+1].
template <class Real>
struct FedBackAdjointArgs {
  Shape shape;
  const Real* grad_rates;       // G (T, B, H) or null: zero
  const Real* force;            // (T, B, H) or null: zero
  const Real* slopes;           // (T, B, H)
  const Real* weight;           // (H, H)
  const Real* leak;             // (H)
  const unsigned char* starts;  // (T, B) or null
  Real* adjoint;                // g (T, B, H); where `by_part`, null or step by step
  int threads;
  bool by_part = false;
  Real* adjoint_in_parts = nullptr;  // g, where `by_part`
  Real* first = nullptr;             // g_0 (B, H) once more, or null
  bool may_be_sparse = false;
  Index ring = 0;  // g in parts is kept of so many steps alone: see AdjointArgs
};

// g_t = G_t + (delta_{t+1} W + a g_{t+1}, zero where starts[t+1]),  delta_t = d_t g_t.
template <class Real>
struct AdjointArgs {
  Shape shape;
  const Real* grad_states;      // (T, B, H)
  const Real* slopes;           // (T, B, H)
  const Real* weight;           // (H, H)
  const Real* leak;             // (H) or null
  const unsigned char* starts;  // (T, B) or null
  Real* delta;                  // (T, B, H); may be grad_states itself; where `by_part`, null or step by step
  Real* grad_h0;                // (B, H)
  Real* adjoint_states;         // (T, B, H) or null: g is not wanted
  int threads;
  bool by_part = false;
  Real* delta_in_parts = nullptr;  // (T, B, H), where `by_part`
  bool may_be_sparse = false;
  Index ring = 0;  // delta in parts is kept of so many steps alone, step t - T modulo it; 0: of all
};

// s_t = a sp_t + d_t (sp_t W') + force_t,  sp_t = 0 where starts[t], else s_{t-1}.
template <class Real>
struct TangentArgs {
  Shape shape;
  const Real* force;            // (T, B, H)
  const Real* slopes;           // (T, B, H)
  const Real* weight;           // (H, H)
  const Real* leak;             // (H) or null
  const Real* h0_tangent;       // (B, H)
  const unsigned char* starts;  // (T, B) or null
  Real* tangents;               // (T, B, H)
  int threads;
};

// A whole layer: the scan with drive = x U' + b + b2, made step by step from what is not zero in x.
// Returns false where x is too dense for that, or U not finite. Without inputs the states hold the drive.
template <class Real>
struct LayerForwardArgs {
  ForwardArgs<Real> scan;  // the drive is null; h0 may be null, too: zero
  Input<Real> input;
  const Real* weight_ih;    // U (H, I)
  const Real* bias;         // (H) or null
  const Real* second_bias;  // (H) or null
  Real* last;               // (B, H): the last states once more
};

// How a layer's states change with its weights: s_t = a sp_t + d_t (sp_t W' + hp_t dW' + dU x_t + db + db2), with sp
// and hp zero at starts, and sp zero before the first step. Returns false where x is too dense or dU not finite.
template <class Real>
struct LayerTangentArgs {
  Shape shape;
  Input<Real> input;
  const Real* states;              // h (T, B, H)
  const Real* slopes;              // d (T, B, H)
  const Real* h0;                  // (B, H) or null: zero
  const Real* weight;              // W (H, H)
  const Real* leak;                // (H) or null
  const unsigned char* starts;     // (T, B) or null
  const Real* change_ih;           // dU (H, I)
  const Real* change_hh;           // dW (H, H) or null: none
  const Real* change_bias;         // db (H) or null
  const Real* second_change_bias;  // (H) or null
  Real* tangents;                  // s (T, B, H)
  int threads;
  bool by_part = false;
};

// The way back through a layer: delta, and what sum_n delta_n z_n, z = x U' + hp W' + b with hp zero at starts, has for
// gradients with respect to all weights; null: not wanted.
template <class Real>
struct LayerBackwardArgs {
  AdjointArgs<Real> scan;
  const Real* states;  // (T, B, H)
  const Real* h0;      // (B, H) or null: zero
  Input<Real> input;
  bool sparse;             // whether x is likely to be sparse
  Real* grad_hh;           // (H, H)
  Real* grad_ih;           // (H, I)
  Real* grad_bias;         // (H)
  Real* second_grad_bias;  // (H): the same once more
  bool on_the_way = false;  // whether sums are made while the scan runs, from the last frames to the first; not sparse

  __attribute__((always_inline)) const Real* delta() const { return scan.by_part ? scan.delta_in_parts : scan.delta; }
};

// Standard normal numbers times a scale: given, or functions of a key and their place (simd/noise.hpp).
template <class Real>
struct Noise {
  const Real* scale = nullptr;  // (H); null: no noise
  const Real* draws = nullptr;  // (T, B, H), or null: by the key
  unsigned long long key = 0;
  bool at_state = false;  // whether it is a push, and not in the drive
};

// A layer of a rate network, whose drive and noise are made step by step: the forward scan, or where there is an r0 the
// one that feeds rates back, and whose states are then these rates.
template <class Real>
struct RateForwardArgs {
  ForwardArgs<Real> scan;  // the drive is null where it is x U' + b + b2; it may be the states themselves
  Index inputs;            // I
  const Real* input;       // x (T, B, I)
  const Real* weight_ih;   // U (H, I)
  const Real* bias;        // (H) or null
  const Real* second_bias;
  Noise<Real> noise;
  const Real* r0;  // (B, H) or null
  Real* last;      // (B, H), with r0: the last state
};

// The way back through a layer whose rates are fed back: the adjoint scan, then the sums over its g.
template <class Real>
struct FedBackBackwardArgs {
  FedBackAdjointArgs<Real> scan;
  LayerBackwardArgs<Real> sums;  // its states are the rates; of its scan only shape, starts and the place of g are used
};

// Noise by itself, unscaled.
template <class Real>
struct NoiseArgs {
  Shape shape;
  unsigned long long key;
  Real* out;  // (T, B, H)
  int threads;
};

}  // namespace ostinato
