// The kernels of rate networks against plain loops; included by check_kernels.cpp, whose helpers it uses.
#pragma once

#include <cstdint>

namespace {

// One number of the noise, as native/simd/noise.hpp says.
double plain_noise(std::uint64_t key, Index step, Index row, Index column) {
  std::uint32_t k = static_cast<std::uint32_t>(key), l = static_cast<std::uint32_t>(key >> 32);
  const Index block = column / 64, word = column % 64 / 16, lane = column % 16;
  std::uint32_t x[4] = {static_cast<std::uint32_t>(16 * block + lane), static_cast<std::uint32_t>(row),
                        static_cast<std::uint32_t>(step), 0};
  for (int i = 0; i < 10; ++i, k += 0x9E3779B9u, l += 0xBB67AE85u) {
    const std::uint64_t p = std::uint64_t{0xD2511F53u} * x[0], q = std::uint64_t{0xCD9E8D57u} * x[2];
    const std::uint32_t next[4] = {static_cast<std::uint32_t>(q >> 32) ^ x[1] ^ k, static_cast<std::uint32_t>(q),
                                   static_cast<std::uint32_t>(p >> 32) ^ x[3] ^ l, static_cast<std::uint32_t>(p)};
    for (int w = 0; w < 4; ++w) x[w] = next[w];
  }
  const Index first = word / 2 * 2;
  const double r = std::sqrt(-2 * std::log((static_cast<double>(x[first] >> 1) + 0.5) / 2147483648.0));
  const double a = 2 * 3.14159265358979323846 / 4294967296.0 * static_cast<double>(x[first + 1]);
  return word % 2 ? r * std::sin(a) : r * std::cos(a);
}

// How far single precision's smallest radii are off: the root of a difference.
template <class Real>
void expect_noise(const char* isa, const Shape& s, const std::vector<Real>& found, std::uint64_t key) {
  for (Index t = 0; t < s.steps; ++t)
    for (Index b = 0; b < s.streams; ++b)
      for (Index j = 0; j < s.hidden; ++j) {
        const double expected = plain_noise(key, t, b, j);
        const double off = std::fabs(static_cast<double>(found[static_cast<size_t>((t * s.streams + b) * s.hidden + j)]) - expected);
        if (off <= (sizeof(Real) == 4 ? 3e-4 : 1e-13) * (1 + std::fabs(expected))) continue;
        std::printf("noise, %s, %zu bytes: off by %g\n", isa, sizeof(Real), off);
        std::exit(1);
      }
}

// A layer as plain loops make it: states and rates, and for the way back the slopes.
struct PlainRates {
  std::vector<double> states, rates, slopes;
};

template <class Real>
PlainRates plain_rates(const Problem<Real>& p, const std::vector<double>& drive, const std::vector<double>& push,
                       const std::vector<Real>& r0, Nonlinearity f, bool feeds_back) {
  PlainRates made{std::vector<double>(p.in.size()), std::vector<double>(p.in.size()), std::vector<double>(p.in.size())};
  for (Index t = 0; t < p.s.steps; ++t)
    for (Index b = 0; b < p.s.streams; ++b)
      for (Index j = 0; j < p.s.hidden; ++j) {
        const size_t i = p.at(t, b, j);
        double sum = 0, h = 0;
        if (!p.starts_at(t, b)) {
          for (Index k = 0; k < p.s.hidden; ++k)
            sum += p.w(j, k) * (t ? made.rates[p.at(t - 1, b, k)] : static_cast<double>(r0[p.at(0, b, k)]));
          h = t ? made.states[p.at(t - 1, b, j)] : static_cast<double>(p.h0[p.at(0, b, j)]);
        }
        if (feeds_back) {
          made.states[i] = p.a(j) * h + sum + drive[i];
          made.rates[i] = value_of(f, made.states[i]);
          made.slopes[i] = slope_of(f, made.rates[i]);
        } else {
          const double value = value_of(f, sum + drive[i]);
          made.states[i] = made.rates[i] = p.a(j) * h + (1 - p.a(j)) * value + push[i];
          made.slopes[i] = (1 - p.a(j)) * slope_of(f, value);
        }
      }
  return made;
}

template <class Real>
void check_fed_back_adjoint(const Problem<Real>& p, const Kernels<Real>& kernels, const char* isa, int threads) {
  std::vector<double> total(p.in.size()), carried(p.h0.size());
  const std::vector<Real> force = normal<Real>(p.size), rates = normal<Real>(p.size), x = normal<Real>(p.s.steps * p.s.streams * 3);
  const Index hidden = p.s.hidden;
  std::vector<double> hh(p.weight.size()), ih(static_cast<size_t>(hidden * 3)), bias(static_cast<size_t>(hidden));
  std::vector<Real> found(p.in.size());
  for (const bool forced : {true, false}) {
    carried.assign(carried.size(), 0);
    for (Index t = p.s.steps - 1; t >= 0; --t)
      for (Index b = 0; b < p.s.streams; ++b) {
        for (Index j = 0; j < hidden; ++j) {  // `carried` is g_{t+1}, zero where its sequence starts
          double sum = 0;
          for (Index k = 0; k < hidden; ++k) sum += carried[p.at(0, b, k)] * p.w(k, j);
          const size_t i = p.at(t, b, j);
          total[i] = static_cast<double>(p.slopes[i]) * (static_cast<double>(p.in[i]) + sum) +
                     p.a(j) * carried[p.at(0, b, j)] + (forced ? static_cast<double>(force[i]) : 0.0);
        }
        for (Index j = 0; j < hidden; ++j) carried[p.at(0, b, j)] = p.starts_at(t, b) ? 0 : total[p.at(t, b, j)];
      }
    const FedBackAdjointArgs<Real> args{p.s, p.in.data(), forced ? force.data() : nullptr, p.slopes.data(),
                                        p.weight.data(), p.leak.data(), p.starting ? p.starts.data() : nullptr,
                                        found.data(), threads};
    kernels.fed_back_adjoint(args);
    expect_close("adjoint of rates fed back", isa, p.s, found, total);
  }
  for (Index t = 0; t < p.s.steps; ++t)
    for (Index b = 0; b < p.s.streams; ++b)
      for (Index j = 0; j < hidden; ++j) {
        const double g = found[p.at(t, b, j)];  // proved right
        bias[static_cast<size_t>(j)] += g;
        for (Index k = 0; k < hidden && !p.starts_at(t, b); ++k)
          hh[static_cast<size_t>(j * hidden + k)] += g * (t ? rates[p.at(t - 1, b, k)] : p.h0[p.at(0, b, k)]);
        for (Index i = 0; i < 3; ++i)
          ih[static_cast<size_t>(j * 3 + i)] += g * static_cast<double>(x[static_cast<size_t>((t * p.s.streams + b) * 3 + i)]);
      }
  const std::vector<Real> slopes = p.in_parts(p.slopes);
  const unsigned char* starts = p.starting ? p.starts.data() : nullptr;
  std::vector<Real> parts(p.in.size()), copy(p.in.size()), first(p.h0.size()), found_hh(hh.size()), found_ih(ih.size());
  std::vector<Real> found_bias(bias.size()), second(bias.size());
  // sums may cancel: their errors are beside the sum of what they are made of
  double size = 0;
  for (const Real g : found) size += std::fabs(static_cast<double>(g)) / static_cast<double>(hidden);
  const bool keep = threads % 2;
  const FedBackAdjointArgs<Real> scan{p.s, p.in.data(), nullptr, slopes.data(), p.weight.data(), p.leak.data(), starts,
                                      keep ? copy.data() : nullptr, threads, true, parts.data(), first.data()};
  const AdjointArgs<Real> place{p.s, nullptr, nullptr, nullptr, nullptr, starts, nullptr, nullptr, nullptr, threads,
                                true, parts.data()};
  kernels.fed_back_backward({scan, {place, rates.data(), p.h0.data(), {3, nullptr, x.data()}, false, found_hh.data(),
                                    found_ih.data(), found_bias.data(), second.data(), true}});
  // of what is in parts no more steps may be left than the sums took at once
  if (keep) expect_close("adjoint once more", isa, p.s, copy, total);
  expect_close("adjoint of the first step", isa, p.s, first,
               std::vector<double>(total.begin(), total.begin() + static_cast<Index>(first.size())));
  for (std::vector<double>* sums : {&hh, &ih, &bias}) sums->push_back(size);
  for (std::vector<Real>* sums : {&found_hh, &found_ih, &found_bias, &second}) sums->push_back(static_cast<Real>(size));
  expect_close("gradient of W of rates fed back", isa, p.s, found_hh, hh);
  expect_close("gradient of U of rates fed back", isa, p.s, found_ih, ih);
  expect_close("gradient of b of rates fed back", isa, p.s, found_bias, bias);
  expect_close("gradient of b2 of rates fed back", isa, p.s, second, bias);
}

// Every way a layer can be asked for: its drive given or made, noise given, drawn or none, in the drive or at the state.
template <class Real>
void check_rate_layer(const Problem<Real>& p, const Kernels<Real>& kernels, const char* isa, Nonlinearity f, int way,
                      int threads) {
  const bool feeds_back = way % 2, driven = way / 2 % 2, drawn = way / 4 % 2, at_state = !feeds_back && way / 8 % 2;
  const Index inputs = 3, hidden = p.s.hidden, frames = p.s.steps * p.s.streams;
  const std::uint64_t key = 0x9E3779B97F4A7C15u + static_cast<std::uint64_t>(way);
  std::vector<Real> drawn_noise(p.in.size());
  kernels.noise({p.s, key, drawn_noise.data(), threads});
  expect_noise(isa, p.s, drawn_noise, key);
  const auto x = normal<Real>(frames * inputs), weight = normal<Real>(hidden * inputs);
  const auto bias = normal<Real>(hidden), second = normal<Real>(hidden), scale = normal<Real>(hidden);
  const auto given = drawn ? drawn_noise : normal<Real>(p.size);
  std::vector<double> drive(p.in.size()), push(p.in.size());
  for (Index n = 0; n < frames; ++n)
    for (Index j = 0; j < hidden; ++j) {
      const auto h = static_cast<size_t>(j), i = static_cast<size_t>(n * hidden + j);
      double sum = static_cast<double>(bias[h]) + static_cast<double>(second[h]);
      for (Index v = 0; v < inputs; ++v)
        sum += static_cast<double>(weight[static_cast<size_t>(j * inputs + v)]) *
               static_cast<double>(x[static_cast<size_t>(n * inputs + v)]);
      const double noise = static_cast<double>(scale[h]) * static_cast<double>(given[i]);
      drive[i] = (driven ? static_cast<double>(p.in[i]) : sum) + (at_state ? 0 : noise);
      push[i] = at_state ? noise : 0;
    }
  const std::vector<Real> r0 = feeds_back ? normal<Real>(p.frame) : p.h0;
  const PlainRates expected = plain_rates(p, drive, push, r0, f, feeds_back);
  std::vector<Real> rates(p.in.size()), slopes(p.in.size()), last(p.h0.size());
  if (driven && way / 16 % 2) rates = p.in;  // in place
  const Real* place = !driven ? nullptr : way / 16 % 2 ? rates.data() : p.in.data();
  const ForwardArgs<Real> scan{p.s, place, p.weight.data(), p.leaky || feeds_back ? p.leak.data() : nullptr,
                               p.h0.data(), p.starting ? p.starts.data() : nullptr, rates.data(), slopes.data(), f,
                               threads, true};
  kernels.rate_forward({scan, inputs, x.data(), weight.data(), bias.data(), second.data(),
                        {scale.data(), drawn ? nullptr : given.data(), key, at_state},
                        feeds_back ? r0.data() : nullptr, last.data()});
  expect_close("rates of a layer", isa, p.s, rates, expected.rates);
  if (f != Nonlinearity::relu) expect_close("slopes of a layer of rates", isa, p.s, p.by_step(slopes), expected.slopes);
  if (feeds_back)
    expect_close("last states of a layer of rates", isa, p.s, last,
                 std::vector<double>(expected.states.end() - static_cast<Index>(last.size()), expected.states.end()));
}

// The scans by themselves: with a push, and of rates that are fed back.
template <class Real>
void check_rate_scans(const Problem<Real>& p, const Kernels<Real>& kernels, const char* isa, Nonlinearity f,
                      int threads) {
  const std::vector<double> drive(p.in.begin(), p.in.end()), zeros(p.in.size());
  const std::vector<Real> push = normal<Real>(p.size), r0 = normal<Real>(p.frame);
  const unsigned char* starts = p.starting ? p.starts.data() : nullptr;
  const Real* leak = p.leaky ? p.leak.data() : nullptr;
  std::vector<Real> states(p.in.size()), rates(p.in.size()), slopes(p.in.size());
  const PlainRates pushed = plain_rates(p, drive, std::vector<double>(push.begin(), push.end()), p.h0, f, false);
  kernels.forward({p.s, p.in.data(), p.weight.data(), leak, p.h0.data(), starts, states.data(), slopes.data(), f,
                   threads, false, 0, push.data()});
  expect_close("states with a push", isa, p.s, states, pushed.states);
  if (f != Nonlinearity::relu) expect_close("slopes with a push", isa, p.s, slopes, pushed.slopes);
  if (!p.leaky) return;
  const PlainRates fed = plain_rates(p, drive, zeros, r0, f, true);
  kernels.fed_back({p.s, p.in.data(), p.weight.data(), leak, p.h0.data(), r0.data(), starts, rates.data(),
                    states.data(), slopes.data(), f, 0, threads});
  expect_close("rates fed back", isa, p.s, rates, fed.rates);
  expect_close("states of rates fed back", isa, p.s, states, fed.states);
  if (f != Nonlinearity::relu) expect_close("slopes of rates fed back", isa, p.s, slopes, fed.slopes);
}

template <class Real>
void check_rates(const Problem<Real>& p, const Kernels<Real>& kernels, const char* isa, int turn, int threads) {
  const auto f = static_cast<Nonlinearity>(turn % 4);
  check_rate_scans(p, kernels, isa, f, threads);
  check_fed_back_adjoint(Problem<Real>(p.s, true, p.starting), kernels, isa, threads);
  const Problem<Real> leaky(p.s, turn % 2 ? true : p.leaky, p.starting);
  check_rate_layer(leaky, kernels, isa, f, turn, threads);
}

}  // namespace
