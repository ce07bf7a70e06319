"""Small networks trained by a loop of a few lines: what the parts are for, joined."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from ostinato.data.sequences import Sequence, Splits
from ostinato.domains.domain import domain_named
from ostinato.domains.series.baselines import fit_baselines
from ostinato.domains.series.evaluation import evaluate_series, score_steps
from ostinato.domains.series.forecast import forecast
from ostinato.domains.series.generated import autoregression, mackey_glass
from ostinato.domains.series.predictor import SeriesModel
from ostinato.domains.series.reading import read_series
from ostinato.domains.series.scaling import Scaling
from ostinato.domains.series.splits import Part, cut_in_time, select, split
from ostinato.domains.series.streams import SeriesStreams
from ostinato.nn import RNN, SequenceModel
from ostinato.nn.curvature.gauss_newton import GaussNewton
from ostinato.nn.outputs import Gaussian, GaussianMixture
from ostinato.optim import HessianFree, SimplifiedNesterov, clip_grad_norm


def train(predictor: SeriesModel, parts, scaling, *, epochs: int, optimizer, streams: int = 20) -> None:
    model = predictor.model
    for epoch in range(epochs):
        draw, states = np.random.default_rng(epoch), None
        layout = SeriesStreams(parts, scaling, streams, 50, draw, with_mask=predictor.with_mask)
        for segment in layout:
            loss = model.loss(segment.inputs, segment.targets, states, segment.starts, segment.mask)
            states = loss.states
            optimizer.zero_grad()
            loss.objective.backward()
            clip_grad_norm(list(model.parameters()), 1.0)
            optimizer.step()
    model.eval()


def network(size: int, hidden: int, *, with_mask: bool, output: str = "full") -> SeriesModel:
    generator = torch.Generator().manual_seed(0)
    made = (
        GaussianMixture(hidden, size, 2, generator=generator)
        if output == "mixture"
        else Gaussian(hidden, size, output, generator=generator)
    )
    rnn = RNN(2 * size if with_mask else size, hidden, generator=generator)
    return SeriesModel(SequenceModel(rnn, made), with_mask)


def test_an_autoregression_is_learnt_to_its_entropy():
    """0.01 nats: against the process itself, on the same steps, so that the test set's luck cancels."""
    a, s, mean = 0.8, 3.0, 40.0
    made = [autoregression(1000, k, coefficient=a, deviation=s, mean=mean).reshape(-1, 1) for k in range(60)]
    parts = [Part(str(k), x) for k, x in enumerate(made)]
    training, test = parts[:40], parts[40:]
    scaling = Scaling.fit(("x",), [p.values for p in training])
    predictor = network(1, 5, with_mask=False)
    optimizer = SimplifiedNesterov(predictor.model.parameters(), 0.02, 0.9)
    train(predictor, training, scaling, epochs=15, optimizer=optimizer)
    true = [0.0, 0]
    for part in test:
        x = part.values[:, 0] - mean
        error = np.concatenate([x[:1] * math.sqrt(1 - a * a), x[1:] - a * x[:-1]]) / s
        nll = 0.5 * error**2 + math.log(s * math.sqrt(2 * math.pi))
        nll[0] -= 0.5 * math.log(1 - a * a)
        true = [true[0] + nll.sum(), true[1] + len(nll)]
    score = evaluate_series(predictor, test, scaling)["log_likelihood"]
    entropy = math.log(s * math.sqrt(2 * math.pi * math.e))
    assert -score.value - true[0] / true[1] < 0.01
    assert -score.value - true[0] / true[1] > -0.002
    assert -score.value == pytest.approx(entropy, abs=0.01 + 3 * score.standard_error)


@pytest.mark.slow
def test_mackey_glass_beats_both_baselines():
    values = mackey_glass(4000, sampling=6.0, substeps=60).reshape(-1, 1)
    parts = cut_in_time([Sequence("a", values)])
    scaling = Scaling.fit(("x",), [p.values for p in parts["train"]])
    predictor = network(1, 40, with_mask=False)
    optimizer = torch.optim.Adam(predictor.model.parameters(), 5e-3)
    train(predictor, parts["train"], scaling, epochs=150, optimizer=optimizer)
    own = evaluate_series(predictor, parts["test"], scaling)
    for fitted in fit_baselines(parts["train"], parts["valid"], scaling).values():
        other = evaluate_series(fitted, parts["test"], scaling)
        assert own["rmse/x"].value < 0.6 * other["rmse/x"].value
        assert own["log_likelihood"].value > other["log_likelihood"].value + 0.5
        assert own["crps/x"].value < 0.6 * other["crps/x"].value


def test_a_network_that_reads_what_is_missing_predicts_better_than_one_that_does_not():
    """Read as 0 without a mark, a missing value is taken for the mean."""
    draw = np.random.default_rng(0)
    made = [autoregression(600, k, coefficient=0.95).reshape(-1, 1) for k in range(30)]
    parts = [Part(str(k), np.where(draw.random(x.shape) < 0.3, np.nan, x)) for k, x in enumerate(made)]
    scaling = Scaling.fit(("x",), [p.values for p in parts[:20]])
    scores = []
    for with_mask in (True, False):
        predictor = network(1, 16, with_mask=with_mask)
        optimizer = torch.optim.Adam(predictor.model.parameters(), 0.01)
        train(predictor, parts[:20], scaling, epochs=25, optimizer=optimizer)
        scores.append(score_steps(predictor, parts[20:], scaling).log_prob.mean())
    assert scores[0] > scores[1] + 0.02


@pytest.mark.parametrize("output", ["full", "diagonal", "mixture"])
def test_hessian_free_steps_go_down(output):
    draw = np.random.default_rng(0)
    x = np.column_stack([autoregression(200, k) for k in range(2)])
    parts = [Part("a", np.where(draw.random(x.shape) < 0.1, np.nan, x))]
    scaling = Scaling.fit(("x", "y"), [x])
    predictor = network(2, 6, with_mask=True, output=output)
    (segment,) = SeriesStreams(parts, scaling, 4, 500, with_mask=True)
    operator = GaussNewton(
        predictor.model, segment.inputs, segment.targets, None, segment.starts, segment.mask
    )
    optimizer = HessianFree(predictor.model.parameters(), 1.0)
    losses = [operator.loss()]
    for _ in range(8):
        optimizer.step(operator)
        losses.append(operator.loss())
    assert all(b <= a for a, b in pairwise(losses))
    assert losses[-1] < losses[0] - 0.3


def test_from_a_file_to_scores(tmp_path):
    """Missing cells, a time, a constant column: finite and right all the way."""
    draw = np.random.default_rng(0)
    x, y = (autoregression(4000, k, coefficient=0.6, deviation=2.0, mean=100.0) for k in (4, 5))
    rows = ["time,x,flat,y"]
    for t, (one, other) in enumerate(zip(x.tolist(), y.tolist(), strict=True)):
        cells = [repr(one), "7", repr(other)]
        rows.append(",".join([str(t), *("" if draw.random() < 0.05 else cell for cell in cells)]))
    path = tmp_path / "sensor.csv"
    path.write_text("\n".join(rows) + "\n")
    read = read_series(path)
    assert read.columns == ("x", "flat", "y")
    data = split(read)
    assert data.details["missing"] is True
    assert data.details["notices"] == [
        "column 'time' is the time and left out",
        "constant in training and left out: 'flat'",
    ]
    scaling = Scaling.fit(tuple(data.details["columns"]), [part.values for part in data.train])
    predictor = network(2, 8, with_mask=True)
    optimizer = torch.optim.Adam(predictor.model.parameters(), 0.01)
    train(predictor, data.train, scaling, epochs=20, optimizer=optimizer)
    own = evaluate_series(predictor, data.test, scaling)
    baselines = fit_baselines(data.train, data.valid, scaling)
    others = {name: evaluate_series(fitted, data.test, scaling) for name, fitted in baselines.items()}
    for found in (own, *others.values()):
        assert all(math.isfinite(score.value) for score in found.values())
        assert found["log_likelihood"].count == own["log_likelihood"].count
    assert own["log_likelihood"].value > others["persistence"]["log_likelihood"].value
    assert own["rmse/x"].value < 1.05 * others["var"]["rmse/x"].value
    history = select(read, scaling.columns).series[0].values
    made = forecast(predictor, history, 20, scaling, paths=200, generator=torch.Generator())
    assert np.abs(made.mean[-1] - 100).max() < 2


def test_training_is_recorded_in_the_units_of_validation() -> None:
    """Standardised and in own units, one log-likelihood differs by the logarithm of the scale."""
    values = np.random.default_rng(0).normal(5.0, 40.0, (400, 1))
    values[::7] = np.nan
    scaling = Scaling.fit(("x",), [values])
    streams = SeriesStreams([Part("a", values)], scaling, 1, 150, with_mask=True)
    data = Splits("a", (), (), (), details={"scaling": scaling.to_dict()})
    domain = domain_named("series")
    lost = [domain.lost_to_scaling(data, segment) for segment in streams]
    assert len(lost) == 3
    assert sum(lost) == pytest.approx(streams.frames * np.log(scaling.scale[0]))
    assert streams.frames == np.isfinite(values).sum()
