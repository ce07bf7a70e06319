"""Scores of series against what is known of the process, and against the same numbers added up by hand."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import MultivariateNormal

from ostinato.domains.series.baselines import (
    fit_baselines,
    fit_persistence,
    fit_var,
    usable_orders,
)
from ostinato.domains.series.evaluation import evaluate_series, score_steps, summarise
from ostinato.domains.series.generated import autoregression
from ostinato.domains.series.predictor import SeriesModel, walk
from ostinato.domains.series.scaling import Scaling
from ostinato.domains.series.splits import Part
from ostinato.evaluation.scores import pooled_score
from ostinato.nn import RNN, SequenceModel
from ostinato.nn.outputs import Gaussian, GaussianMixture

NAN = math.nan
A = np.array([[0.7, 0.2], [-0.3, 0.5]])
C = np.array([[1.0, 0.0], [0.6, 0.4]])


def process(steps: int, seed: int = 0) -> np.ndarray:
    """x_t = [5, -100] + A (x_{t-1} - [5, -100]) + C e_t, the second column in a unit of its own."""
    draw = np.random.default_rng(seed)
    x = np.zeros((steps + 50, 2))
    for t in range(1, len(x)):
        x[t] = A @ x[t - 1] + C @ draw.standard_normal(2)
    return x[50:] * [1, 1000] + [5, -100]


def parts_of(count: int, steps: int = 400, holes: float = 0.0) -> list[Part]:
    draw = np.random.default_rng(99)
    made = [process(steps, seed) for seed in range(count)]
    return [Part(f"s{k}", np.where(draw.random(x.shape) < holes, NAN, x)) for k, x in enumerate(made)]


def scaling_of(parts: list[Part]) -> Scaling:
    return Scaling.fit(("x", "y"), [part.values for part in parts])


def model(kind: str = "gaussian", *, with_mask: bool = True) -> SeriesModel:
    generator = torch.Generator().manual_seed(3)
    options = {"generator": generator, "dtype": torch.float64}
    output = Gaussian(6, 2, **options) if kind == "gaussian" else GaussianMixture(6, 2, 3, "full", **options)
    rnn = RNN(4 if with_mask else 2, 6, **options)
    return SeriesModel(SequenceModel(rnn, output).eval(), with_mask)


def test_the_autoregression_of_a_linear_process_is_found_with_its_entropy():
    train, test = parts_of(20, 1000), [Part(f"t{s}", process(1000, s)) for s in range(50, 60)]
    scaling = scaling_of(train)
    fitted = fit_var(train, scaling, 1)
    unit = np.diag(scaling.scale) / [1, 1000]
    own = unit @ fitted.coefficients[0].numpy() @ np.linalg.inv(unit)
    np.testing.assert_allclose(own, A, atol=0.02)
    factor = np.diag([1, 1 / 1000]) @ np.diag(scaling.scale) @ fitted.factor.numpy()
    np.testing.assert_allclose(factor, C, atol=0.02)
    entropy = math.log(2 * math.pi * math.e) + math.log(np.linalg.det(C)) + math.log(1000)
    scores = evaluate_series(fitted, test, scaling)
    likelihood = scores["log_likelihood"]
    assert likelihood.value == pytest.approx(-entropy, abs=3 * likelihood.standard_error + 0.01)
    assert likelihood.count == 10_000
    assert likelihood.songs == 10
    assert scores["coverage_90"].value == pytest.approx(90, abs=1)
    assert scores["rmse/x"].value == pytest.approx(1, abs=0.03)
    assert scores["rmse/y"].value == pytest.approx(1000 * math.hypot(0.6, 0.4), rel=0.03)
    # of a normal error: sigma / sqrt(pi)
    assert scores["crps/x"].value == pytest.approx(1 / math.sqrt(math.pi), rel=0.03)


@pytest.mark.parametrize("kind", ["gaussian", "mixture"])
@pytest.mark.parametrize("holes", [0.0, 0.2])
@pytest.mark.parametrize("streams", [1, 4])
def test_streams_and_segments_change_no_score(kind, holes, streams):
    parts = [Part(p.name, p.values, context=10 * (k % 2)) for k, p in enumerate(parts_of(5, 90, holes))]
    scaling, predictor = scaling_of(parts), model(kind)
    found = score_steps(predictor, parts, scaling, streams=streams, segment_length=37)
    expected = []
    for part in parts:
        for distribution, scaled, _ in walk(predictor, part.values, scaling):
            log_prob = distribution.log_prob(scaled)[part.context :]
            kept = ~np.isnan(part.values[part.context :]).all(1)
            expected += log_prob.flatten()[torch.from_numpy(kept)].tolist()
    np.testing.assert_allclose(found.log_prob, expected, atol=1e-9)
    observed = np.concatenate([~np.isnan(p.values[p.context :]) for p in parts])
    np.testing.assert_array_equal(found.observed, observed[observed.any(1)])


def test_scores_are_the_same_numbers_added_up_by_hand():
    parts, predictor = parts_of(6, 60, 0.2), model()
    scaling = scaling_of(parts)
    sums: dict[str, list[float]] = {name: [] for name in ("log_likelihood", "square", "crps", "covered")}
    generator = torch.Generator().manual_seed(0)
    for part in parts:
        for distribution, _, _ in walk(predictor, part.values, scaling):
            own_mean = scaling.invert(distribution.mean[:, 0].detach().numpy())
            factor = torch.from_numpy(scaling.scale).unsqueeze(1) * distribution.scale[:, 0].detach()
            drawn = torch.from_numpy(own_mean) + (
                factor @ torch.randn(4000, len(own_mean), 2, 1, generator=generator, dtype=torch.float64)
            ).squeeze(-1)
            for t, value in enumerate(part.values):
                seen = np.flatnonzero(~np.isnan(value))
                if len(seen) == 0:
                    continue
                sigma = (factor[t] @ factor[t].T)[seen][:, seen]
                normal = MultivariateNormal(torch.from_numpy(own_mean[t, seen]), sigma)
                sums["log_likelihood"].append(float(normal.log_prob(torch.from_numpy(value[seen]))))
                if 1 in seen:
                    sample = drawn[:, t, 1].numpy()
                    sums["square"].append((value[1] - own_mean[t, 1]) ** 2)
                    gap = (
                        np.abs(sample - value[1]).mean() - 0.5 * np.abs(sample[:2000] - sample[2000:]).mean()
                    )
                    sums["crps"].append(gap)
                    low, high = np.quantile(sample, (0.05, 0.95))
                    sums["covered"].append(low <= value[1] <= high)
    scores = evaluate_series(predictor, parts, scaling)
    assert scores["log_likelihood"].value == pytest.approx(np.mean(sums["log_likelihood"]), abs=1e-9)
    assert scores["rmse/y"].value == pytest.approx(math.sqrt(np.mean(sums["square"])), rel=1e-9)
    assert scores["crps/y"].value == pytest.approx(np.mean(sums["crps"]), rel=0.01)
    assert scores["coverage_90/y"].value == pytest.approx(100 * np.mean(sums["covered"]), abs=2)
    assert scores["rmse/y"].count == len(sums["square"])
    bounds = [math.sqrt(_mean_square_moved(predictor, parts, scaling, way)) for way in (-1, 1)]
    assert (bounds[1] - bounds[0]) / 2 == pytest.approx(scores["rmse/y"].standard_error, rel=0.02)
    assert scores["rmse"].count == scores["rmse/x"].count + scores["rmse/y"].count
    assert scores["log_likelihood"].count == len(sums["log_likelihood"])


def _mean_square_moved(predictor, parts, scaling, way: int) -> float:
    """The mean square of the second column's errors, moved by its standard error."""
    steps = score_steps(predictor, parts, scaling)
    square = steps.squared[:, 1] * scaling.scale[1] ** 2
    score = pooled_score(
        np.bincount(steps.series, square), np.bincount(steps.series, steps.observed[:, 1]), "", ""
    )
    return score.value + way * score.standard_error


def test_units_change_nats_by_the_jacobian_and_nothing_else():
    parts, predictor = parts_of(5, 100, 0.1), model()
    metres = [Part(p.name, p.values * [1, 0.001]) for p in parts]
    first, second = (evaluate_series(predictor, x, scaling_of(x)) for x in (parts, metres))
    share = first["rmse/y"].count / first["log_likelihood"].count
    gain = second["log_likelihood"].value - first["log_likelihood"].value
    assert gain == pytest.approx(share * math.log(1000))
    assert second["rmse/y"].value == pytest.approx(first["rmse/y"].value / 1000)
    assert second["rmse"].value == pytest.approx(first["rmse"].value)
    assert second["coverage_90"].value == first["coverage_90"].value


def test_a_context_is_read_and_not_scored():
    part = parts_of(1, 300)[0]
    scaling, predictor = scaling_of([part]), model()
    later = Part("later", part.values[100:], context=100)
    found = score_steps(predictor, [later], scaling)
    assert len(found.log_prob) == 100
    whole = score_steps(predictor, [part], scaling)
    # 100 steps before are as good as 200 for this network, whose state is soon forgotten
    np.testing.assert_allclose(found.log_prob, whole.log_prob[200:], atol=1e-6)
    cold = score_steps(predictor, [Part("cold", part.values[200:])], scaling)
    assert abs(cold.log_prob[0] - whole.log_prob[200]) > 1e-3


@pytest.mark.parametrize(("count", "clusters"), [(1, 20), (3, 20), (5, 5), (9, 9)])
def test_errors_are_over_series_or_over_blocks(count, clusters):
    parts = parts_of(count, 300)
    scaling = scaling_of(parts)
    steps = score_steps(fit_persistence(parts, scaling), parts, scaling)
    found = steps.clusters()
    assert abs(len(np.unique(found)) - clusters) <= 1
    assert np.bincount(found).max() - np.bincount(found).min() <= 1
    if count < 5:
        assert (np.diff(found) >= 0).all()
    sums, counts = steps.totals(scaling)
    score = summarise(steps, scaling)["log_likelihood"]
    assert score.value == pytest.approx(sums.sum() / counts.sum())
    assert score.songs == count
    spread = (sums / counts).std(ddof=1) / math.sqrt(len(sums))
    assert score.standard_error == pytest.approx(spread, rel=0.02)
    assert ("series" if count >= 5 else "blocks") in score.convention


def test_the_error_of_blocks_is_that_of_an_average_of_dependent_steps():
    """The spread of the score over many independent series of the same kind."""
    made = [Part(str(k), autoregression(2000, k, coefficient=0.9).reshape(-1, 1)) for k in range(30)]
    scaling = Scaling.fit(("x",), [p.values for p in made])
    start = fit_persistence(made, scaling)
    each = [summarise(score_steps(start, [p], scaling), scaling)["crps"] for p in made]
    spread = np.std([score.value for score in each], ddof=1)
    assert np.mean([score.standard_error for score in each]) == pytest.approx(spread, rel=0.35)


# Baselines


def test_persistence_is_the_value_before_with_the_spread_of_differences():
    parts = parts_of(4, 500)
    scaling = scaling_of(parts)
    fitted = fit_persistence(parts, scaling)
    scaled = [scaling.apply(p.values) for p in parts]
    differences = np.concatenate([np.diff(x, axis=0) for x in scaled])
    np.testing.assert_allclose(
        fitted.factor @ fitted.factor.T, differences.T @ differences / len(differences), atol=1e-12
    )
    ((distribution, values, _),) = walk(fitted, parts[0].values, scaling)
    np.testing.assert_array_equal(distribution.mean[1:, 0], values[:-1, 0])
    together = np.concatenate(scaled)
    np.testing.assert_allclose(distribution.mean[0, 0], together.mean(0), atol=1e-12)
    np.testing.assert_allclose(
        distribution.covariance_matrix[0, 0], np.cov(together.T, bias=True), atol=1e-12
    )


@pytest.mark.parametrize("order", [1, 3])
def test_an_autoregression_is_least_squares_on_complete_rows(order):
    parts = parts_of(3, 200, 0.05)
    scaling = scaling_of(parts)
    fitted = fit_var(parts, scaling, order)
    rows, targets = [], []
    for part in parts:
        x = scaling.apply(part.values)
        for t in range(order, len(x)):
            window = x[t - order : t + 1]
            if not np.isnan(window).any():
                rows.append([1.0, *window[:-1][::-1].ravel()])
                targets.append(window[-1])
    solution = np.linalg.lstsq(np.array(rows), np.array(targets))[0]
    np.testing.assert_allclose(fitted.intercept, solution[0], atol=1e-10)
    for k in range(order):
        block = solution[1 + 2 * k : 3 + 2 * k].T
        np.testing.assert_allclose(fitted.coefficients[k], block, atol=1e-10)
    left = np.array(targets) - np.array(rows) @ solution
    np.testing.assert_allclose(fitted.factor @ fitted.factor.T, left.T @ left / len(left), atol=1e-10)
    ((distribution, _, _),) = walk(fitted, parts[0].values, scaling)
    x = scaling.apply(parts[0].values)
    checked = 0
    for t in range(order, len(x)):
        window = x[t - order : t]
        if not np.isnan(window).any():
            expected = np.array([1.0, *window[::-1].ravel()]) @ solution
            np.testing.assert_allclose(distribution.mean[t, 0], expected, atol=1e-10)
            checked += 1
    assert checked > 100


def test_a_missing_value_counts_as_the_last_observed():
    parts = parts_of(2, 200)
    scaling = scaling_of(parts)
    fitted = fit_persistence(parts, scaling)
    values = parts[0].values[:6].copy()
    values[2:4, 0] = NAN
    values[0, 1] = NAN
    ((distribution, scaled, _),) = walk(fitted, values, scaling)
    mean = distribution.mean[:, 0]
    assert mean[3:5, 0].tolist() == [float(scaled[1, 0, 0])] * 2
    assert float(mean[1, 1]) == 0
    assert torch.isfinite(mean).all()


@pytest.mark.parametrize("segment_length", [1, 17])
@pytest.mark.parametrize("order", [1, 4])
def test_a_series_starts_without_the_one_before_it_in_its_stream(order, segment_length):
    parts = parts_of(3, 50, 0.2)
    for part in parts:
        part.values[0, 0] = NAN
    scaling = scaling_of(parts)
    fitted = fit_var(parts, scaling, order)
    together = score_steps(fitted, parts, scaling, streams=1, segment_length=segment_length)
    alone = np.concatenate([score_steps(fitted, [p], scaling).log_prob for p in parts])
    np.testing.assert_allclose(together.log_prob, alone, atol=1e-10)


def test_the_order_is_the_best_in_validation():
    draw = np.random.default_rng(0)

    def seasonal(steps: int) -> np.ndarray:
        x = draw.standard_normal(steps)
        for t in range(8, steps):
            x[t] += 0.9 * x[t - 8]
        return x.reshape(-1, 1)

    train, valid = ([Part(str(k), seasonal(600)) for k in range(4)] for _ in range(2))
    scaling = Scaling.fit(("x",), [p.values for p in train])
    fitted = fit_baselines(train, valid, scaling)
    assert fitted["var"].order == 8
    assert float(fitted["var"].coefficients[7]) == pytest.approx(0.9, abs=0.05)


def test_every_system_is_scored_on_the_same_targets():
    parts = [Part(p.name, p.values, context=3) for p in parts_of(6, 100, 0.1)]
    scaling = scaling_of(parts)
    systems = [*fit_baselines(parts, parts, scaling).values(), model(), model(with_mask=False)]
    steps = [score_steps(system, parts, scaling) for system in systems]
    for other in steps[1:]:
        np.testing.assert_array_equal(other.observed, steps[0].observed)
        np.testing.assert_array_equal(other.series, steps[0].series)


@pytest.mark.parametrize("kind", ["constant", "repeated"])
def test_columns_that_make_the_rows_singular(kind):
    x = autoregression(400, 1)
    values = np.column_stack([x, np.full(400, 7.0) if kind == "constant" else 2 * x])
    parts = [Part("a", values)]
    scaling = scaling_of(parts)
    for system in [*fit_baselines(parts, parts, scaling).values(), model()]:
        scores = evaluate_series(system, parts, scaling)
        assert all(math.isfinite(score.value) for score in scores.values())
    fitted = fit_baselines(parts, parts, scaling)["var"]
    assert float(fitted.coefficients.abs().max()) < 10
    assert float(torch.diagonal(fitted.factor).min()) > 0.9e-4


def test_too_little_for_an_autoregression():
    parts = [Part("a", np.array([[1.0, 2.0], [2.0, NAN], [NAN, 1.0], [0.0, 1.0]]))]
    scaling = scaling_of(parts)
    assert usable_orders(parts, 2) == []
    fitted = fit_baselines(parts, parts, scaling)
    assert list(fitted) == ["persistence"]
    assert all(
        math.isfinite(s.value) for s in evaluate_series(fitted["persistence"], parts, scaling).values()
    )
    with pytest.raises(ValueError, match="expected at least 3 complete rows for order 1, found 0"):
        fit_var(parts, scaling, 1)
