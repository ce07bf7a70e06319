"""Forecasts against what is known of a linear process; surprise against the scores."""

import csv
import math

import numpy as np
import pytest
import torch

from ostinato.domains.series import predictor as predictor_module
from ostinato.domains.series.baselines import fit_var
from ostinato.domains.series.evaluation import score_steps
from ostinato.domains.series.forecast import QUANTILES, forecast, forecast_csv, write_forecast
from ostinato.domains.series.generated import autoregression
from ostinato.domains.series.pictures import forecast_picture, surprise_picture
from ostinato.domains.series.predictor import SeriesModel, walk
from ostinato.domains.series.scaling import Scaling
from ostinato.domains.series.splits import Part
from ostinato.domains.series.surprise import surprise, write_surprise
from ostinato.errors import UserError
from ostinato.nn import RNN, SequenceModel
from ostinato.nn.outputs import Gaussian, GaussianMixture

NAN = math.nan


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def series(steps: int = 300, seed: int = 1) -> np.ndarray:
    x = autoregression(steps, seed, coefficient=0.8, deviation=2.0, mean=50.0)
    return np.column_stack([x, np.cumsum(x) / 10])


def scaling_of(values: np.ndarray) -> Scaling:
    return Scaling.fit(("x", "y"), [values])


def model(kind: str = "gaussian", *, with_mask: bool = True, nonlinearity: str = "tanh") -> SeriesModel:
    options = {"generator": seeded(3), "dtype": torch.float64}
    output = Gaussian(6, 2, **options) if kind == "gaussian" else GaussianMixture(6, 2, 3, **options)
    rnn = RNN(4 if with_mask else 2, 6, nonlinearity=nonlinearity, **options)
    return SeriesModel(SequenceModel(rnn, output).eval(), with_mask)


@pytest.mark.parametrize("kind", ["gaussian", "mixture"])
@pytest.mark.parametrize("length", [0, 1, 2, 57])
def test_the_first_step_is_drawn_from_what_the_model_predicts_after_the_history(kind, length):
    values, predictor = series(58), model(kind)
    scaling, history = scaling_of(values), values[:length]
    (predicted,) = [d for d, _, _ in walk(predictor, values[: length + 1], scaling)]
    made = forecast(predictor, history, 1, scaling, paths=20_000, generator=seeded())
    assert made.begin == length
    expected = scaling.invert(predicted.mean[-1, 0].detach().numpy())
    spread = scaling.scale * predicted.variance[-1, 0].detach().sqrt().numpy()
    np.testing.assert_allclose(made.mean[0], expected, atol=4 * spread.max() / math.sqrt(20_000))
    for q, found in zip((0.05, 0.95), made.quantiles((0.05, 0.95))[:, 0], strict=True):
        exact = scaling.invert(predicted.quantile(q)[-1, 0].detach().numpy())
        np.testing.assert_allclose(found, exact, atol=0.05 * spread.max())


def test_an_autoregression_is_forecast_with_its_mean_and_spread():
    """Mean m + a^h (x - m), variance s^2 (1 - a^2h) / (1 - a^2)."""
    x = autoregression(50_000, 2, coefficient=0.9, deviation=1.5, mean=10.0).reshape(-1, 1)
    scaling = Scaling.fit(("x",), [x])
    fitted = fit_var([Part("a", x)], scaling, 2)
    history = x[:40]
    made = forecast(fitted, history, 30, scaling, paths=20_000, generator=seeded())
    steps = np.arange(1, 31)
    np.testing.assert_allclose(made.mean[:, 0], 10 + 0.9**steps * (history[-1, 0] - 10), atol=0.15)
    spread = 1.5 * np.sqrt((1 - 0.9 ** (2 * steps)) / (1 - 0.81))
    np.testing.assert_allclose(made.paths.std(0)[:, 0], spread, rtol=0.04)
    low, high = made.quantiles((0.05, 0.95))[:, :, 0]
    np.testing.assert_allclose((high - low) / 2, 1.645 * spread, rtol=0.05)


def test_a_step_reads_the_one_that_was_drawn():
    """Teacher-forced along a path of its own, the model gives what it gave when it drew it."""
    values, predictor = series(40), model()
    scaling = scaling_of(values)
    one = forecast(predictor, values, 12, scaling, paths=1, generator=seeded(5))
    whole = np.concatenate([values, one.paths[0]])
    (predicted,) = [d for d, _, _ in walk(predictor, whole, scaling)]
    noise = torch.linalg.solve_triangular(
        predicted.scale[40:],
        (torch.from_numpy(scaling.apply(one.paths[0])) - predicted.mean[40:, 0])[:, None, :, None],
        upper=False,
    )
    generator = seeded(5)
    expected = torch.stack(
        [torch.randn(1, 1, 2, generator=generator, dtype=torch.float64) for _ in range(12)]
    )
    torch.testing.assert_close(noise.detach().flatten(), expected.flatten(), atol=1e-8, rtol=0)


def test_paths_come_again_from_the_same_seed_and_histories_may_have_holes():
    values, predictor = series(30), model()
    scaling = scaling_of(values)
    values[-1, 0] = values[10] = NAN
    first, again = (forecast(predictor, values, 5, scaling, paths=7, generator=seeded(4)) for _ in range(2))
    np.testing.assert_array_equal(first.paths, again.paths)
    assert np.isfinite(first.paths).all()
    values[-1, 0] = 60
    other = forecast(predictor, values, 5, scaling, paths=7, generator=seeded(4))
    assert not np.allclose(other.paths, first.paths)


def test_what_cannot_be_forecast():
    values, predictor = series(30), model()
    scaling = scaling_of(values)
    for horizon, paths in ((0, 5), (5, 0)):
        with pytest.raises(UserError, match="at least 1 step and 1 path"):
            forecast(predictor, values, horizon, scaling, paths=paths, generator=seeded())
    with pytest.raises(UserError, match=r"expected a history of the columns x, y, found shape \(30, 1\)"):
        forecast(predictor, values[:, :1], 5, scaling, generator=seeded())
    linear = model(nonlinearity="identity")
    with torch.no_grad():
        linear.model.rnn.weight_hh_l0.mul_(1000)
    with pytest.raises(UserError, match="paths that stay finite, found one that does not at step"):
        forecast(linear, values[:3], 400, scaling, paths=3, generator=seeded())


def test_the_file_of_a_forecast_holds_every_number(tmp_path):
    values, predictor = series(30), model()
    made = forecast(predictor, values, 4, scaling_of(values), paths=50, generator=seeded())
    write_forecast(made, tmp_path / "forecast.csv")
    assert (tmp_path / "forecast.csv").read_text() == forecast_csv(made)
    rows = list(csv.DictReader((tmp_path / "forecast.csv").read_text().splitlines()))
    assert [int(row["step"]) for row in rows] == [30, 31, 32, 33]
    assert [float(row["y mean"]) for row in rows] == made.mean[:, 1].tolist()
    for q, expected in zip(QUANTILES, made.quantiles()[:, :, 0], strict=True):
        assert [float(row[f"x {100 * q:g}%"]) for row in rows] == expected.tolist()


# Surprise


@pytest.mark.parametrize("kind", ["gaussian", "mixture"])
def test_surprise_is_minus_the_score_of_each_step(kind, monkeypatch):
    values, predictor = series(120), model(kind)
    values[5, 0] = values[7] = NAN
    scaling = scaling_of(values)
    found = surprise(predictor, values, scaling)
    steps = score_steps(predictor, [Part("a", values)], scaling)
    expected = -steps.own_log_prob(scaling)
    np.testing.assert_allclose(found.steps[~np.isnan(found.steps)], expected, atol=1e-9)
    assert np.flatnonzero(np.isnan(found.steps)).tolist() == [7]
    np.testing.assert_array_equal(np.isnan(found.values), np.isnan(values))
    np.testing.assert_array_equal(np.isnan(found.quantiles), np.isnan(values))
    # where one value is there, the step is that value
    assert found.steps[5] == pytest.approx(found.values[5, 1])
    monkeypatch.setattr(predictor_module, "CHUNK", 11)
    again = surprise(predictor, values, scaling)
    np.testing.assert_allclose(again.steps, found.steps, atol=1e-9)
    np.testing.assert_allclose(again.quantiles, found.quantiles, atol=1e-9)


def test_values_by_themselves_have_their_own_marginals():
    values, predictor = series(20), model()
    scaling = scaling_of(values)
    found = surprise(predictor, values, scaling)
    (predicted,) = [d for d, _, _ in walk(predictor, values, scaling)]
    mean = scaling.invert(predicted.mean[:, 0].detach().numpy())
    spread = predicted.stddev[:, 0].detach().numpy() * scaling.scale
    z = (values - mean) / spread
    np.testing.assert_allclose(found.values, 0.5 * z**2 + np.log(spread * math.sqrt(2 * math.pi)), atol=1e-9)
    normal = np.vectorize(lambda x: 0.5 * (1 + math.erf(x / math.sqrt(2))))
    np.testing.assert_allclose(found.quantiles, normal(z), atol=1e-9)


def test_the_file_of_surprise_has_empty_cells_where_nothing_was_observed(tmp_path):
    values, predictor = series(6), model()
    values[2] = values[4, 0] = NAN
    found = surprise(predictor, values, scaling_of(values))
    write_surprise(found, tmp_path / "s.csv")
    rows = list(csv.DictReader((tmp_path / "s.csv").read_text().splitlines()))
    assert [row["nats"] for row in rows].count("") == 1
    assert rows[2]["nats"] == rows[2]["x nats"] == rows[4]["x quantile"] == ""
    assert float(rows[4]["y nats"]) == found.values[4, 1]
    with pytest.raises(UserError, match="expected steps of the columns x, y, found shape"):
        surprise(predictor, values[:0], scaling_of(values))


# Pictures


def test_pictures_are_made_and_come_again(tmp_path):
    values, predictor = series(60), model()
    scaling = scaling_of(values)
    made = forecast(predictor, values, 10, scaling, paths=20, generator=seeded())
    found = surprise(predictor, values, scaling)
    for ending in ("png", "svg", "pdf"):
        for name, draw in (
            ("forecast", lambda p: forecast_picture(made, values, p, title="a forecast")),
            ("surprise", lambda p: surprise_picture(found, values, p)),
        ):
            paths = [tmp_path / f"{name}{k}.{ending}" for k in range(2)]
            for path in paths:
                draw(path)
            assert paths[0].stat().st_size > 1000
            assert paths[0].read_bytes() == paths[1].read_bytes()
    for wrong, message in (("a.gif", "ending in .png"), ("none/a.png", "expected a folder to write a.png")):
        with pytest.raises(UserError, match=message.replace(".", r"\.")):
            forecast_picture(made, values, tmp_path / wrong)


def test_many_columns_say_that_only_some_are_drawn(tmp_path):
    wide = np.random.default_rng(0).standard_normal((40, 15))
    scaling = Scaling.fit(tuple(f"c{k}" for k in range(15)), [wide])
    fitted = fit_var([Part("a", wide)], scaling, 1)
    made = forecast(fitted, wide, 5, scaling, paths=5, generator=seeded())
    forecast_picture(made, wide, tmp_path / "a.svg")
    assert "first 12 of 15 columns" in (tmp_path / "a.svg").read_text()
