// What the kernels compute, and the table through which one instruction set's build of them is called.
//
// Letters: T steps, B streams (rows), H units (columns), N frames, V inputs. All arrays are C-contiguous. Where
// `parted` is set, slopes and delta go part by part (see frames.hpp), which is for the kernels' own use.
// Nothing here has code but what is always inlined, so nothing here can be emitted twice by objects built for different
// processors.
#pragma once

#include <cstddef>

namespace ostinato {

using Index = std::ptrdiff_t;

enum class Nonlinearity : int { tanh = 0, relu = 1, sigmoid = 2, identity = 3 };

struct Shape {
  Index steps, streams, hidden;  // T, B, H
};

// h_t = a hp_t + (1 - a) f(drive_t + hp_t W'),  d_t = (1 - a) f'(...),  hp_t = 0 where starts[t], else h_{t-1}.
template <class Real>
struct ForwardArgs {
  Shape shape;
  const Real* drive;            // (T, B, H); may be the states themselves
  const Real* weight;           // (H, H)
  const Real* leak;             // (H) or null: a = 0
  const Real* h0;               // (B, H)
  const unsigned char* starts;  // (T, B) or null: no start
  Real* states;                 // (T, B, H)
  Real* slopes;                 // (T, B, H); may be the drive itself where it is not parted
  Nonlinearity nonlinearity;
  int threads;
  bool parted = false;
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
  Real* delta;                  // (T, B, H); may be grad_states itself; where `parted`, null or step by step
  Real* grad_h0;                // (B, H)
  Real* adjoint_states;         // (T, B, H) or null: g is not wanted
  int threads;
  bool parted = false;
  Real* delta_in_parts = nullptr;  // (T, B, H), where `parted`
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

// The inputs of a layer, (N, I): one of the two pointers, or neither for no inputs.
template <class Real>
struct Input {
  Index size;  // I
  const unsigned char* binary;
  const Real* real;
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

// How a layer's states change with its weights: s_t = a sp_t + d_t (sp_t W' + hp_t dW' + dU x_t + db + db2), with sp and
// hp zero at starts, and sp zero before the first step. Returns false where x is too dense or dU not finite.
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
  bool parted = false;
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

  __attribute__((always_inline)) const Real* delta() const { return scan.parted ? scan.delta_in_parts : scan.delta; }
};

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

// Each returns false when scratch memory could not be had; nothing is written then.
template <class Real>
struct Kernels {
  bool (*forward)(const ForwardArgs<Real>&);
  bool (*adjoint)(const AdjointArgs<Real>&);
  bool (*tangent)(const TangentArgs<Real>&);
  bool (*layer_forward)(const LayerForwardArgs<Real>&);
  bool (*layer_tangent)(const LayerTangentArgs<Real>&);
  bool (*layer_backward)(const LayerBackwardArgs<Real>&);
  bool (*nade)(const NadeArgs<Real>&);
  bool (*nade_curvature)(const NadeCurvatureArgs<Real>&);
  bool (*nade_sample)(const NadeSampleArgs<Real>&);
};

struct KernelTable {
  Kernels<float> single;
  Kernels<double> twice;
};

// One per instruction set that was built (see CMakeLists.txt).
#define OSTINATO_DECLARE_ISA(isa) \
  namespace isa {                 \
  extern const KernelTable table; \
  }
OSTINATO_DECLARE_ISA(baseline)
OSTINATO_DECLARE_ISA(avx2)
OSTINATO_DECLARE_ISA(avx512)
#undef OSTINATO_DECLARE_ISA

}  // namespace ostinato
