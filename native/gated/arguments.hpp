// What the kernels of a gated cell compute, and from what. Letters: T steps, B streams (rows), H units (columns); K
// gates that the state before contributes to, D drives, S numbers saved, C coefficients and R deltas for each unit, all
// said by the cell's struct. All arrays are C-contiguous; a frame's blocks lie one after the other, (T, B, K, H).
//
// Without a leak, which both may have:
//
//   GRU    r = s(x_r + u_r), z = s(x_z + u_z), n = tanh(x_n + r u_n), h = z hp + (1 - z) n
//   LSTM   i, f, o = s(x + u), g = tanh(x_g + u_g), c = f cp + i g, h = o tanh c
//
// with x the drive, u = hp W' + b, s the sigmoid; hp and cp are zero where a sequence starts, else those of t - 1. The
// leak a is on the state without it: h = a hp + (1 - a) (...) of a GRU, c = a cp + (1 - a) (...) of an LSTM.
#pragma once

#include "linear/types.hpp"

namespace ostinato {

// In the order of ostinato/nn/kernels/gated.py.
enum class Cell : int { gru = 0, lstm = 1 };

template <class Real>
struct GatedForwardArgs {
  Cell cell;
  Shape shape;
  const Real* drive;            // x (T, B, D, H)
  const Real* weight;           // W (K, H, H)
  const Real* bias;             // b (K, H) or null
  const Real* leak;             // (H) or null: a = 0
  const Real* h0;               // (B, H)
  const Real* c0;               // (B, H); null for a cell without c
  const unsigned char* starts;  // (T, B) or null: no start
  Real* states;                 // h (T, B, H)
  Real* cells;                  // c (T, B, H); null for a cell without c
  Real* saved;                  // (T, B, S, H), or null: not wanted
  int threads;
};

// Where the derivatives of a step are: in what the forward scan saved, or written out.
template <class Real>
struct LinearizedArgs {
  const Real* coefficients;  // (T, B, C, H); or null, and the rest is given
  const Real* saved;         // (T, B, S, H)
  const Real* states;        // (T, B, H)
  const Real* cells;         // (T, B, H), or null for a cell without c
  const Real* h0;            // (B, H)
  const Real* c0;            // (B, H), or null
  const Real* leak;          // (H) or null
};

// The way back: with J_t the derivatives of a step, g_t = G_t + (what J_{t+1}' and W' make of g_{t+1}, zero where
// starts[t+1]), and the gates' own delta_t = J_t' g_t.
template <class Real>
struct GatedAdjointArgs {
  Cell cell;
  Shape shape;
  LinearizedArgs<Real> at;
  const Real* grad_states;      // of h (T, B, H)
  const Real* grad_cells;       // of c (T, B, H) or null: zero
  const Real* weight;           // (K, H, H)
  const unsigned char* starts;  // (T, B) or null
  Real* deltas;                 // (T, B, R, H): those of u and x, in the cell's order
  Real* total_states;           // g of h (T, B, H) or null: not wanted
  Real* total_cells;            // g of c (T, B, H) or null
  Real* grad_h0;                // (B, H)
  Real* grad_c0;                // (B, H), or null for a cell without c
  Real* grad_weight;            // (K, H, H) or null; asks for at.states and at.h0
  Real* grad_bias;              // (K, H) or null
  const Real* inputs;           // (T, B, I), whose product with a matrix the drive is; null: not wanted
  Index input_size;             // I
  Real* grad_input_weight;      // (D, H, I) or null
  Real* grad_input_bias;        // (D, H) or null
  int threads;
};

// The drive: x U' + b + b2.
template <class Real>
struct ProjectArgs {
  Index frames, inputs, outputs;
  const Real* x;            // (N, inputs)
  const Real* weight;       // U (outputs, inputs)
  const Real* bias;         // (outputs) or null
  const Real* second_bias;  // (outputs) or null
  Real* out;                // (N, outputs)
  int threads;
};

// How the states change: s_t = J_t (sp_t, sp_t W') + force_t, with sp_t = 0 where starts[t].
template <class Real>
struct GatedTangentArgs {
  Cell cell;
  Shape shape;
  const Real* coefficients;     // (T, B, C, H)
  const Real* force_states;     // (T, B, H)
  const Real* force_cells;      // (T, B, H); null for a cell without c, as are the next ones of it
  const Real* weight;           // (K, H, H)
  const Real* h0_tangent;       // (B, H)
  const Real* c0_tangent;       // (B, H)
  const unsigned char* starts;  // (T, B) or null
  Real* states;                 // (T, B, H)
  Real* cells;                  // (T, B, H)
  int threads;
};

}  // namespace ostinato
