// NADE's kernels against plain loops; included by check_kernels.cpp, whose helpers it uses.
#pragma once

namespace {

// One frame: log p and, added to the sums, the gradients of -weight log p.
struct PlainNade {
  Index visible, hidden;
  std::vector<double> biases, encoder, decoder;  // of one frame (V + J), (V, J), (V, J)
  std::vector<double> grad_biases, grad_encoder, grad_decoder;

  double run(const unsigned char* v, double weight) {
    const auto at = [&](Index i, Index j) { return static_cast<size_t>(i * hidden + j); };
    std::vector<double> a(biases.begin() + visible, biases.end()), pull(static_cast<size_t>(hidden), 0.0);
    std::vector<std::vector<double>> before;
    double log_prob = 0;
    grad_biases.assign(biases.size(), 0.0);
    for (Index i = 0; i < visible; ++i) {
      std::vector<double> h(static_cast<size_t>(hidden));
      double z = biases[static_cast<size_t>(i)];
      for (Index j = 0; j < hidden; ++j) {
        h[static_cast<size_t>(j)] = 1 / (1 + std::exp(-a[static_cast<size_t>(j)]));
        z += decoder[at(i, j)] * h[static_cast<size_t>(j)];
        if (v[i]) a[static_cast<size_t>(j)] += encoder[at(i, j)];
      }
      log_prob += (v[i] ? z : 0) - std::fmax(z, 0.0) - std::log1p(std::exp(-std::fabs(z)));
      grad_biases[static_cast<size_t>(i)] = weight * (1 / (1 + std::exp(-z)) - (v[i] ? 1 : 0));
      before.push_back(h);
    }
    for (Index i = visible - 1; i >= 0; --i)
      for (Index j = 0; j < hidden; ++j) {
        const double h = before[static_cast<size_t>(i)][static_cast<size_t>(j)];
        const double slope = grad_biases[static_cast<size_t>(i)];
        if (v[i]) grad_encoder[at(i, j)] += pull[static_cast<size_t>(j)];
        grad_decoder[at(i, j)] += slope * h;
        pull[static_cast<size_t>(j)] += slope * decoder[at(i, j)] * h * (1 - h);
      }
    for (Index j = 0; j < hidden; ++j) grad_biases[static_cast<size_t>(visible + j)] = pull[static_cast<size_t>(j)];
    return log_prob;
  }
};

template <class Real>
std::vector<double> doubled(const std::vector<Real>& x, Index begin, Index end) {
  return std::vector<double>(x.begin() + begin, x.begin() + end);
}

template <class Real>
void check_nade(const Kernels<Real>& kernels, const char* isa, Index frames, Index visible, Index hidden, int threads) {
  const Shape shape{frames, visible, hidden};
  const Index width = visible + hidden, weights = visible * hidden;
  const auto v = flags(frames * visible, 0.2), fixed = flags(frames * visible, 0.5);
  const auto biases = normal<Real>(frames * width), weight = normal<Real>(frames);
  const auto encoder = normal<Real>(weights, 0.3), decoder = normal<Real>(weights, 0.3);
  PlainNade plain{visible, hidden, {}, doubled(encoder, 0, weights), doubled(decoder, 0, weights), {}, {}, {}};
  plain.grad_encoder.assign(static_cast<size_t>(weights), 0.0);
  plain.grad_decoder.assign(static_cast<size_t>(weights), 0.0);
  std::vector<double> log_prob, grad_biases;
  for (Index n = 0; n < frames; ++n) {
    plain.biases = doubled(biases, n * width, (n + 1) * width);
    log_prob.push_back(plain.run(v.data() + n * visible, static_cast<double>(weight[static_cast<size_t>(n)])));
    grad_biases.insert(grad_biases.end(), plain.grad_biases.begin(), plain.grad_biases.end());
  }
  std::vector<Real> found(static_cast<size_t>(frames)), by_bias(static_cast<size_t>(frames * width));
  std::vector<Real> by_encoder(static_cast<size_t>(weights)), by_decoder(static_cast<size_t>(weights));
  kernels.nade({frames, visible, hidden, v.data(), biases.data(), encoder.data(), decoder.data(), weight.data(),
                found.data(), by_bias.data(), by_encoder.data(), by_decoder.data(), threads});
  expect_close("NADE's log p", isa, shape, found, log_prob);
  expect_close("NADE's bias gradient", isa, shape, by_bias, grad_biases);
  expect_close("NADE's encoder gradient", isa, shape, by_encoder, plain.grad_encoder);
  expect_close("NADE's decoder gradient", isa, shape, by_decoder, plain.grad_decoder);

  // With every note fixed, the weight of a sample is the log-probability of its frame.
  const std::vector<unsigned char> all(v.size(), 1);
  const std::vector<Real> uniform(v.size(), Real(0.5));
  std::vector<unsigned char> drawn = v;
  std::vector<Real> log_weight(static_cast<size_t>(frames)), conditional(v.size());
  kernels.nade_sample({frames, visible, hidden, biases.data(), encoder.data(), decoder.data(), uniform.data(),
                       all.data(), drawn.data(), log_weight.data(), conditional.data(), threads});
  expect_close("NADE's weights", isa, shape, log_weight, log_prob);
  kernels.nade_sample({frames, visible, hidden, biases.data(), encoder.data(), decoder.data(), uniform.data(),
                       fixed.data(), drawn.data(), log_weight.data(), nullptr, threads});
  for (size_t i = 0; i < drawn.size(); ++i)
    if (drawn[i] > 1 || (fixed[i] && drawn[i] != v[i])) {
      std::printf("NADE's samples, %s: note %zu is %d\n", isa, i, drawn[i]);
      std::exit(1);
    }
}

}  // namespace
