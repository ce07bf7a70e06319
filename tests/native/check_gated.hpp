// The scans of cells with gates against plain loops; included by check_kernels.cpp, whose helpers it uses.
#pragma once

namespace {

// One problem: arrays of both types, and where each number is.
template <class Real>
struct GatedProblem {
  Cell cell;
  Shape s;
  bool lstm, starting;
  Index gates, saved, coefficients;
  Index frame = s.streams * s.hidden, size = s.steps * frame;
  std::vector<Real> drive, weight, bias, leak, h0, c0, grad, grad_c;
  std::vector<unsigned char> starts;

  GatedProblem(Cell cell, const Shape& s, bool starting)
      : cell(cell), s(s), lstm(cell == Cell::lstm), starting(starting), gates(lstm ? 4 : 3), saved(lstm ? 5 : 4),
        coefficients(lstm ? 6 : 5), drive(normal<Real>(gates * size)),
        weight(normal<Real>(gates * s.hidden * s.hidden, 1 / std::sqrt(static_cast<double>(s.hidden)))),
        bias(normal<Real>(gates * s.hidden)), leak(normal<Real>(s.hidden, 0.3)), h0(normal<Real>(frame)),
        c0(normal<Real>(frame)), grad(normal<Real>(size)), grad_c(normal<Real>(size)),
        starts(flags(s.steps * s.streams, 0.3)) {}

  bool starts_at(Index t, Index b) const { return starting && starts[static_cast<size_t>(t * s.streams + b)]; }
  const unsigned char* marks() const { return starting ? starts.data() : nullptr; }
  size_t at(Index t, Index b, Index j) const { return static_cast<size_t>((t * s.streams + b) * s.hidden + j); }
  size_t at(Index t, Index b, Index blocks, Index k, Index j) const {
    return static_cast<size_t>(((t * s.streams + b) * blocks + k) * s.hidden + j);
  }
  double w(Index k, Index j, Index i) const { return weight[static_cast<size_t>((k * s.hidden + j) * s.hidden + i)]; }

  // The state before step t: of h or c, whose first one is in `start`.
  double before(const std::vector<double>& all, const std::vector<Real>& start, Index t, Index b, Index j) const {
    if (starts_at(t, b)) return 0;
    return t ? all[at(t - 1, b, j)] : static_cast<double>(start[at(0, b, j)]);
  }
  double product(const std::vector<double>& all, const std::vector<Real>& start, Index t, Index b, Index k, Index j) const {
    double sum = 0;
    for (Index i = 0; i < s.hidden; ++i) sum += w(k, j, i) * before(all, start, t, b, i);
    return sum;
  }
};

double sigmoid_of(double z) { return 1 / (1 + std::exp(-z)); }

// The equations of both cells and their derivatives, a unit at a time.
template <class Real>
struct PlainGated {
  const GatedProblem<Real>& p;
  std::vector<double> h, c, saved, by;

  explicit PlainGated(const GatedProblem<Real>& p)
      : p(p), h(p.grad.size()), c(p.grad.size()), saved(static_cast<size_t>(p.saved * p.size)),
        by(static_cast<size_t>(p.coefficients * p.size)) {
    for (Index t = 0; t < p.s.steps; ++t)
      for (Index b = 0; b < p.s.streams; ++b)
        for (Index j = 0; j < p.s.hidden; ++j) unit(t, b, j);
  }

  void unit(Index t, Index b, Index j) {
    double u[4] = {}, x[4] = {}, *keep[5], *own[6];
    for (Index k = 0; k < p.gates; ++k) {
      u[k] = p.product(h, p.h0, t, b, k, j) + static_cast<double>(p.bias[static_cast<size_t>(k * p.s.hidden + j)]);
      x[k] = p.drive[p.at(t, b, p.gates, k, j)];
    }
    for (Index k = 0; k < p.saved; ++k) keep[k] = &saved[p.at(t, b, p.saved, k, j)];
    for (Index k = 0; k < p.coefficients; ++k) own[k] = &by[p.at(t, b, p.coefficients, k, j)];
    const double a = p.leak[static_cast<size_t>(j)], hp = p.before(h, p.h0, t, b, j), cp = p.before(c, p.c0, t, b, j);
    if (p.lstm) {
      const double i = sigmoid_of(x[0] + u[0]), f = sigmoid_of(x[1] + u[1]), g = std::tanh(x[2] + u[2]);
      const double o = sigmoid_of(x[3] + u[3]), now = a * cp + (1 - a) * (f * cp + i * g), squashed = std::tanh(now);
      c[p.at(t, b, j)] = now, h[p.at(t, b, j)] = o * squashed;
      *keep[0] = i, *keep[1] = f, *keep[2] = g, *keep[3] = o, *keep[4] = squashed;
      *own[0] = (1 - a) * g * i * (1 - i), *own[1] = (1 - a) * cp * f * (1 - f), *own[2] = (1 - a) * i * (1 - g * g);
      *own[3] = squashed * o * (1 - o), *own[4] = o * (1 - squashed * squashed), *own[5] = a + (1 - a) * f;
    } else {
      const double r = sigmoid_of(x[0] + u[0]), z = sigmoid_of(x[1] + u[1]), n = std::tanh(x[2] + r * u[2]);
      h[p.at(t, b, j)] = a * hp + (1 - a) * (z * hp + (1 - z) * n);
      *keep[0] = r, *keep[1] = z, *keep[2] = n, *keep[3] = u[2];
      *own[3] = (1 - a) * (1 - z) * (1 - n * n), *own[0] = *own[3] * u[2] * r * (1 - r);
      *own[1] = (1 - a) * (hp - n) * z * (1 - z), *own[2] = *own[3] * r, *own[4] = a + (1 - a) * z;
    }
  }
};

template <class Real>
std::vector<Real> narrow(const std::vector<double>& from) {
  return {from.begin(), from.end()};
}

// The way back, from what the forward kernel saved and from coefficients written out; and the weights' gradients.
template <class Real>
void check_gated_adjoint(const GatedProblem<Real>& p, const PlainGated<Real>& plain, const Kernels<Real>& kernels,
                         const char* isa, const std::vector<Real>& states, const std::vector<Real>& cells,
                         const std::vector<Real>& saved, int threads) {
  const Index hidden = p.s.hidden;
  std::vector<double> deltas(static_cast<size_t>(4 * p.size)), total(p.grad.size()), total_c(p.grad.size());
  std::vector<double> h(p.h0.size()), c(p.h0.size()), of_weight(p.weight.size()), of_bias(p.bias.size());
  for (Index t = p.s.steps - 1; t >= 0; --t)
    for (Index b = 0; b < p.s.streams; ++b) {
      std::vector<double> to_h(static_cast<size_t>(hidden)), of_gate(static_cast<size_t>(p.gates * hidden));
      for (Index j = 0; j < hidden; ++j) {
        const auto by = [&](Index k) { return plain.by[p.at(t, b, p.coefficients, k, j)]; };
        const auto delta = [&](Index k) -> double& { return deltas[p.at(t, b, 4, k, j)]; };
        const double g = static_cast<double>(p.grad[p.at(t, b, j)]) + h[p.at(0, b, j)];
        const double gc = p.lstm ? static_cast<double>(p.grad_c[p.at(t, b, j)]) + c[p.at(0, b, j)] + by(4) * g : 0;
        total[p.at(t, b, j)] = g, total_c[p.at(t, b, j)] = gc;
        if (p.lstm)
          delta(0) = by(0) * gc, delta(1) = by(1) * gc, delta(2) = by(2) * gc, delta(3) = by(3) * g;
        else
          delta(0) = by(2) * g, delta(1) = by(0) * g, delta(2) = by(1) * g, delta(3) = by(3) * g;
        for (Index k = 0; k < p.gates; ++k) {
          const double d = p.lstm ? delta(k) : delta(k == 2 ? 0 : k + 1);
          of_gate[static_cast<size_t>(k * hidden + j)] = d;
          of_bias[static_cast<size_t>(k * hidden + j)] += d;
          for (Index i = 0; i < hidden; ++i)
            of_weight[static_cast<size_t>((k * hidden + j) * hidden + i)] += d * p.before(plain.h, p.h0, t, b, i);
        }
        to_h[static_cast<size_t>(j)] = p.lstm ? 0 : by(4) * g;
        c[p.at(0, b, j)] = p.lstm && !p.starts_at(t, b) ? by(5) * gc : 0;
      }
      for (Index i = 0; i < hidden; ++i) {
        double sum = to_h[static_cast<size_t>(i)];
        for (Index k = 0; k < p.gates; ++k)
          for (Index j = 0; j < hidden; ++j) sum += of_gate[static_cast<size_t>(k * hidden + j)] * p.w(k, j, i);
        h[p.at(0, b, i)] = p.starts_at(t, b) ? 0 : sum;
      }
    }
  const Index inputs = p.s.hidden % 90 + 1, frames = p.s.steps * p.s.streams, rows = p.gates * hidden;
  const std::vector<Real> x = normal<Real>(frames * inputs);
  std::vector<double> of_input(static_cast<size_t>(rows * inputs)), of_input_bias(static_cast<size_t>(rows));
  for (Index n = 0; n < frames; ++n)
    for (Index r = 0; r < rows; ++r) {
      const Index block = r / hidden + (p.lstm ? 0 : 1);
      const double d = deltas[static_cast<size_t>((n * 4 + block) * hidden + r % hidden)];
      of_input_bias[static_cast<size_t>(r)] += d;
      for (Index i = 0; i < inputs; ++i)
        of_input[static_cast<size_t>(r * inputs + i)] += d * static_cast<double>(x[static_cast<size_t>(n * inputs + i)]);
    }
  const std::vector<Real> coefficients = narrow<Real>(plain.by);
  for (const bool written_out : {false, true}) {
    std::vector<Real> found(deltas.size()), found_h(total.size()), found_c(p.lstm ? total.size() : 0);
    std::vector<Real> start(p.h0.size()), start_c(p.lstm ? p.h0.size() : 0), gw(p.weight.size()), gb(p.bias.size());
    std::vector<Real> gu(of_input.size()), gub(of_input_bias.size());
    const Real* c0 = p.lstm ? p.c0.data() : nullptr;
    const LinearizedArgs<Real> given{nullptr, saved.data(), states.data(), p.lstm ? cells.data() : nullptr, p.h0.data(), c0,
                                     p.leak.data()};
    const LinearizedArgs<Real> written{coefficients.data(), nullptr, nullptr, nullptr, nullptr, nullptr, nullptr};
    kernels.gated_adjoint({p.cell, p.s, written_out ? written : given, p.grad.data(), p.lstm ? p.grad_c.data() : nullptr,
                           p.weight.data(), p.marks(), found.data(), written_out ? found_h.data() : nullptr,
                           written_out && p.lstm ? found_c.data() : nullptr, start.data(),
                           p.lstm ? start_c.data() : nullptr, written_out ? nullptr : gw.data(),
                           written_out ? nullptr : gb.data(), written_out ? nullptr : x.data(), inputs,
                           written_out ? nullptr : gu.data(), written_out ? nullptr : gub.data(), threads});
    expect_close("deltas of gates", isa, p.s, found, deltas);
    expect_close("gradient of h0 through gates", isa, p.s, start, h);
    if (p.lstm) expect_close("gradient of c0", isa, p.s, start_c, c);
    if (written_out) {
      expect_close("total of h", isa, p.s, found_h, total);
      if (p.lstm) expect_close("total of c", isa, p.s, found_c, total_c);
    } else {
      expect_close("gradient of the gates' weights", isa, p.s, gw, of_weight);
      expect_close("gradient of the gates' biases", isa, p.s, gb, of_bias);
      expect_close("gradient of the input's weights", isa, p.s, gu, of_input);
      expect_close("gradient of the input's biases", isa, p.s, gub, of_input_bias);
    }
  }
}

template <class Real>
void check_gated_tangent(const GatedProblem<Real>& p, const PlainGated<Real>& plain, const Kernels<Real>& kernels,
                         const char* isa, int threads) {
  std::vector<double> h(p.grad.size()), c(p.grad.size());
  for (Index t = 0; t < p.s.steps; ++t)
    for (Index b = 0; b < p.s.streams; ++b)
      for (Index j = 0; j < p.s.hidden; ++j) {
        const auto by = [&](Index k) { return plain.by[p.at(t, b, p.coefficients, k, j)]; };
        double u[4] = {};
        for (Index k = 0; k < p.gates; ++k) u[k] = p.product(h, p.h0, t, b, k, j);
        double& now = h[p.at(t, b, j)];
        now = p.grad[p.at(t, b, j)];
        if (p.lstm) {
          const double cp = p.before(c, p.c0, t, b, j);
          const double next = static_cast<double>(p.grad_c[p.at(t, b, j)]) + by(5) * cp + by(0) * u[0] + by(1) * u[1] + by(2) * u[2];
          c[p.at(t, b, j)] = next;
          now += by(4) * next + by(3) * u[3];
        } else {
          now += by(4) * p.before(h, p.h0, t, b, j) + by(0) * u[0] + by(1) * u[1] + by(2) * u[2];
        }
      }
  const std::vector<Real> coefficients = narrow<Real>(plain.by);
  std::vector<Real> found(p.grad.size()), found_c(p.lstm ? p.grad.size() : 0);
  const auto only_lstm = [&](auto* pointer) { return p.lstm ? pointer : nullptr; };
  kernels.gated_tangent({p.cell, p.s, coefficients.data(), p.grad.data(), only_lstm(p.grad_c.data()), p.weight.data(),
                         p.h0.data(), only_lstm(p.c0.data()), p.marks(), found.data(), only_lstm(found_c.data()), threads});
  expect_close("tangents of gates", isa, p.s, found, h);
  if (p.lstm) expect_close("tangents of c", isa, p.s, found_c, c);
}

template <class Real>
void check_project(const Kernels<Real>& kernels, const char* isa, Index frames, Index inputs, Index outputs, int threads) {
  const std::vector<Real> x = normal<Real>(frames * inputs), u = normal<Real>(outputs * inputs), b = normal<Real>(outputs);
  std::vector<double> expected(static_cast<size_t>(frames * outputs));
  for (Index n = 0; n < frames; ++n)
    for (Index r = 0; r < outputs; ++r) {
      double& sum = expected[static_cast<size_t>(n * outputs + r)];
      sum = 2 * static_cast<double>(b[static_cast<size_t>(r)]);
      for (Index i = 0; i < inputs; ++i)
        sum += static_cast<double>(x[static_cast<size_t>(n * inputs + i)]) * static_cast<double>(u[static_cast<size_t>(r * inputs + i)]);
    }
  std::vector<Real> found(expected.size());
  kernels.project({frames, inputs, outputs, x.data(), u.data(), b.data(), b.data(), found.data(), threads});
  expect_close("projection", isa, {frames, inputs, outputs}, found, expected);
}

template <class Real>
void check_gated(const Kernels<Real>& kernels, const char* isa, Cell cell, const Shape& shape, bool starting, int threads) {
  const GatedProblem<Real> p(cell, shape, starting);
  const PlainGated<Real> plain(p);
  std::vector<Real> states(p.grad.size()), cells(p.lstm ? p.grad.size() : 0), saved(plain.saved.size());
  for (const bool keep : {false, true}) {
    kernels.gated_forward({p.cell, p.s, p.drive.data(), p.weight.data(), p.bias.data(), p.leak.data(), p.h0.data(),
                           p.lstm ? p.c0.data() : nullptr, p.marks(), states.data(), p.lstm ? cells.data() : nullptr,
                           keep ? saved.data() : nullptr, threads});
    expect_close("states of gates", isa, p.s, states, plain.h);
  }
  if (p.lstm) expect_close("cells", isa, p.s, cells, plain.c);
  expect_close("what is saved", isa, p.s, saved, plain.saved);
  check_gated_adjoint(p, plain, kernels, isa, states, cells, saved, threads);
  check_gated_tangent(p, plain, kernels, isa, threads);
  check_project(kernels, isa, shape.steps * shape.streams, shape.hidden % 90 + 1, 3 * shape.hidden, threads);
}

}  // namespace
