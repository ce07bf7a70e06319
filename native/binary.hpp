// Linear maps of inputs that are zeros and ones, mostly zeros: a sum over the ones instead of a product.
#pragma once

#include "grid.hpp"
#include "scan.hpp"

namespace ostinato::OSTINATO_ISA {
namespace {

// Indices of the non-zero bytes of x[0..count), in order; returns how many.
OSTINATO_INLINE Index find_ones(const unsigned char* x, Index count, Index* found) {
  Index ones = 0, v = 0;
  for (; v + 8 <= count; v += 8) {  // most groups of eight are silent
    unsigned long long eight;
    __builtin_memcpy(&eight, x + v, 8);
    if (!eight) continue;
    for (Index i = v; i < v + 8; ++i)
      if (x[i]) found[ones++] = i;
  }
  for (; v < count; ++v)
    if (x[v]) found[ones++] = v;
  return ones;
}

template <class Real>
OSTINATO_INLINE Real* allocate_reals(Index count) {
  return static_cast<Real*>(allocate(static_cast<unsigned long>(count) * sizeof(Real)));
}

constexpr Index list_alignment = 8;  // in indices: no two threads' lists share a cache line

template <class Real>
bool binary_linear(const BinaryLinearArgs<Real>& args) {
  const int threads = args.threads < 1 ? 1 : args.threads;
  const Index list = (args.inputs + list_alignment - 1) / list_alignment * list_alignment;
  Real* by_input = allocate_reals<Real>(args.inputs * args.hidden);  // weight', so that one input's column is a row
  Index* lists = static_cast<Index*>(allocate(static_cast<unsigned long>(threads * list) * sizeof(Index)));
  const bool ready = by_input && lists;
  if (ready) {
    for (Index h = 0; h < args.hidden; ++h)
      for (Index v = 0; v < args.inputs; ++v) by_input[v * args.hidden + h] = args.weight[h * args.inputs + v];
    struct Context {
      const BinaryLinearArgs<Real>& args;
      const Real* by_input;
      Index *lists, list;
    } context{args, by_input, lists, list};
    run_team(
        threads,
        [](void* data, int rank, int size) {
          const Context& c = *static_cast<Context*>(data);
          const BinaryLinearArgs<Real>& a = c.args;
          const FlushDenormals flush;
          Index* ones = c.lists + rank * c.list;
          for (Index n = cut(a.frames, size, rank); n < cut(a.frames, size, rank + 1); ++n) {
            const Index count = find_ones(a.x + n * a.inputs, a.inputs, ones);
            for_vectors<Real>(a.hidden, [&](Index h, auto lanes_used) {
              using Lanes = decltype(lanes_used);
              Vec<Real> sum{};
              if (a.bias) sum = Lanes::get(lanes_used, a.bias + h);
              for (Index i = 0; i < count; ++i) sum += Lanes::get(lanes_used, c.by_input + ones[i] * a.hidden + h);
              Lanes::put(lanes_used, a.out + n * a.hidden + h, sum);
            });
          }
        },
        &context);
  }
  release(by_input);
  release(lists);
  return ready;
}

// Every thread owns some columns of grad and goes through all frames: no sums to be combined.
template <class Real>
bool binary_weight_grad(const BinaryWeightGradArgs<Real>& args) {
  const int threads = args.threads < 1 ? 1 : args.threads;
  const Index list = (args.inputs + list_alignment - 1) / list_alignment * list_alignment;
  Real* by_input = allocate_reals<Real>(args.inputs * args.hidden);  // (V, H)
  Index* lists = static_cast<Index*>(allocate(static_cast<unsigned long>(threads * list) * sizeof(Index)));
  const bool ready = by_input && lists;
  if (ready) {
    struct Context {
      const BinaryWeightGradArgs<Real>& args;
      Real* by_input;
      Index *lists, list;
    } context{args, by_input, lists, list};
    run_team(
        threads,
        [](void* data, int rank, int size) {
          const Context& c = *static_cast<Context*>(data);
          const BinaryWeightGradArgs<Real>& a = c.args;
          const FlushDenormals flush;
          Index* ones = c.lists + rank * c.list;
          const Index vectors = (a.hidden + lanes<Real> - 1) / lanes<Real>;
          const Index first = cut(vectors, size, rank) * lanes<Real>;
          const Index end = cut(vectors, size, rank + 1) * lanes<Real>;
          const Index last = end < a.hidden ? end : a.hidden;
          for (Index v = 0; v < a.inputs; ++v)
            for (Index h = first; h < last; ++h) c.by_input[v * a.hidden + h] = 0;
          for (Index n = 0; n < a.frames; ++n) {
            const Index count = find_ones(a.x + n * a.inputs, a.inputs, ones);
            for (Index i = 0; i < count; ++i) {
              Real* to = c.by_input + ones[i] * a.hidden + first;
              const Real* from = a.grad + n * a.hidden + first;
              for_vectors<Real>(last - first, [&](Index h, auto lanes_used) {
                using Lanes = decltype(lanes_used);
                Lanes::put(lanes_used, to + h, Lanes::get(lanes_used, to + h) + Lanes::get(lanes_used, from + h));
              });
            }
          }
          for (Index h = first; h < last; ++h)
            for (Index v = 0; v < a.inputs; ++v) a.out[h * a.inputs + v] = c.by_input[v * a.hidden + h];
        },
        &context);
  }
  release(by_input);
  release(lists);
  return ready;
}

}  // namespace
}  // namespace ostinato::OSTINATO_ISA
