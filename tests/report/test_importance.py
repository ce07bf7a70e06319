"""fANOVA against Optuna's, its intervals, and rankings of searches whose score is a known function."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import RandomForestRegressor

from ostinato.report import fanova, study_charts
from ostinato.report.importance import FEWEST_TRIALS, importances, in_words
from ostinato.report.records import StudyRecord, read_study

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "importance.py"
_spec = importlib.util.spec_from_file_location("importance_benchmark", BENCHMARK)
benchmark = importlib.util.module_from_spec(_spec)


@pytest.fixture(scope="module", autouse=True)
def _loaded():
    import sys

    sys.modules[_spec.name] = benchmark  # its dataclasses look themselves up
    _spec.loader.exec_module(benchmark)
    yield
    del sys.modules[_spec.name]


def test_shares_of_a_tree_are_optunas():
    from optuna.importance._fanova._tree import _FanovaTree

    rng = np.random.default_rng(0)
    inputs = rng.random((30, 3))
    scores = inputs[:, 0] ** 2 + inputs[:, 1] * inputs[:, 2]
    forest = RandomForestRegressor(n_estimators=4, random_state=0).fit(inputs, scores)
    axes, spans = [fanova.Axis(inputs[:, j]) for j in range(3)], np.array([[0.0, 1.0]] * 3)
    for tree in forest.estimators_:
        theirs = _FanovaTree(tree.tree_, spans)
        expected = [theirs.get_marginal_variance(np.array([j])) / theirs.variance for j in range(3)]
        assert fanova.tree_shares(tree.tree_, axes, spans) == pytest.approx(expected)


def test_a_choice_counts_by_its_cells_and_not_by_its_distance():
    """With scores by choice alone, in equal numbers, the choice explains all, and the cells are equal."""
    kind = np.repeat([0.0, 1.0, 2.0, 3.0], 10)
    other = np.tile(np.linspace(0, 1, 10), 4)
    scores = np.array([5.0, 0.0, 0.0, 0.0])[kind.astype(int)]
    found = fanova.shares([fanova.Axis(kind, 4), fanova.Axis(other)], scores, trees=20)
    assert found.mean == pytest.approx([1, 0])
    assert found.explained == pytest.approx(1)


def test_shares_of_a_sum_are_those_of_its_terms():
    """Of 2 a + b over the unit square, a explains 4/5 and b 1/5."""
    rng = np.random.default_rng(1)
    a, b = rng.random((2, 1500))
    found = fanova.shares([fanova.Axis(a), fanova.Axis(b)], 2 * a + b, trees=30)
    assert found.mean == pytest.approx([0.8, 0.2], abs=0.02)


@pytest.mark.slow
def test_errors_are_those_of_repeated_searches():
    """The standard error that one search states is the spread of the share over many searches."""
    stated, shares = [], []
    for seed in range(30):
        a, b = np.random.default_rng(seed).random((2, 40))
        found = fanova.shares([fanova.Axis(a), fanova.Axis(b)], 2 * a + b, trees=200)
        stated.append(found.error(0))
        shares.append(found.mean[0])
    assert 0.5 < np.mean(stated) / np.std(shares) < 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "case", ["slopes, 4 to 1", "a hill of the other", "a choice above", "noise, a third"]
)
def test_settings_are_ranked_right_or_not_at_all(case):
    found = [benchmark.verdict(benchmark.CASES[case], 40, seed) for seed in range(5)]
    assert found.count("right") >= 4
    assert "wrong" not in found
    few = [benchmark.verdict(benchmark.CASES[case], 12, seed) for seed in range(5)]
    assert "wrong" not in few


def test_noise_has_no_order():
    rng = np.random.default_rng(0)
    sure = 0
    for _ in range(5):
        trials = [
            {
                "number": n,
                "state": "complete",
                "value": rng.normal(),
                "params": {"a": rng.random(), "b": rng.random()},
            }
            for n in range(30)
        ]
        found = importances(StudyRecord("s", Path("s"), {}, "", trials))
        sure += bool(found.sure)
        assert found.sure or "cannot tell" in found.doubt
    assert sure <= 1


def test_the_setting_that_matters_is_surely_the_most_important(make_study):
    study = read_study(make_study(), "study")
    found = importances(study)
    assert found.settings[0].name == "learning_rate"
    assert ("learning_rate", "hidden_size") in found.sure
    assert all(own.low <= own.share <= own.high for own in found.settings)
    chart = study_charts.importance(study, "key")
    (bars,) = chart.figure["data"]
    assert bars["y"][-1] == "learning_rate"
    assert bars["x"][-1] + bars["error_x"]["array"][-1] == pytest.approx(found.settings[0].high)
    assert chart.summary.startswith("Sure: learning_rate matters more than")


def test_too_few_trials_are_said_to_be_so(make_study):
    study = read_study(make_study(FEWEST_TRIALS - 1, "small"), "small")
    found = importances(study)
    assert (found.settings, found.sure) == ((), ())
    assert (
        in_words(found)
        == f"{FEWEST_TRIALS - 1} complete trials cannot tell; it takes {FEWEST_TRIALS} or more"
    )
    chart = study_charts.importance(study, "key")
    assert chart.figure["data"] == []
    assert "cannot tell" in chart.summary
    assert "cannot tell" in chart.figure["layout"]["annotations"][0]["text"].replace("<br>", " ")


def test_equal_scores_and_a_lone_setting_have_no_chart_to_read():
    def record(values, names):
        trials = [
            {"number": n, "state": "complete", "value": value, "params": {name: float(n) for name in names}}
            for n, value in enumerate(values)
        ]
        return StudyRecord("s", Path("s"), {}, "", trials)

    assert importances(record([1.0] * 20, "ab")).doubt == "all complete trials have the same score"
    assert importances(record(np.arange(20.0), "a")) is None


def test_pruned_and_failed_trials_do_not_count(make_study):
    study = read_study(make_study(), "study")
    before = importances(study)
    study.trials.append(
        {"number": 99, "state": "pruned", "value": -500.0, "params": study.trials[0]["params"]}
    )
    assert importances(study) == before
