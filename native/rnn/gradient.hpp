// The weight gradients of a layer: sums over all frames of outer products, delta' x for each x the weights multiply.
//
// The streams are cut in parts, and every part has sums of its own, some rows (units) of which are one thread's: what a
// thread made in the scans is mostly what it reads here, where fetching it from another core's cache would cost more
// than the sums do. How many parts depends on the shape alone, so the number of threads changes no bit. Frames go by in
// chunks, whose deltas are packed once for all products. Where every thread has parts of its own, a chunk can go by as soon
// as the scan has made it, while it is in the second-level cache.
#pragma once

#include "rnn/gradient_share.hpp"

namespace ostinato::OSTINATO_ISA {
namespace {

// All sums of a layer and who makes which.
template <class Real>
class LayerGradient {
 public:
  LayerGradient(const LayerBackwardArgs<Real>& args, int threads, const InterleavedGradient<Real>* interleaved)
      : args_(args), interleaved_(interleaved), threads_(threads), parts_(parts_of(args.scan.shape)) {
    const Index hidden = args.scan.shape.hidden, inputs = args.input.size;
    const Index own = GradientMemory<Real>::size(args.scan.shape, inputs, threads);
    const Index hh = args.grad_hh ? hidden * hidden : 0, ih = args.grad_ih ? hidden * inputs : 0;
    const Index by_input = args.sparse || GradientShare<Real>::are_few(args) ? ih : 0;
    const auto progress = static_cast<unsigned long>(threads) * sizeof(Progress);
    const Index reals = own + parts_ * (by_input + hidden) + (parts_ - 1) * (hh + ih);
    memory_ = static_cast<char*>(allocate(progress + static_cast<unsigned long>(reals) * sizeof(Real)));
    if (!memory_) return;
    finished_ = reinterpret_cast<Progress*>(memory_);
    for (int i = 0; i < threads; ++i) finished_[i] = Progress{};
    own_ = reinterpret_cast<Real*>(memory_ + progress);
    own_size_ = own;
    Real* next = own_ + own;
    const auto take = [&next](Index count) { return next += count, count ? next - count : nullptr; };
    for (Index p = 0; p < parts_; ++p) {
      sums_[p] = {p == 0 ? args.grad_hh : take(hh), p == 0 ? args.grad_ih : take(ih), take(hidden), take(by_input)};
    }
  }
  LayerGradient(const LayerGradient&) = delete;
  LayerGradient& operator=(const LayerGradient&) = delete;
  ~LayerGradient() { release(memory_); }

  bool has_memory() const { return memory_; }

  // Whether every thread has all rows of parts of its own, and can make their sums while the scan runs.
  bool is_on_the_way(int threads) const { return args_.on_the_way && threads <= parts_; }

  // See AdjointArgs.
  Index ring(int threads) const {
    return args_.scan.by_part && is_on_the_way(threads) ? GradientShare<Real>::ring_of(args_.scan.shape) : 0;
  }

  // To be told by a thread when step t of the scan is done, for the part that its rows are.
  void finish_step(Index t, const Share<Real>& share) const {
    const Index p = parts_ > 1 && share.row_begin >= cut(args_.scan.shape.streams, parts_, 1) ? 1 : 0;
    const StreamPart part = StreamPart::of(args_.scan.shape, p);
    const Index done = args_.scan.shape.steps - t, at_once = GradientShare<Real>::steps_at_once(part);
    if (done % at_once && t > 0) return;
    const auto memory =
        GradientMemory<Real>::at(own_, own_size_, args_.scan.shape, args_.input.size, share.rank, threads_);
    const Index ring = GradientShare<Real>::ring_of(args_.scan.shape);
    GradientShare<Real>{args_, part, 0, args_.scan.shape.hidden, sums_[p], memory, nullptr, ring}.add_steps(
        t, t + (done % at_once ? done % at_once : at_once));
  }

  void run(int rank, int size) const {
    meet(rank, size, 1);  // all deltas are there
    if (!is_on_the_way(threads_)) make_sums(rank, size);
    const Index tiles = (args_.scan.shape.hidden + tile_rows - 1) / tile_rows;
    if (parts_ > 1) meet(rank, size, 2);
    add_parts(row(cut(tiles, size, rank)), row(cut(tiles, size, rank + 1)));
  }

 private:
  void make_sums(int rank, int size) const {
    const Index tiles = (args_.scan.shape.hidden + tile_rows - 1) / tile_rows;
    const Index begin = cut(parts_ * tiles, size, rank), end = cut(parts_ * tiles, size, rank + 1);
    const auto memory = GradientMemory<Real>::at(own_, own_size_, args_.scan.shape, args_.input.size, rank, size);
    for (Index p = 0; p < parts_; ++p) {
      const Index first = begin > p * tiles ? begin - p * tiles : 0;
      const Index last = end < (p + 1) * tiles ? end - p * tiles : tiles;
      const StreamPart part = StreamPart::of(args_.scan.shape, p);
      if (first >= last) continue;
      const GradientShare<Real> share{args_, part, first * tile_rows, row(last), sums_[p], memory, interleaved_};
      args_.on_the_way ? share.run_backwards() : share.run();
    }
  }

  Index row(Index tile) const {
    const Index row = tile * tile_rows, hidden = args_.scan.shape.hidden;
    return row < hidden ? row : hidden;
  }

  void meet(int rank, int size, Index times) const {
    finished_[rank].finish(times);
    for (int other = 0; other < size; ++other) finished_[other].await(times);
  }

  // The sums of all parts, rows [first, last). With one part these are the caller's rows of the same thread.
  void add_parts(Index first, Index last) const {
    const Index hidden = args_.scan.shape.hidden, inputs = args_.input.size;
    for (Index p = 1; p < parts_; ++p) {
      if (args_.grad_hh) add(args_.grad_hh, sums_[p].hh, first * hidden, last * hidden);
      if (args_.grad_ih) add(args_.grad_ih, sums_[p].ih, first * inputs, last * inputs);
      add(sums_[0].deltas, sums_[p].deltas, first, last);
    }
    Real* const biases[] = {args_.grad_bias, args_.second_grad_bias};
    for (Real* out : biases)
      if (out && first < last)
        __builtin_memcpy(out + first, sums_[0].deltas + first, static_cast<unsigned long>(last - first) * sizeof(Real));
  }

  static void add(Real* to, const Real* from, Index first, Index last) {
    for_vectors<Real>(last - first, [&](Index i, auto lanes_used) {
      using Lanes = decltype(lanes_used);
      const Index k = first + i;
      Lanes::put(lanes_used, to + k, Lanes::get(lanes_used, to + k) + Lanes::get(lanes_used, from + k));
    });
  }

  const LayerBackwardArgs<Real>& args_;
  const InterleavedGradient<Real>* interleaved_;
  int threads_;
  Index parts_, own_size_ = 0;
  char* memory_ = nullptr;
  Progress* finished_ = nullptr;
  Real* own_ = nullptr;
  PartSums<Real> sums_[2] = {};
};

// What a team does about a layer's gradients during a scan and after it.
template <class Real>
struct MakeGradient {
  const LayerGradient<Real>& gradient;
  bool on_the_way;

  MakeGradient(const LayerGradient<Real>& gradient, int threads)
      : gradient(gradient), on_the_way(gradient.is_on_the_way(threads)) {}

  void operator()(int rank, int size) const { gradient.run(rank, size); }
  void finish_step(Index t, const Share<Real>& share) const {
    if (on_the_way) gradient.finish_step(t, share);
  }
};

}  // namespace
}  // namespace ostinato::OSTINATO_ISA
