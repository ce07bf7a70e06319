// Parts of a pass by themselves, with the kernels' own code (native/): the products of each phase, with nothing behind
// them, and what follows the products, with everything in the first-level cache. compiled_peers.py compiles it for the
// instruction set that the kernels use.
#include <chrono>
#include <vector>

#include "gated/cells.hpp"
#include "rnn/layer.hpp"

namespace {

using namespace ostinato;
using namespace ostinato::OSTINATO_ISA;

// What a leaky unit does behind its products, and how many of everything it has.
struct Leaky {
  static constexpr int gates = 1, drives = 1, saved = 1, coefficients = 1, deltas = 1;
  static constexpr int delta_of_gate[gates] = {0};
  static constexpr int delta_of_drive = 0;
  static constexpr bool has_cell = false;

  template <class Real>
  static void forward(const Vec<Real>* x, const Vec<Real>* u, Vec<Real> a, Vec<Real>& h, Vec<Real>&, Vec<Real>* saved) {
    Vec<Real> value, slope;
    Activation<Nonlinearity::tanh>::apply<Real>(x[0] + u[0], value, slope);
    saved[0] = slope * (Real(1) - a);
    h = a * h + (Real(1) - a) * value;
  }
  template <class Real>
  static void linearize(const Vec<Real>* saved, Vec<Real>, Vec<Real>, Vec<Real>, Vec<Real>* by) {
    by[0] = saved[0];
  }
  template <class Real>
  static void adjoint(const Vec<Real>* by, Vec<Real> h, Vec<Real>&, Vec<Real>* deltas, Vec<Real>& carried) {
    deltas[0] = by[0] * h;
    carried = h;
  }
};

// body(a struct), for 0 leaky units, 1 GRU, 2 LSTM.
template <class Body>
void with_struct(int cell, const Body& body) {
  if (cell == 0) return body(Leaky{});
  if (cell == 1) return body(Gru{});
  body(Lstm{});
}

template <class Body>
double best_seconds(int rounds, const Body& body) {
  double best = 1e9;
  for (int round = 0; round < rounds; ++round) {
    const auto begin = std::chrono::steady_clock::now();
    body();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    if (took.count() < best) best = took.count();
  }
  return best;
}

std::vector<float> numbers(Index count) {
  std::vector<float> made(static_cast<size_t>(count + 64));
  for (size_t i = 0; i < made.size(); ++i) made[i] = static_cast<float>((i * 2654435761u >> 8) % 1000) * 1e-4f - 0.05f;
  return made;
}

constexpr Index units = 256;  // 17 KB of an LSTM's numbers

// `Blocks` arrays of `units` numbers.
struct Block {
  std::vector<float> memory;
  explicit Block(int count) : memory(numbers(count * units)) {}
  float* at(int block, Index c) { return memory.data() + block * units + c; }
};

template <class Cell>
double forward_seconds() {
  Block x(Cell::drives), u(Cell::gates), states(5), saved(Cell::saved);
  constexpr int rounds = 200;
  const double seconds = best_seconds(30, [&] {
    for (int r = 0; r < rounds; ++r)
      for_vectors<float>(units, [&](Index c, auto) {
        Vec<float> drive[Cell::drives], sums[Cell::gates], kept[Cell::saved], a = load(states.at(0, c));
        for (int d = 0; d < Cell::drives; ++d) drive[d] = load(x.at(d, c));
        for (int g = 0; g < Cell::gates; ++g) sums[g] = load(u.at(g, c));
        Vec<float> h = load(states.at(1, c)), cell = load(states.at(2, c));
        Cell::template forward<float>(drive, sums, a, h, cell, kept);
        store(states.at(3, c), h);
        if (Cell::has_cell) store(states.at(4, c), cell);
        for (int s = 0; s < Cell::saved; ++s) store(saved.at(s, c), kept[s]);
      });
    asm volatile("" : : : "memory");
  });
  return seconds / rounds / (units / lanes<float>);
}

template <class Cell>
double adjoint_seconds() {
  Block saved(Cell::saved), states(7), deltas(Cell::deltas);
  constexpr int rounds = 200;
  const double seconds = best_seconds(30, [&] {
    for (int r = 0; r < rounds; ++r)
      for_vectors<float>(units, [&](Index c, auto) {
        Vec<float> kept[Cell::saved], by[Cell::coefficients], delta[Cell::deltas], passed, a = load(states.at(0, c));
        for (int s = 0; s < Cell::saved; ++s) kept[s] = load(saved.at(s, c));
        Cell::template linearize<float>(kept, a, load(states.at(1, c)), load(states.at(2, c)), by);
        Vec<float> h = load(states.at(3, c)) + load(states.at(4, c)), cell = load(states.at(5, c));
        Cell::template adjoint<float>(by, h, cell, delta, passed);
        store(states.at(6, c), passed);
        for (int d = 0; d < Cell::deltas; ++d) store(deltas.at(d, c), delta[d]);
      });
    asm volatile("" : : : "memory");
  });
  return seconds / rounds / (units / lanes<float>);
}

// Every step's products of a scan, of one step's rows over and over: they are in cache then, as those just made are.
template <class Cell, bool back>
void run_products(const Shape& s, const float* rows, const float* weight, int threads) {
  const Order order = blocks_by_step(s, back ? Cell::deltas : 1);
  const auto steps = [&](Share<float>& share) {
    const Rows<const float> a = share.rows(order, rows, 0);
    for (Index t = 0; t < s.steps; ++t) {
      if constexpr (Cell::gates == 1)
        share.step(a, {}, [](const float*, Index, Index, Index) {});
      else
        share.template step_of_gates<Cell::gates, back>(a, (back ? Cell::deltas : 1) * s.hidden, Cell::delta_of_gate,
                                                        UpcomingBlocks<float>(s.hidden),
                                                        [](const float*, Index, Index, Index, Index) {});
    }
  };
  run_scan<float>(s, order.split, weight, !back, threads, steps, nullptr, {}, {}, Cell::gates);
}

// body(rank, size) in a team.
template <class Body>
void in_team(int threads, const Body& body) {
  run_team(
      threads, [](void* data, int rank, int size) { (*static_cast<const Body*>(data))(rank, size); },
      const_cast<Body*>(&body));
}

}  // namespace

extern "C" {

void find_threads() { find_thread_pool(); }

int lanes_of_a_vector() { return lanes<float>; }

// Seconds for one vector of units of one stream and step: forward, and the way back.
void pointwise(int cell, double* seconds) {
  with_struct(cell, [seconds](auto kind) {
    seconds[0] = forward_seconds<decltype(kind)>();
    seconds[1] = adjoint_seconds<decltype(kind)>();
  });
}

// Seconds of the products of a pass: of the inputs, of the forward and the adjoint scan, and of all weights' gradients.
void products(int cell, int steps, int streams, int inputs, int hidden, int threads, int rounds, double* seconds) {
  with_struct(cell, [=](auto kind) {
    using Cell = decltype(kind);
    const Shape s{steps, streams, hidden};
    const Index frames = s.steps * s.streams, rows = Cell::drives * s.hidden;
    const std::vector<float> x = numbers(frames * inputs), states = numbers(frames * hidden), h0 = numbers(streams * hidden);
    const std::vector<float> deltas = numbers(frames * Cell::deltas * hidden), u = numbers(rows * inputs);
    const std::vector<float> weight = numbers(Cell::gates * s.hidden * s.hidden);
    std::vector<float> out = numbers(frames * rows), grad = numbers(Cell::gates * s.hidden * s.hidden);
    std::vector<float> grad_u = numbers(rows * inputs), bias = numbers(Cell::gates * s.hidden), bias_u = numbers(rows);
    seconds[0] = best_seconds(rounds, [&] {
      project<float>({frames, inputs, rows, x.data(), u.data(), nullptr, nullptr, out.data(), threads});
    });
    seconds[1] = best_seconds(rounds, [&] { run_products<Cell, false>(s, states.data(), weight.data(), threads); });
    seconds[2] = best_seconds(rounds, [&] { run_products<Cell, true>(s, deltas.data(), weight.data(), threads); });
    if constexpr (Cell::gates == 1) {
      LayerBackwardArgs<float> args{};
      args.scan.shape = s, args.scan.threads = threads, args.scan.by_part = true;
      args.scan.delta_in_parts = const_cast<float*>(deltas.data());
      args.states = states.data(), args.h0 = h0.data(), args.input = {inputs, nullptr, x.data()};
      args.grad_hh = grad.data(), args.grad_ih = grad_u.data(), args.grad_bias = bias.data();
      seconds[3] = best_seconds(rounds, [&] {
        const LayerGradient<float> gradient(args, threads, nullptr);
        in_team(threads, [&gradient](int rank, int size) { gradient.run(rank, size); });
      });
    } else {
      GatedAdjointArgs<float> args{};
      args.shape = s, args.deltas = const_cast<float*>(deltas.data()), args.threads = threads;
      args.at.states = states.data(), args.at.h0 = h0.data(), args.inputs = x.data(), args.input_size = inputs;
      args.grad_weight = grad.data(), args.grad_bias = bias.data();
      args.grad_input_weight = grad_u.data(), args.grad_input_bias = bias_u.data();
      seconds[3] = best_seconds(rounds, [&] {
        const GatedGradient<float> gradient(args, kind);
        in_team(threads, [&gradient](int rank, int size) { gradient.run(rank, size); });
      });
    }
  });
}
}
