"""Gaussians and mixtures of them against torch.distributions, quadrature, autograd and explicit matrices."""

import itertools
import math

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, MultivariateNormal, Normal
from torch.distributions.kl import kl_divergence
from torch.func import functional_call

from ostinato.nn import RNN, SequenceModel
from ostinato.nn.curvature.gauss_newton import GaussNewton
from ostinato.nn.outputs import Gaussian, GaussianMixture, MixtureOfGaussians, MultivariateGaussian
from ostinato.nn.outputs.normal import NormalMap, observed_factor

N, H, D, K = 7, 4, 3, 3
KINDS = [*itertools.product(("gaussian", "mixture"), ("full", "diagonal")), ("gaussian", "unit")]
DOUBLE = torch.float64
# Bounds that are felt: with the layers' own, tanh is nearly the identity.
TIGHT = (0.3, 2.0)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def layer(kind: str, covariance: str, size: int = D, seed: int = 1, **settings) -> Gaussian | GaussianMixture:
    settings = {"generator": seeded(seed), "dtype": DOUBLE} | settings
    if kind == "gaussian":
        return Gaussian(H, size, covariance, **settings)
    return GaussianMixture(H, size, K, covariance, **settings)


def states(steps: int = N, seed: int = 2) -> Tensor:
    return torch.randn(steps, H, generator=seeded(seed), dtype=DOUBLE)


def observations(steps: int = N, size: int = D, *, missing: bool = True) -> Tensor:
    values = torch.randn(steps, size, generator=seeded(3), dtype=DOUBLE)
    if missing:
        values[1, 0] = values[2, 1:] = values[4] = values[5, -1] = math.nan
    return values


def reference(distribution: MultivariateGaussian | MixtureOfGaussians, seen: Tensor | None = None):
    """The same distribution of the values that `seen` chooses, by torch."""
    chosen = torch.arange(distribution.event_shape[0]) if seen is None else seen
    loc, scale = distribution.loc[..., chosen], distribution.scale
    if scale.dim() == distribution.loc.dim():
        each = Independent(Normal(loc, scale[..., chosen]), 1)
    else:
        sigma = (scale @ scale.mT)[..., chosen, :][..., chosen]
        each = MultivariateNormal(loc, sigma)
    if isinstance(distribution, MultivariateGaussian):
        return each
    return MixtureSameFamily(Categorical(logits=distribution.logits), each)


@pytest.mark.parametrize(("kind", "covariance"), KINDS)
def test_log_prob_is_that_of_torch_and_missing_values_leave_the_marginal(kind, covariance):
    distribution, values = layer(kind, covariance)(states()), observations()
    found = distribution.log_prob(values).detach()
    for step, value in enumerate(values):
        seen = (~value.isnan()).nonzero().squeeze(1)
        expected = torch.zeros((), dtype=DOUBLE)
        if len(seen):
            expected = reference(distribution, seen).log_prob(value[seen])[step]
        torch.testing.assert_close(found[step], expected.detach(), atol=1e-10, rtol=0)
    assert found[4] == 0
    whole = observations(missing=False)
    torch.testing.assert_close(
        distribution.log_prob(whole), reference(distribution).log_prob(whole), atol=1e-10, rtol=0
    )


@pytest.mark.parametrize(("kind", "covariance"), KINDS)
def test_moments_entropy_and_marginals_are_those_of_torch(kind, covariance):
    distribution, values = layer(kind, covariance)(states()), observations(missing=False)
    other = reference(distribution)
    torch.testing.assert_close(distribution.mean, other.mean, atol=1e-12, rtol=0)
    torch.testing.assert_close(distribution.variance, other.variance, atol=1e-12, rtol=0)
    each = [reference(distribution, torch.tensor([i])).log_prob(values[:, i : i + 1]) for i in range(D)]
    torch.testing.assert_close(distribution.value_log_probs(values), torch.stack(each, 1))
    assert distribution.value_log_probs(observations())[4].tolist() == [0, 0, 0]
    if kind == "gaussian":
        torch.testing.assert_close(distribution.entropy(), other.entropy())
        sigma = other.covariance_matrix if covariance == "full" else torch.diag_embed(other.variance)
        torch.testing.assert_close(distribution.covariance_matrix, sigma)


@pytest.mark.parametrize(("kind", "covariance"), KINDS)
@pytest.mark.parametrize("size", [1, 2])
def test_densities_integrate_to_one(kind, covariance, size):
    output = layer(kind, covariance, size, seed=7)
    distribution = output(states(1)[0])
    axis = torch.linspace(-14, 14, 1401 if size == 2 else 20_001, dtype=DOUBLE)
    grid = torch.cartesian_prod(*[axis] * size).reshape(-1, size)
    total = distribution.log_prob(grid).detach().exp().sum() * (axis[1] - axis[0]) ** size
    assert float(total) == pytest.approx(1, abs=1e-8)


@pytest.mark.parametrize(("kind", "covariance"), KINDS)
def test_gradients_are_right_also_where_values_are_missing(kind, covariance):
    output, values = layer(kind, covariance, scales=TIGHT), observations()

    def nll(hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        named = {"layer.weight": weight, "layer.bias": bias}
        return functional_call(_NLL(output), named, (hidden, values))

    wanted = [states().requires_grad_(), *(p.detach().clone().requires_grad_() for p in output.parameters())]
    assert torch.autograd.gradcheck(nll, wanted, atol=1e-6)
    (gradient,) = torch.autograd.grad(output.nll(wanted[0], values), wanted[0])
    assert gradient.isfinite().all()
    assert gradient[4].tolist() == [0] * H


class _NLL(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, hidden: Tensor, targets: Tensor) -> Tensor:
        return self.layer.nll(hidden, targets)


def surrogate(output: nn.Module, hidden: Tensor, targets: Tensor, raw: Tensor, fixed: Tensor) -> Tensor:
    """What the curvature is the Hessian of, at raw = fixed: KL of what was observed, component by component.

    The Hessian of KL(p_fixed || p_raw) at raw = fixed is the Fisher information, whatever the parameters.
    """
    total = raw.new_zeros(())
    for n in range(len(raw)):
        seen = (~targets[n].isnan()).nonzero().squeeze(1)
        if len(seen) == 0:
            continue
        if isinstance(output, Gaussian):
            now, then = (MultivariateGaussian(*output.normal(x[n])) for x in (raw, fixed))
            total = total + kl_divergence(reference(then, seen), reference(now, seen))
            continue
        (logits, inner), (old_logits, old) = (output._parts(x[n]) for x in (raw, fixed))
        total = total + kl_divergence(Categorical(logits=old_logits), Categorical(logits=logits))
        with torch.no_grad():
            joint = MixtureOfGaussians(old_logits, *output.normal(old)).component_log_probs(targets[n])
            shares = joint.softmax(-1)
        for k in range(K):
            now, then = (MultivariateGaussian(*output.normal(x[k])) for x in (inner, old))
            total = total + shares[k] * kl_divergence(reference(then, seen), reference(now, seen))
    return total


@pytest.mark.parametrize(("kind", "covariance"), KINDS)
def test_curvature_is_the_explicit_matrix_and_positive_semidefinite(kind, covariance):
    output, hidden, targets = layer(kind, covariance, scales=TIGHT), states(), observations()
    raw = (hidden @ output.weight.T + output.bias).detach()
    rows = raw.shape[1]
    hessian = torch.autograd.functional.hessian(
        lambda x: surrogate(output, hidden, targets, x.view_as(raw), raw), raw.flatten()
    )
    # raw as a function of [hidden, weight, bias]
    sizes = [hidden.numel(), output.weight.numel(), output.bias.numel()]

    def affine(theta: Tensor) -> Tensor:
        h, w, b = theta.split(sizes)
        return (h.view_as(hidden) @ w.view(rows, H).T + b).flatten()

    theta = torch.cat([hidden.flatten(), output.weight.flatten(), output.bias]).detach()
    jacobian = torch.autograd.functional.jacobian(affine, theta)
    explicit = jacobian.T @ hessian @ jacobian
    with torch.no_grad():
        curvature = output.linearize(hidden, targets)
        columns = []
        for unit in torch.eye(len(theta), dtype=DOUBLE):
            h, w, b = unit.split(sizes)
            back, own = curvature.product(h.view_as(hidden), {"weight": w.view(rows, H), "bias": b})
            columns.append(torch.cat([back.flatten(), own["weight"].flatten(), own["bias"]]))
    found = torch.stack(columns, 1)
    torch.testing.assert_close(found, explicit, atol=1e-8, rtol=1e-8)
    torch.testing.assert_close(found, found.T, atol=1e-10, rtol=1e-10)
    assert float(torch.linalg.eigvalsh(found)[0]) > -1e-9 * float(found.abs().max())


def test_the_bound_that_a_mixtures_curvature_is_of_touches_its_likelihood():
    output, hidden, targets = layer("mixture", "full"), states(), observations()
    mixture = output(hidden)
    joint = mixture.component_log_probs(targets)
    bound = -(joint.detach().softmax(-1) * joint).sum()
    expected = torch.autograd.grad(bound, output.weight, retain_graph=True)
    found = torch.autograd.grad(output.nll(hidden, targets), output.weight)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(("kind", "covariance"), KINDS)
def test_products_of_a_whole_model_are_the_explicit_matrix(kind, covariance):
    """Through the RNN, with filler, starts and missing values, against J^T H J by autograd."""
    steps, streams = 4, 2
    model = SequenceModel(RNN(D, H, generator=seeded(), dtype=DOUBLE), layer(kind, covariance))
    values = torch.randn(steps + 1, streams, D, generator=seeded(5), dtype=DOUBLE)
    inputs, targets = values[:-1], values[1:].clone()
    targets[1, 0, 0] = targets[2, 1] = math.nan
    mask = torch.ones(steps, streams, dtype=torch.bool)
    mask[3, 1] = False
    starts = torch.zeros(steps, streams, dtype=torch.bool)
    starts[2, 0] = True
    names, shapes = zip(*((n, p.shape) for n, p in model.named_parameters()), strict=True)
    theta = torch.cat([p.detach().flatten() for p in model.parameters()])
    chosen = mask.flatten()

    def raw_of(vector: Tensor) -> Tensor:
        parts = vector.split([s.numel() for s in shapes])
        named = {n: x.view(s) for n, x, s in zip(names, parts, shapes, strict=True)}
        hidden, _ = functional_call(model.rnn, _under("rnn.", named), (inputs, None, starts))
        own = _under("output.", named)
        return hidden.flatten(0, 1)[chosen] @ own["weight"].T + own["bias"]

    raw, seen = raw_of(theta).detach(), targets.flatten(0, 1)[chosen]
    hidden = raw.new_zeros(len(raw), H)
    hessian = torch.autograd.functional.hessian(
        lambda x: surrogate(model.output, hidden, seen, x.view_as(raw), raw), raw.flatten()
    )
    jacobian = torch.autograd.functional.jacobian(lambda v: raw_of(v).flatten(), theta)
    explicit = jacobian.T @ hessian @ jacobian / len(raw)
    operator = GaussNewton(model, inputs, targets, None, starts, mask)
    operator.gradient()
    found = torch.stack([operator.curvature(unit) for unit in torch.eye(len(theta), dtype=DOUBLE)], 1)
    torch.testing.assert_close(found, explicit, atol=1e-8, rtol=1e-8)


def _under(prefix: str, named: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in named.items() if k.startswith(prefix)}


@pytest.mark.parametrize(("kind", "covariance"), KINDS)
def test_samples_have_the_moments_and_the_quantiles(kind, covariance):
    distribution = layer(kind, covariance)(states(2))
    drawn = distribution.sample((40_000,), generator=seeded(8))
    assert drawn.shape == (40_000, 2, D)
    torch.testing.assert_close(drawn.mean(0), distribution.mean, atol=0.03, rtol=0)
    torch.testing.assert_close(drawn.var(0), distribution.variance, atol=0.03, rtol=0.05)
    if kind == "gaussian":
        for n in range(2):
            found = torch.cov(drawn[:, n].T)
            torch.testing.assert_close(found, distribution.covariance_matrix[n], atol=0.05, rtol=0.05)
    for p in (0.05, 0.5, 0.95):
        quantile = distribution.quantile(p)
        torch.testing.assert_close(distribution.cdf(quantile), torch.full_like(quantile, p))
        share = (drawn <= quantile).double().mean(0)
        torch.testing.assert_close(share, torch.full_like(share, p), atol=0.01, rtol=0)
    again = distribution.sample((40_000,), generator=seeded(8))
    assert torch.equal(drawn, again)


def test_a_mixtures_samples_keep_the_values_of_a_component_together():
    ends = torch.tensor([[-5.0, 5.0], [5.0, -5.0]])
    mixture = MixtureOfGaussians(torch.zeros(2), ends, torch.full((2, 2), 0.1))
    drawn = mixture.sample((1000,), generator=seeded())
    assert (drawn.prod(-1) < 0).all()
    assert 400 < int((drawn[:, 0] > 0).sum()) < 600


@pytest.mark.parametrize(("kind", "covariance"), KINDS)
def test_crps_is_the_integral_that_defines_it(kind, covariance):
    """The integral of (F(y) - [y >= x])^2 over y."""
    distribution, value = layer(kind, covariance)(states(1)), observations(1, missing=False)
    axis = torch.linspace(-15, 15, 30_001, dtype=DOUBLE)
    steps = axis.unsqueeze(1).expand(-1, D)
    gaps = (distribution.cdf(steps) - (steps >= value).double()).square()
    expected = gaps.sum(0) * (axis[1] - axis[0])
    torch.testing.assert_close(distribution.crps(value)[0], expected, atol=1e-3, rtol=0)
    drawn = distribution.sample((20_000,), generator=seeded())[:, 0]
    sampled = (drawn - value).abs().mean(0) - 0.5 * (drawn[:10_000] - drawn[10_000:]).abs().mean(0)
    torch.testing.assert_close(distribution.crps(value)[0], sampled, atol=0.03, rtol=0)


def test_a_mixture_of_one_is_the_gaussian():
    one = GaussianMixture(H, D, 1, "full", generator=seeded(), dtype=DOUBLE)
    gaussian = Gaussian(H, D, "full", dtype=DOUBLE)
    with torch.no_grad():
        gaussian.weight.copy_(one.weight[1:])
        gaussian.bias.copy_(one.bias[1:])
    hidden, targets = states(), observations()
    torch.testing.assert_close(one.nll(hidden, targets), gaussian.nll(hidden, targets))
    torch.testing.assert_close(one(hidden).crps(targets[:1]), gaussian(hidden).crps(targets[:1]))
    back, _ = one.linearize(hidden, targets).product(hidden, {})
    expected, _ = gaussian.linearize(hidden, targets).product(hidden, {})
    torch.testing.assert_close(back, expected)


@pytest.mark.parametrize(("kind", "covariance"), KINDS)
@pytest.mark.parametrize("extreme", [-1e4, 1e4])
def test_scales_stay_within_their_bounds(kind, covariance, extreme):
    """A column that is constant, or that repeats another one, drives the scale down without end."""
    output = layer(kind, covariance, dtype=torch.float32)
    with torch.no_grad():
        output.bias.fill_(extreme)
    distribution = output(torch.zeros(1, H))
    scale = distribution.scale.detach()
    diagonal = torch.diagonal(scale, dim1=-2, dim2=-1) if covariance == "full" else scale
    assert float(diagonal.min()) >= 1e-4 * (1 - 1e-5)
    assert float(diagonal.max()) <= 1e2 * (1 + 1e-5)
    hidden = torch.zeros(1, H, requires_grad=True)
    nll = output.nll(hidden, distribution.mean.detach())
    nll.backward()
    assert bool(nll.isfinite())
    assert all(bool(p.grad.isfinite().all()) for p in output.parameters())


def test_a_missing_value_is_scored_right_beside_scales_that_squares_would_lose():
    """Sigma of these, in float32, is singular: 1 + 1e-8 is 1."""
    factor = torch.tensor([[1.0, 0, 0], [1.0, 1e-4, 0], [1.0, 1e-4, 1e-4]])
    exact = MultivariateGaussian(torch.zeros(3, dtype=DOUBLE), factor.double())
    value = torch.tensor([1.0, math.nan, 1.0002])
    found = MultivariateGaussian(torch.zeros(3), factor).log_prob(value)
    torch.testing.assert_close(found.double(), exact.log_prob(value.double()), atol=1e-2, rtol=0)
    pair = reference(exact, torch.tensor([0, 2])).log_prob(value.double()[[0, 2]])
    assert float(exact.log_prob(value.double())) == pytest.approx(float(pair), abs=1e-6)


def test_the_factor_of_what_was_observed():
    factor = NormalMap(4, "full")(torch.randn(3, 14, generator=seeded(), dtype=DOUBLE))[1]
    observed = torch.tensor([[True] * 4, [False, True, True, False], [False] * 4])
    found = observed_factor(factor, observed)
    sigma = factor @ factor.mT
    for n in range(3):
        both = observed[n].unsqueeze(0) & observed[n].unsqueeze(1)
        expected = torch.where(both, sigma[n], torch.eye(4, dtype=DOUBLE))
        torch.testing.assert_close(found[n] @ found[n].T, expected)
        assert torch.equal(found[n].triu(1), torch.zeros(4, 4, dtype=DOUBLE))


@pytest.mark.parametrize(("kind", "covariance"), KINDS)
def test_a_state_of_zero_starts_at_given_moments(kind, covariance):
    output = layer(kind, covariance)
    means, spread = torch.tensor([3.0, -2.0, 0.5]), torch.tensor([0.3, 1.0, 20.0])
    output.initialize_bias_(means, spread, **({"generator": seeded()} if kind == "mixture" else {}))
    distribution = output(torch.zeros(H, dtype=DOUBLE))
    if kind == "gaussian":
        torch.testing.assert_close(distribution.mean, means.double())
        stated = torch.ones(3) if covariance == "unit" else spread
        torch.testing.assert_close(distribution.stddev, stated.double())
    else:
        assert bool(((distribution.mean - means).abs() < spread).all())
        torch.testing.assert_close(distribution.weights, torch.full((K,), 1 / K, dtype=DOUBLE))
        assert len(set(distribution.loc[:, 0].tolist())) == K


@pytest.mark.parametrize("kind", ["gaussian", "mixture"])
def test_float32_model_takes_float64_targets_and_one_value(kind):
    output = layer(kind, "full", 1, dtype=torch.float32)
    assert output.nll(states().float(), observations(size=1)).dtype == torch.float32
    assert output.normal.count == 2


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="covariance must be one of full, diagonal, unit, got 'tied'"):
        Gaussian(H, D, "tied")
    with pytest.raises(ValueError, match="components must be at least 1, got 0"):
        GaussianMixture(H, D, 0)
    with pytest.raises(ValueError, match="0 < lowest < highest"):
        Gaussian(H, D, scales=(1.0, 0.5))
    with pytest.raises(ValueError, match="size must be at least 1"):
        Gaussian(H, 0)


def test_with_unit_variances_the_loss_is_half_the_squared_error():
    output = layer("gaussian", "unit")
    hidden, values = torch.randn(7, H, dtype=DOUBLE), torch.randn(7, 3, dtype=DOUBLE)
    squared = (output(hidden).mean - values).square().sum() / 2
    constant = 7 * 3 / 2 * math.log(2 * math.pi)
    torch.testing.assert_close(output.nll(hidden, values), squared + constant)
    assert output.weight.shape == (3, H)
