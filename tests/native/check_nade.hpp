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

// J' diag(variance) J of one frame's logits applied to a change of biases (V + J), encoder and decoder (V, J); what it
// makes of the weights is added to `encoder_out` and `decoder_out`.
struct PlainCurvature {
  Index visible, hidden;
  const std::vector<double>&encoder, &decoder, &change_encoder, &change_decoder;
  std::vector<double> encoder_out, decoder_out;

  size_t at(Index i, Index j) const { return static_cast<size_t>(i * hidden + j); }

  std::vector<double> run(const unsigned char* v, const std::vector<double>& biases, const std::vector<double>& change,
                          const double* variance) {
    std::vector<double> out(biases.size(), 0.0);
    for (Index i = 0; i < visible; ++i) {  // note by note: dz_i, and what variance_i dz_i passes back
      double dz = change[static_cast<size_t>(i)];
      std::vector<double> h(static_cast<size_t>(hidden));
      for (Index j = 0; j < hidden; ++j) {
        double a = biases[static_cast<size_t>(visible + j)], da = change[static_cast<size_t>(visible + j)];
        for (Index k = 0; k < i; ++k)
          if (v[k]) a += encoder[at(k, j)], da += change_encoder[at(k, j)];
        h[static_cast<size_t>(j)] = 1 / (1 + std::exp(-a));
        const double slope = h[static_cast<size_t>(j)] * (1 - h[static_cast<size_t>(j)]);
        dz += change_decoder[at(i, j)] * h[static_cast<size_t>(j)] + decoder[at(i, j)] * slope * da;
      }
      const double curved = variance[i] * dz;
      out[static_cast<size_t>(i)] = curved;
      for (Index j = 0; j < hidden; ++j) {
        const double value = h[static_cast<size_t>(j)], pull = curved * decoder[at(i, j)] * value * (1 - value);
        decoder_out[at(i, j)] += curved * value;
        out[static_cast<size_t>(visible + j)] += pull;
        for (Index k = 0; k < i; ++k)
          if (v[k]) encoder_out[at(k, j)] += pull;
      }
    }
    return out;
  }
};

template <class Real>
std::vector<double> doubled(const std::vector<Real>& x, Index begin, Index end) {
  return std::vector<double>(x.begin() + begin, x.begin() + end);
}

template <class Real>
void check_nade_curvature(const Kernels<Real>& kernels, const char* isa, const NadeArgs<Real>& at) {
  const Index width = at.visible + at.hidden, weights = at.visible * at.hidden;
  const auto all = [](const Real* from, Index count) { return std::vector<double>(from, from + count); };
  auto variance = normal<Real>(at.frames * at.visible);
  const auto biases = normal<Real>(at.frames * width), by_encoder = normal<Real>(weights), by_decoder = normal<Real>(weights);
  const auto encoder = all(at.encoder, weights), decoder = all(at.decoder, weights);
  const auto change_encoder = doubled(by_encoder, 0, weights), change_decoder = doubled(by_decoder, 0, weights);
  PlainCurvature plain{at.visible, at.hidden, encoder, decoder, change_encoder, change_decoder,
                       std::vector<double>(static_cast<size_t>(weights)), std::vector<double>(static_cast<size_t>(weights))};
  std::vector<double> expected;
  for (Index n = 0; n < at.frames; ++n) {
    const auto own = doubled(variance, n * at.visible, (n + 1) * at.visible);
    const auto made = plain.run(at.v + n * at.visible, all(at.biases + n * width, width),
                                doubled(biases, n * width, (n + 1) * width), own.data());
    expected.insert(expected.end(), made.begin(), made.end());
  }
  kernels.nade_curvature({at, variance.data(), biases.data(), by_encoder.data(), by_decoder.data()});
  const Shape shape{at.frames, at.visible, at.hidden};
  const auto found = [](const Real* from, Index count) { return std::vector<Real>(from, from + count); };
  expect_close("NADE's curvature, biases", isa, shape, found(at.grad_biases, at.frames * width), expected);
  expect_close("NADE's curvature, encoder", isa, shape, found(at.grad_encoder, weights), plain.encoder_out);
  expect_close("NADE's curvature, decoder", isa, shape, found(at.grad_decoder, weights), plain.decoder_out);
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

  check_nade_curvature(kernels, isa, {frames, visible, hidden, v.data(), biases.data(), encoder.data(), decoder.data(),
                                      nullptr, nullptr, by_bias.data(), by_encoder.data(), by_decoder.data(), threads});

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
