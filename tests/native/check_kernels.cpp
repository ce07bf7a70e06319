// Runs every kernel of every instruction set this machine has over odd shapes and compares with plain loops.
// Built with AddressSanitizer and UBSan (cmake -DOSTINATO_SANITIZE=ON); every array is a heap block of its own, so
// that one element too far is seen. Exits with 1 at the first difference.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <utility>
#include <vector>

#include "kernels.hpp"
#include "team/team.hpp"

using namespace ostinato;

namespace {

std::mt19937 random_source(1);

template <class Real>
std::vector<Real> normal(Index count, double scale = 1) {
  std::normal_distribution<double> draw(0, scale);
  std::vector<Real> values(static_cast<size_t>(count));
  for (Real& value : values) value = static_cast<Real>(draw(random_source));
  return values;
}

std::vector<unsigned char> flags(Index count, double share) {
  std::bernoulli_distribution draw(share);
  std::vector<unsigned char> values(static_cast<size_t>(count));
  for (unsigned char& value : values) value = draw(random_source);
  return values;
}

template <class Real>
void expect_close(const char* what, const char* isa, const Shape& s, const std::vector<Real>& found,
                  const std::vector<double>& expected) {
  double worst = 0, largest = 1e-30;
  for (size_t i = 0; i < expected.size(); ++i) {
    worst = std::fmax(worst, std::fabs(static_cast<double>(found[i]) - expected[i]));
    largest = std::fmax(largest, std::fabs(expected[i]));
  }
  const double bound = sizeof(Real) == 4 ? 2e-5 : 1e-12;
  if (worst <= bound * largest) return;
  std::printf("%s, %s, %zu bytes, shape (%td, %td, %td): off by %g\n", what, isa, sizeof(Real), s.steps, s.streams,
              s.hidden, worst / largest);
  std::exit(1);
}

double value_of(Nonlinearity f, double z) {
  switch (f) {
    case Nonlinearity::tanh: return std::tanh(z);
    case Nonlinearity::relu: return z > 0 ? z : 0;
    case Nonlinearity::sigmoid: return 1 / (1 + std::exp(-z));
    default: return z;
  }
}

double slope_of(Nonlinearity f, double value) {
  switch (f) {
    case Nonlinearity::tanh: return 1 - value * value;
    case Nonlinearity::relu: return value > 0;
    case Nonlinearity::sigmoid: return value * (1 - value);
    default: return 1;
  }
}

// One problem and the plain loops over it.
template <class Real>
struct Problem {
  Shape s;
  bool leaky, starting;
  Index frame, size;
  std::vector<Real> in, slopes, weight, leak, h0;
  std::vector<unsigned char> starts;

  Problem(const Shape& shape, bool leaky, bool starting)
      : s(shape), leaky(leaky), starting(starting), frame(s.streams * s.hidden), size(s.steps * frame),
        in(normal<Real>(size)), slopes(normal<Real>(size, 0.5)),
        weight(normal<Real>(s.hidden * s.hidden, 1 / std::sqrt(static_cast<double>(s.hidden)))),
        leak(normal<Real>(s.hidden, 0.3)), h0(normal<Real>(frame)), starts(flags(s.steps * s.streams, 0.3)) {}

  bool starts_at(Index t, Index b) const { return starting && starts[static_cast<size_t>(t * s.streams + b)]; }
  double a(Index j) const { return leaky ? static_cast<double>(leak[static_cast<size_t>(j)]) : 0; }
  double w(Index j, Index k) const { return weight[static_cast<size_t>(j * s.hidden + k)]; }
  size_t at(Index t, Index b, Index j) const { return static_cast<size_t>((t * s.streams + b) * s.hidden + j); }

  // From step by step to part by part, and back: all frames of the first half of eight streams or more come first.
  std::vector<Real> in_parts(const std::vector<Real>& by_step) const { return reorder(by_step, false); }
  std::vector<Real> by_step(const std::vector<Real>& in_parts) const { return reorder(in_parts, true); }

 private:
  std::vector<Real> reorder(const std::vector<Real>& from, bool back) const {
    std::vector<Real> to;
    std::vector<size_t> order;  // where the next element by parts is by steps
    const Index half = s.streams < 8 ? s.streams : s.streams / 2;
    for (const auto& [first, last] : {std::pair<Index, Index>{0, half}, {half, s.streams}})
      for (Index t = 0; t < s.steps; ++t)
        for (Index b = first; b < last; ++b)
          for (Index j = 0; j < s.hidden; ++j) order.push_back(at(t, b, j));
    to.resize(from.size());
    for (size_t i = 0; i < order.size(); ++i) back ? to[order[i]] = from[i] : to[i] = from[order[i]];
    return to;
  }
};

template <class Real>
double product_with_previous(const Problem<Real>& p, const std::vector<double>& states, Index t, Index b, Index j,
                             double& previous) {
  previous = 0;
  if (p.starts_at(t, b)) return 0;
  double sum = 0;
  for (Index k = 0; k < p.s.hidden; ++k) {
    const double h = t ? states[p.at(t - 1, b, k)] : static_cast<double>(p.h0[p.at(0, b, k)]);
    sum += p.w(j, k) * h;
    if (k == j) previous = h;
  }
  return sum;
}

template <class Real>
void check_forward(const Problem<Real>& p, const Kernels<Real>& kernels, const char* isa, Nonlinearity f, int threads) {
  std::vector<double> states(p.in.size()), slopes(p.in.size());
  for (Index t = 0; t < p.s.steps; ++t)
    for (Index b = 0; b < p.s.streams; ++b)
      for (Index j = 0; j < p.s.hidden; ++j) {
        double previous;
        const double z = product_with_previous(p, states, t, b, j, previous);
        const double value = value_of(f, z + static_cast<double>(p.in[p.at(t, b, j)]));
        states[p.at(t, b, j)] = p.a(j) * previous + (1 - p.a(j)) * value;
        slopes[p.at(t, b, j)] = (1 - p.a(j)) * slope_of(f, value);
      }
  std::vector<Real> found(p.in.size()), found_slopes = p.in;  // in place, over the drive
  kernels.forward({p.s, found_slopes.data(), p.weight.data(), p.leaky ? p.leak.data() : nullptr, p.h0.data(),
                   p.starting ? p.starts.data() : nullptr, found.data(), found_slopes.data(), f, threads});
  expect_close("states", isa, p.s, found, states);
  if (f != Nonlinearity::relu) expect_close("slopes", isa, p.s, found_slopes, slopes);

  found = p.in;  // in place, too
  kernels.forward({p.s, found.data(), p.weight.data(), p.leaky ? p.leak.data() : nullptr, p.h0.data(),
                   p.starting ? p.starts.data() : nullptr, found.data(), found_slopes.data(), f, threads, true});
  expect_close("states beside slopes in parts", isa, p.s, found, states);
  if (f != Nonlinearity::relu) expect_close("slopes in parts", isa, p.s, p.by_step(found_slopes), slopes);
}

template <class Real>
void check_adjoint(const Problem<Real>& p, const Kernels<Real>& kernels, const char* isa, bool keep, int threads) {
  std::vector<double> delta(p.in.size()), total(p.in.size()), carried(p.h0.size());
  for (Index t = p.s.steps - 1; t >= 0; --t)
    for (Index b = 0; b < p.s.streams; ++b) {
      for (Index j = 0; j < p.s.hidden; ++j) {
        total[p.at(t, b, j)] = static_cast<double>(p.in[p.at(t, b, j)]) + carried[p.at(0, b, j)];
        delta[p.at(t, b, j)] = total[p.at(t, b, j)] * static_cast<double>(p.slopes[p.at(t, b, j)]);
      }
      for (Index k = 0; k < p.s.hidden; ++k) {
        double sum = p.a(k) * total[p.at(t, b, k)];
        for (Index j = 0; j < p.s.hidden; ++j) sum += delta[p.at(t, b, j)] * p.w(j, k);
        carried[p.at(0, b, k)] = p.starts_at(t, b) ? 0 : sum;
      }
    }
  std::vector<Real> found(p.in.size()), found_h0(p.h0.size()), found_total(keep ? p.in.size() : 0);
  kernels.adjoint({p.s, p.in.data(), p.slopes.data(), p.weight.data(), p.leaky ? p.leak.data() : nullptr,
                   p.starting ? p.starts.data() : nullptr, found.data(), found_h0.data(),
                   keep ? found_total.data() : nullptr, threads});
  expect_close("delta", isa, p.s, found, delta);
  expect_close("gradient of h0", isa, p.s, found_h0, carried);
  if (keep) expect_close("adjoint states", isa, p.s, found_total, total);

  const std::vector<Real> slopes_in_parts = p.in_parts(p.slopes);
  std::vector<Real> found_in_parts(p.in.size()), second_h0(p.h0.size()), copy(p.in.size());
  kernels.adjoint({p.s, p.in.data(), slopes_in_parts.data(), p.weight.data(), p.leaky ? p.leak.data() : nullptr,
                   p.starting ? p.starts.data() : nullptr, keep ? copy.data() : nullptr, second_h0.data(), nullptr,
                   threads, true, found_in_parts.data()});
  if (p.by_step(found_in_parts) != found || second_h0 != found_h0 || (keep && copy != found))
    std::printf("an adjoint in parts is another, %s\n", isa), std::exit(1);
}

template <class Real>
void check_tangent(const Problem<Real>& p, const Kernels<Real>& kernels, const char* isa, int threads) {
  std::vector<double> tangents(p.in.size());
  for (Index t = 0; t < p.s.steps; ++t)
    for (Index b = 0; b < p.s.streams; ++b)
      for (Index j = 0; j < p.s.hidden; ++j) {
        double previous;
        const double z = product_with_previous(p, tangents, t, b, j, previous);
        tangents[p.at(t, b, j)] = p.a(j) * previous + static_cast<double>(p.slopes[p.at(t, b, j)]) * z +
                                  static_cast<double>(p.in[p.at(t, b, j)]);
      }
  std::vector<Real> found(p.in.size());
  kernels.tangent({p.s, p.in.data(), p.slopes.data(), p.weight.data(), p.leaky ? p.leak.data() : nullptr,
                   p.h0.data(), p.starting ? p.starts.data() : nullptr, found.data(), threads});
  expect_close("tangents", isa, p.s, found, tangents);
}

// Plain sums over all frames of deltas that the check of the adjoint has proved right.
template <class Real>
void check_backward(const Problem<Real>& p, const Kernels<Real>& kernels, const char* isa, const Input<Real>& x,
                    const std::vector<Real>& dense, bool sparse, int threads) {
  const Index hidden = p.s.hidden, inputs = x.size;
  const Real* leak = p.leaky ? p.leak.data() : nullptr;
  const unsigned char* starts = p.starting ? p.starts.data() : nullptr;
  const std::vector<Real> slopes_in_parts = p.in_parts(p.slopes), &states = p.slopes;
  std::vector<Real> delta(p.in.size()), h0(p.h0.size()), expected_delta(p.in.size()), expected_h0(p.h0.size());
  kernels.adjoint({p.s, p.in.data(), p.slopes.data(), p.weight.data(), leak, starts, expected_delta.data(),
                   expected_h0.data(), nullptr, threads});
  std::vector<double> hh(p.weight.size()), ih(static_cast<size_t>(hidden * inputs)), bias(static_cast<size_t>(hidden));
  for (Index t = 0; t < p.s.steps; ++t)
    for (Index b = 0; b < p.s.streams; ++b)
      for (Index j = 0; j < hidden; ++j) {
        const double value = expected_delta[p.at(t, b, j)];
        bias[static_cast<size_t>(j)] += value;
        for (Index k = 0; k < hidden && !p.starts_at(t, b); ++k)
          hh[static_cast<size_t>(j * hidden + k)] += value * (t ? states[p.at(t - 1, b, k)] : p.h0[p.at(0, b, k)]);
        for (Index i = 0; i < inputs; ++i)
          ih[static_cast<size_t>(j * inputs + i)] +=
              value * static_cast<double>(dense[static_cast<size_t>((t * p.s.streams + b) * inputs + i)]);
      }
  std::vector<Real> found_hh(hh.size()), found_ih(ih.size()), found_bias(bias.size()), second(bias.size());
  kernels.layer_backward({{p.s, p.in.data(), p.slopes.data(), p.weight.data(), leak, starts, delta.data(), h0.data(),
                           nullptr, threads},
                          states.data(), p.h0.data(), x, sparse, found_hh.data(), found_ih.data(), found_bias.data(),
                          second.data()});
  if (delta != expected_delta || h0 != expected_h0)
    std::printf("a layer's adjoint is another, %s\n", isa), std::exit(1);
  expect_close("gradient of W", isa, p.s, found_hh, hh);
  expect_close("gradient of U", isa, p.s, found_ih, ih);
  expect_close("gradient of b", isa, p.s, found_bias, bias);
  expect_close("gradient of the second b", isa, p.s, second, bias);

  std::vector<Real> hh_again(hh.size()), ih_again(ih.size()), bias_again(bias.size()), parts(p.in.size());
  kernels.layer_backward({{p.s, p.in.data(), slopes_in_parts.data(), p.weight.data(), leak, starts, nullptr, h0.data(),
                           nullptr, threads, true, parts.data()},
                          states.data(), p.h0.data(), x, sparse, hh_again.data(), ih_again.data(), bias_again.data(),
                          nullptr});
  if (hh_again != found_hh || ih_again != found_ih || bias_again != found_bias || p.by_step(parts) != delta)
    std::printf("gradients of deltas in parts are others, %s\n", isa), std::exit(1);

  std::vector<Real> hh_soon(hh.size()), ih_soon(ih.size()), bias_soon(bias.size());
  kernels.layer_backward({{p.s, p.in.data(), slopes_in_parts.data(), p.weight.data(), leak, starts, nullptr, h0.data(),
                           nullptr, threads, true, parts.data()},
                          states.data(), p.h0.data(), x, false, hh_soon.data(), ih_soon.data(), bias_soon.data(),
                          nullptr, true});
  expect_close("gradient of W on the way", isa, p.s, hh_soon, hh);
  expect_close("gradient of U on the way", isa, p.s, ih_soon, ih);
  expect_close("gradient of b on the way", isa, p.s, bias_soon, bias);
}

// A layer's states are those of the scan over the drive that plain loops make.
template <class Real>
void check_layer(const Problem<Real>& p, const Kernels<Real>& kernels, const char* isa, Index inputs, double share,
                 bool binary, int threads) {
  const Index frames = p.s.steps * p.s.streams, hidden = p.s.hidden;
  const auto marks = flags(frames * inputs, share);
  const auto values = normal<Real>(frames * inputs), weight = normal<Real>(hidden * inputs);
  const auto bias = normal<Real>(hidden), second = normal<Real>(hidden);
  std::vector<Real> dense(marks.size());
  for (size_t i = 0; i < marks.size(); ++i) dense[i] = marks[i] ? (binary ? Real(1) : values[i]) : Real(0);
  Problem<Real> driven = p;
  for (Index n = 0; n < frames; ++n)
    for (Index h = 0; h < hidden; ++h) {
      double sum = static_cast<double>(bias[static_cast<size_t>(h)]) + static_cast<double>(second[static_cast<size_t>(h)]);
      for (Index i = 0; i < inputs; ++i)
        sum += static_cast<double>(weight[static_cast<size_t>(h * inputs + i)]) *
               static_cast<double>(dense[static_cast<size_t>(n * inputs + i)]);
      driven.in[static_cast<size_t>(n * hidden + h)] = static_cast<Real>(sum);
    }
  std::vector<Real> states(p.in.size()), slopes = driven.in, found(p.in.size()), found_slopes(p.in.size());
  std::vector<Real> last(p.h0.size());
  const Real* leak = p.leaky ? p.leak.data() : nullptr;
  const unsigned char* starts = p.starting ? p.starts.data() : nullptr;
  kernels.forward({p.s, slopes.data(), p.weight.data(), leak, p.h0.data(), starts, states.data(), slopes.data(),
                   Nonlinearity::tanh, threads});
  const Input<Real> x{inputs, binary ? marks.data() : nullptr, binary ? nullptr : dense.data()};
  const bool sparse = kernels.layer_forward({{p.s, nullptr, p.weight.data(), leak, p.h0.data(), starts, found.data(),
                                              found_slopes.data(), Nonlinearity::tanh, threads},
                                             x, weight.data(), bias.data(), second.data(), last.data()});
  if (sparse) {
    expect_close("a layer's states", isa, p.s, found, std::vector<double>(states.begin(), states.end()));
    expect_close("a layer's last states", isa, p.s, last,
                 std::vector<double>(states.end() - static_cast<Index>(last.size()), states.end()));
    std::vector<Real> again(p.in.size()), slopes_in_parts(p.in.size());
    kernels.layer_forward({{p.s, nullptr, p.weight.data(), leak, p.h0.data(), starts, again.data(),
                            slopes_in_parts.data(), Nonlinearity::tanh, threads, true},
                           x, weight.data(), bias.data(), second.data(), last.data()});
    if (again != found || p.by_step(slopes_in_parts) != found_slopes)
      std::printf("a layer in parts is another, %s\n", isa), std::exit(1);
  }
  if (share < 0.1 && frames * inputs > 500 && !sparse) std::printf("sparse inputs were taken for dense\n"), std::exit(1);
  check_backward(p, kernels, isa, x, dense, sparse, threads);
  if (binary) return;

  // driven.in is dU x + db + db2; the change of the weights between states is p.weight itself
  std::vector<Real> force(p.in.size()), tangents(p.in.size()), expected(p.in.size());
  const std::vector<Real> zeros(p.h0.size());
  const std::vector<double> all(found.begin(), found.end());
  for (Index t = 0; t < p.s.steps; ++t)
    for (Index b = 0; b < p.s.streams; ++b)
      for (Index j = 0; j < hidden; ++j) {
        const size_t i = p.at(t, b, j);
        double previous;
        force[i] = static_cast<Real>(p.slopes[i] * (driven.in[i] + product_with_previous(p, all, t, b, j, previous)));
      }
  kernels.tangent({p.s, force.data(), p.slopes.data(), p.weight.data(), leak, zeros.data(), starts, expected.data(),
                   threads});
  const bool done = kernels.layer_tangent({p.s, x, found.data(), p.slopes.data(), p.h0.data(), p.weight.data(), leak,
                                           starts, weight.data(), p.weight.data(), bias.data(), second.data(),
                                           tangents.data(), threads});
  if (done != sparse) std::printf("a layer's tangent disagrees on what is sparse\n"), std::exit(1);
  if (!sparse) return;
  expect_close("a layer's tangents", isa, p.s, tangents, std::vector<double>(expected.begin(), expected.end()));
  const std::vector<Real> slopes_in_parts = p.in_parts(p.slopes);
  std::vector<Real> again(p.in.size());
  kernels.layer_tangent({p.s, x, found.data(), slopes_in_parts.data(), p.h0.data(), p.weight.data(), leak, starts,
                         weight.data(), p.weight.data(), bias.data(), second.data(), again.data(), threads, true});
  if (again != tangents) std::printf("a layer's tangents in parts are others, %s\n", isa), std::exit(1);
}

}  // namespace

#include "check_gated.hpp"
#include "check_nade.hpp"
#include "check_rates.hpp"

namespace {

template <class Real>
void check_all(const Kernels<Real>& kernels, const char* isa) {
  const Index streams[] = {1, 2, 3, 5, 8, 9, 17, 33}, widths[] = {1, 2, 7, 15, 16, 17, 31, 33, 48, 65, 100, 129, 300};
  int turn = 0;
  for (const Index b : streams)
    for (const Index h : widths) {
      const Shape shape{turn % 4 + 1, b, h};
      const int threads = turn % 3 + 1;
      const Problem<Real> p(shape, turn & 1, turn & 2);
      check_forward(p, kernels, isa, static_cast<Nonlinearity>(turn % 4), threads);
      check_adjoint(p, kernels, isa, turn % 3 == 0, threads);
      check_tangent(p, kernels, isa, threads);
      check_layer(p, kernels, isa, h % 90 + 1, turn % 5 ? 0.05 : 0.5, turn & 1, threads);
      check_nade(kernels, isa, b, h % 90 + 1, h, threads);
      check_rates(p, kernels, isa, turn, threads);
      if (h <= 129) check_gated(kernels, isa, turn % 2 ? Cell::lstm : Cell::gru, shape, turn & 2, threads);
      ++turn;
    }
  // one stream on one thread: most of W's gradient is made while the adjoint scan runs
  for (const Shape& shape : {Shape{40, 1, 32}, Shape{41, 1, 100}, Shape{99, 1, 48}, Shape{280, 1, 272}, Shape{60, 1, 600}})
    for (const bool starting : {false, true})
      check_layer(Problem<Real>(shape, true, starting), kernels, isa, 20, 0.05, true, 1);
  for (const Cell cell : {Cell::gru, Cell::lstm})
    for (const int threads : {1, 2, 3}) {
      check_gated(kernels, isa, cell, {4, 1, 300}, true, threads);
      check_gated(kernels, isa, cell, {70, 9, 33}, true, threads);  // more frames than one chunk of the gradients
    }
  // more frames than one chunk of the weight gradients, in one part and in each of two
  for (const Shape& shape : {Shape{150, 2, 33}, Shape{70, 9, 33}, Shape{45, 14, 80}}) {
    const Problem<Real> many(shape, true, true);
    for (const int threads : {1, 3, 4, 6}) {  // six on 14 streams: two threads share rows of both parts
      check_forward(many, kernels, isa, Nonlinearity::tanh, threads);
      check_adjoint(many, kernels, isa, threads == 6, threads);
      check_tangent(many, kernels, isa, threads);
      check_layer(many, kernels, isa, 40, 0.05, true, threads);
      check_layer(many, kernels, isa, 40, 0.5, false, threads);
      for (int way = 0; way < 32; ++way) check_rates(many, kernels, isa, way, threads);
    }
  }
}

void check(const KernelTable& table, const char* isa) {
  check_all(table.float32, isa);
  check_all(table.float64, isa);
  std::printf("%s: right\n", isa);
}

}  // namespace

int main() {
  find_thread_pool();
  std::printf("threads from %s\n", thread_pool_path());
  check(baseline::table, "baseline");
#if defined(OSTINATO_X86_64)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) check(avx2::table, "avx2");
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512bw"))
    check(avx512::table, "avx512");
#endif
  return 0;
}
