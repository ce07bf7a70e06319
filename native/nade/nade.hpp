// NADE: the exact log-probability of binary frames under a chain of conditionals, and all its gradients.
//
// The hidden units change only after a note that is on, so a frame with k such notes has k + 1 distinct hidden
// vectors, here called slots: the sigmoids are evaluated once per slot, not once per note. Frames go in blocks, so
// that one pass over the decoder's gradient serves several frames. Rows are padded to whole vectors with zeros.
#pragma once

#include "linear/frames.hpp"
#include "nade/arguments.hpp"
#include "simd/nonlinearity.hpp"
#include "simd/reduce.hpp"
#include "team/scratch.hpp"
#include "team/team.hpp"

namespace ostinato::OSTINATO_ISA {
namespace {

constexpr Index frames_per_block = 8;

template <class Real>
OSTINATO_INLINE Index padded(Index count) {
  return (count + lanes<Real> - 1) / lanes<Real> * lanes<Real>;
}

// log(1 + e) for e in [0, 1]: 2 artanh(s) with s = e / (2 + e) <= 1/3.
template <class Real>
OSTINATO_INLINE Vec<Real> log1p_of(Vec<Real> e) {
  constexpr int terms = sizeof(Real) == 4 ? 8 : 17;
  const Vec<Real> s = e / (Real(2) + e), q = s * s;
  Vec<Real> series = splat<Real>(Real(1) / (2 * terms + 1));
#pragma GCC unroll 20
  for (int k = terms - 1; k >= 0; --k) series = series * q + Real(1) / (2 * k + 1);
  return (s + s) * series;
}

// For the logit z of a note with value v: log p(v) and d(-log p)/dz = sigmoid(z) - v, both without cancellation.
template <class Real>
OSTINATO_INLINE void note_likelihood(Vec<Real> z, Vec<Real> v, Vec<Real>& log_prob, Vec<Real>& slope) {
  const Vec<Real> zero{};
  const Vec<Real> against = v > zero ? -z : z;  // the logit of the value that v is not
  Vec<Real> scale, part;
  const Vec<Real> low = against > zero ? -against : against;
  split_exp<Real>(limit<Real>(low, ExpConstants<Real>::exp_limit), scale, part);
  const Vec<Real> e = scale * part + scale;
  const Vec<Real> positive = against > zero ? against : zero;
  log_prob = -positive - log1p_of<Real>(e);
  const Vec<Real> larger = Real(1) / (Real(1) + e), wrong = against > zero ? larger : e * larger;
  slope = v > zero ? -wrong : wrong;
}

// One thread's memory. The decoder has rows of zeros after the last, up to whole vectors of notes.
template <class Real>
struct NadeScratch {
  Real *states, *logits, *slopes, *values, *total, *pull, *grad_encoder, *grad_decoder;
  Index* slots;  // for every frame of the block and note: where in `states` its hidden vector lies

  static Index reals(Index visible, Index hidden) {
    const Index notes = padded<Real>(visible), units = padded<Real>(hidden);
    return frames_per_block * ((visible + 1) * units + notes) + 2 * notes + 2 * units + 2 * visible * units;
  }
  static Index bytes(Index visible, Index hidden) {
    const Index indices = frames_per_block * padded<Real>(visible) * static_cast<Index>(sizeof(Index));
    return (reals(visible, hidden) * static_cast<Index>(sizeof(Real)) + indices + 127) / 128 * 128;
  }
  NadeScratch(char* memory, Index visible, Index hidden) {
    const Index notes = padded<Real>(visible), units = padded<Real>(hidden);
    Real* next = reinterpret_cast<Real*>(memory);
    const auto take = [&next](Index count) {
      Real* taken = next;
      next += count;
      return taken;
    };
    states = take(frames_per_block * (visible + 1) * units);
    slopes = take(frames_per_block * notes);
    logits = take(notes), values = take(notes);
    total = take(units), pull = take(units);
    grad_encoder = take(visible * units), grad_decoder = take(visible * units);
    slots = reinterpret_cast<Index*>(memory + (reals(visible, hidden) * static_cast<Index>(sizeof(Real)) + 7) / 8 * 8);
  }
};

template <class Real>
void pad_rows(Real* to, const Real* from, Index rows, Index columns, Index all_rows) {
  const Index width = padded<Real>(columns);
  for (Index r = 0; r < all_rows; ++r)
    for (Index c = 0; c < width; ++c) to[r * width + c] = r < rows && c < columns ? from[r * columns + c] : Real(0);
}

template <class Real>
OSTINATO_INLINE void sigmoid_row(const Real* z, Real* value, Index count) {
  for (Index c = 0; c < count; c += lanes<Real>) {
    Vec<Real> out, slope;
    Activation<Nonlinearity::sigmoid>::template apply<Real>(load(z + c), out, slope);
    store(value + c, out);
  }
}

template <class Real>
OSTINATO_INLINE void add_row(Real* to, const Real* from, Index count) {
  for (Index c = 0; c < count; c += lanes<Real>) store(to + c, load(to + c) + load(from + c));
}

template <class Real>
OSTINATO_INLINE Vec<Real> dot_lanes(const Real* a, const Real* b, Index count) {
  Vec<Real> sum{};
  for (Index c = 0; c < count; c += lanes<Real>) sum += load(a + c) * load(b + c);
  return sum;
}

// What all threads read.
template <class Real>
struct NadeProblem {
  const NadeArgs<Real>& args;
  const Real *encoder, *decoder;  // padded
  Index notes, units;             // V and J, padded
};

// The hidden vectors of one frame, and where each note finds its own. `states` has room for one block's slots.
template <class Real>
Index fill_slots(const NadeProblem<Real>& p, const NadeScratch<Real>& w, Index frame, Index place, Index first) {
  const NadeArgs<Real>& a = p.args;
  const unsigned char* v = a.v + frame * a.visible;
  const Real* start = a.biases + frame * (a.visible + a.hidden) + a.visible;
  for (Index j = 0; j < p.units; ++j) w.total[j] = j < a.hidden ? start[j] : Real(0);
  Index slot = first;
  sigmoid_row(w.total, w.states + slot, p.units);
  for (Index i = 0; i < p.notes; ++i) {
    w.slots[place * p.notes + i] = slot;
    if (i >= a.visible || !v[i]) continue;
    slot += p.units;
    add_row(w.total, p.encoder + i * p.units, p.units);
    sigmoid_row(w.total, w.states + slot, p.units);
  }
  return slot + p.units;
}

// log p of one frame; with `wanted`, the slopes of its logits as well.
template <class Real>
Real frame_likelihood(const NadeProblem<Real>& p, const NadeScratch<Real>& w, Index frame, Index place) {
  const NadeArgs<Real>& a = p.args;
  const unsigned char* v = a.v + frame * a.visible;
  const Real* bias = a.biases + frame * (a.visible + a.hidden);
  for (Index i = 0; i < p.notes; ++i) {
    w.values[i] = i < a.visible && v[i] ? Real(1) : Real(0);
    w.logits[i] = i < a.visible ? bias[i] : -ExpConstants<Real>::exp_limit;  // a note that is surely off
  }
  const Index* slots = w.slots + place * p.notes;
  Real* slopes = w.slopes + place * p.notes;
  Vec<Real> sum{};
  for (Index i = 0; i < p.notes; i += lanes<Real>) {
    Vec<Real> dots[lanes<Real>], log_prob, slope;
    for (int k = 0; k < lanes<Real>; ++k)
      dots[k] = dot_lanes(p.decoder + (i + k) * p.units, w.states + slots[i + k], p.units);
    note_likelihood<Real>(load(w.logits + i) + sums_of<Real>(dots), load(w.values + i), log_prob, slope);
    sum += log_prob;
    store(slopes + i, slope);
  }
  Vec<Real> all[lanes<Real>] = {sum};
  return sums_of<Real>(all)[0];
}

// to = sum_i factors[i] rows[i], for `count` rows that lie one after the other.
template <class Real>
OSTINATO_INLINE void combine_rows(Real* to, const Real* factors, const Real* rows, Index count, Index width) {
  constexpr Index step = 4 * lanes<Real>;
  Index c = 0;
  for (; c + step <= width; c += step) {
    Vec<Real> sum[4] = {};
    for (Index i = 0; i < count; ++i)
      for (int k = 0; k < 4; ++k) sum[k] += factors[i] * load(rows + i * width + c + k * lanes<Real>);
    for (int k = 0; k < 4; ++k) store(to + c + k * lanes<Real>, sum[k]);
  }
  for (; c < width; c += lanes<Real>) {
    Vec<Real> sum{};
    for (Index i = 0; i < count; ++i) sum += factors[i] * load(rows + i * width + c);
    store(to + c, sum);
  }
}

// The gradients of one frame but the decoder's, from its last slot to its first: what reaches a slot's
// pre-activation reaches all pre-activations before it.
template <class Real>
void frame_gradients(const NadeProblem<Real>& p, const NadeScratch<Real>& w, Index frame, Index place) {
  const NadeArgs<Real>& a = p.args;
  const Index* slots = w.slots + place * p.notes;
  Real* slopes = w.slopes + place * p.notes;
  Real* out = a.grad_biases + frame * (a.visible + a.hidden);
  const Real weight = a.weights ? a.weights[frame] : Real(1);
  for (Index i = 0; i < p.notes; i += lanes<Real>) store(slopes + i, load(slopes + i) * weight);
  for (Index i = 0; i < a.visible; ++i) out[i] = slopes[i];
  for (Index j = 0; j < p.units; ++j) w.total[j] = 0;
  for (Index end = a.visible, begin; end > 0; end = begin) {
    const Index slot = slots[end - 1];
    for (begin = end - 1; begin > 0 && slots[begin - 1] == slot;) --begin;
    combine_rows(w.pull, slopes + begin, p.decoder + begin * p.units, end - begin, p.units);
    for (Index c = 0; c < p.units; c += lanes<Real>) {
      const Vec<Real> h = load(w.states + slot + c);
      store(w.total + c, load(w.total + c) + load(w.pull + c) * (h * (Real(1) - h)));
    }
    if (begin > 0) add_row(w.grad_encoder + (begin - 1) * p.units, w.total, p.units);
  }
  for (Index j = 0; j < a.hidden; ++j) out[a.visible + j] = w.total[j];
}

// The decoder's gradient from a block of frames: each of its rows is read and written once.
template <class Real>
void decoder_gradient(const NadeProblem<Real>& p, const NadeScratch<Real>& w, Index frames) {
  constexpr Index step = 4 * lanes<Real>;
  for (Index i = 0; i < p.args.visible; ++i) {
    Real* row = w.grad_decoder + i * p.units;
    for (Index c = 0; c < p.units; c += step) {
      const int vectors = static_cast<int>((p.units - c < step ? p.units - c : step) / lanes<Real>);
      const auto accumulate = [&](auto count) {
        Vec<Real> sum[4];
        for (int k = 0; k < count; ++k) sum[k] = load(row + c + k * lanes<Real>);
        for (Index f = 0; f < frames; ++f) {
          const Real slope = w.slopes[f * p.notes + i];
          const Real* state = w.states + w.slots[f * p.notes + i] + c;
          for (int k = 0; k < count; ++k) sum[k] += slope * load(state + k * lanes<Real>);
        }
        for (int k = 0; k < count; ++k) store(row + c + k * lanes<Real>, sum[k]);
      };
      if (vectors == 4) accumulate(Constant<4>{});
      else accumulate(vectors);
    }
  }
}

// Frames [first, last) in blocks: `body(frame, place in the block, slot)` leaves a frame's hidden vectors from `slot` on,
// returns where they end, and does the frame's gradients but the decoder's.
template <class Real, class Body>
OSTINATO_INLINE void for_blocks(const NadeProblem<Real>& p, const NadeScratch<Real>& w, Index first, Index last,
                                const Body& body) {
  for (Index c = 0; c < p.args.visible * p.units; ++c) w.grad_encoder[c] = w.grad_decoder[c] = 0;
  for (Index block = first; block < last; block += frames_per_block) {
    const Index frames = last - block < frames_per_block ? last - block : frames_per_block;
    Index slot = 0;
    for (Index f = 0; f < frames; ++f) slot = body(block + f, f, slot);
    decoder_gradient(p, w, frames);
  }
}

template <class Real>
void nade_frames(const NadeProblem<Real>& p, const NadeScratch<Real>& w, Index first, Index last) {
  const NadeArgs<Real>& a = p.args;
  if (!a.grad_biases) {
    for (Index frame = first; frame < last; ++frame) {
      fill_slots(p, w, frame, 0, 0);
      a.log_prob[frame] = frame_likelihood(p, w, frame, 0);
    }
    return;
  }
  for_blocks(p, w, first, last, [&](Index frame, Index place, Index slot) {
    const Index next = fill_slots(p, w, frame, place, slot);
    a.log_prob[frame] = frame_likelihood(p, w, frame, place);
    frame_gradients(p, w, frame, place);
    return next;
  });
}

// grad = the sum of all threads' own gradients, without the padding.
template <class Real>
void add_up(Real* grad, Index rows, Index columns, int members, const Real* first, Index stride) {
  const Index width = padded<Real>(columns);
  for (Index r = 0; r < rows; ++r)
    for (Index c = 0; c < columns; ++c) {
      Real sum = 0;
      for (int m = 0; m < members; ++m) sum += first[m * stride + r * width + c];
      grad[r * columns + c] = sum;
    }
}

// `frames(problem, scratch, memory, first, last)` on every thread of a team, with `extra` numbers of memory each, and
// then the gradients of the weights of all threads in one.
template <class Real, class Frames>
bool nade_team(const NadeArgs<Real>& args, Index extra, const Frames& frames) {
  const int threads = args.threads < 1 ? 1 : args.threads;
  const Index notes = padded<Real>(args.visible), units = padded<Real>(args.hidden);
  const Index scratch_bytes = NadeScratch<Real>::bytes(args.visible, args.hidden);
  const Index own = (scratch_bytes + extra * static_cast<Index>(sizeof(Real)) + 127) / 128 * 128;
  const Index weights = 2 * notes * units * static_cast<Index>(sizeof(Real));
  char* memory = static_cast<char*>(allocate(static_cast<unsigned long>(weights + threads * own)));
  if (!memory) return false;
  Real *encoder = reinterpret_cast<Real*>(memory), *decoder = encoder + notes * units;
  pad_rows(encoder, args.encoder, args.visible, args.hidden, notes);
  pad_rows(decoder, args.decoder, args.visible, args.hidden, notes);
  struct Context {
    NadeProblem<Real> problem;
    const Frames& frames;
    char* memory;
    Index own, scratch_bytes;
    int members;
  } context{{args, encoder, decoder, notes, units}, frames, memory + weights, own, scratch_bytes, 1};
  run_team(
      threads,
      [](void* data, int rank, int size) {
        Context& c = *static_cast<Context*>(data);
        const NadeArgs<Real>& a = c.problem.args;
        const FlushDenormals flush;
        if (rank == 0) c.members = size;
        char* mine = c.memory + rank * c.own;
        const NadeScratch<Real> scratch(mine, a.visible, a.hidden);
        c.frames(c.problem, scratch, reinterpret_cast<Real*>(mine + c.scratch_bytes), cut(a.frames, size, rank),
                 cut(a.frames, size, rank + 1));
      },
      &context);
  if (args.grad_biases) {
    const NadeScratch<Real> first(memory + weights, args.visible, args.hidden);
    const Index stride = own / static_cast<Index>(sizeof(Real));
    add_up(args.grad_encoder, args.visible, args.hidden, context.members, first.grad_encoder, stride);
    add_up(args.grad_decoder, args.visible, args.hidden, context.members, first.grad_decoder, stride);
  }
  release(memory);
  return true;
}

template <class Real>
bool nade(const NadeArgs<Real>& args) {
  return nade_team(args, 0, [](const NadeProblem<Real>& p, const NadeScratch<Real>& w, Real*, Index first, Index last) {
    nade_frames(p, w, first, last);
  });
}

}  // namespace
}  // namespace ostinato::OSTINATO_ISA
