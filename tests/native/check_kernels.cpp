// Runs every kernel of every instruction set this machine has over odd shapes and compares with plain loops.
// Built with AddressSanitizer and UBSan (cmake -DOSTINATO_SANITIZE=ON); every array is a heap block of its own, so
// that one element too far is seen. Exits with 1 at the first difference.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "kernels.hpp"
#include "team.hpp"

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

template <class Real>
void check_binary(const Kernels<Real>& kernels, const char* isa, Index frames, Index inputs, Index hidden, int threads) {
  const auto x = flags(frames * inputs, 0.1);
  const auto weight = normal<Real>(hidden * inputs), bias = normal<Real>(hidden), grad = normal<Real>(frames * hidden);
  std::vector<double> product(static_cast<size_t>(frames * hidden)), gradient(static_cast<size_t>(hidden * inputs));
  for (Index n = 0; n < frames; ++n)
    for (Index h = 0; h < hidden; ++h) {
      const size_t out = static_cast<size_t>(n * hidden + h);
      product[out] = static_cast<double>(bias[static_cast<size_t>(h)]);
      for (Index v = 0; v < inputs; ++v)
        if (x[static_cast<size_t>(n * inputs + v)]) {
          product[out] += static_cast<double>(weight[static_cast<size_t>(h * inputs + v)]);
          gradient[static_cast<size_t>(h * inputs + v)] += static_cast<double>(grad[out]);
        }
    }
  std::vector<Real> found(product.size()), found_gradient(gradient.size());
  const Shape shape{frames, inputs, hidden};
  kernels.binary_linear({frames, inputs, hidden, x.data(), weight.data(), bias.data(), found.data(), threads});
  kernels.binary_weight_grad({frames, inputs, hidden, x.data(), grad.data(), found_gradient.data(), threads});
  expect_close("binary product", isa, shape, found, product);
  expect_close("binary gradient", isa, shape, found_gradient, gradient);
}

}  // namespace

#include "check_nade.hpp"

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
      check_binary(kernels, isa, b, h % 90, h, threads);
      check_nade(kernels, isa, b, h % 90 + 1, h, threads);
      ++turn;
    }
}

void check(const KernelTable& table, const char* isa) {
  check_all(table.single, isa);
  check_all(table.twice, isa);
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
