"""Every problem is what its source says, is judged as it says, and can be trained on."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Normal

import ostinato
from ostinato.domains.delays.arithmetic import Arithmetic
from ostinato.domains.delays.evaluation import chance, score_task
from ostinato.domains.delays.problems import find_task, names
from ostinato.domains.delays.symbols import Permutation, Recall, TemporalOrder3
from ostinato.errors import UserError
from ostinato.recipe.recipe import Recipe

NUMBERS = ("addition", "multiplication", "addition-distractors")


@given(st.integers(10, 120), st.integers(1, 20), st.integers(0, 1000))
def test_three_symbols_come_in_their_tenths(length: int, sequences: int, seed: int) -> None:
    batch = TemporalOrder3(length).generate(sequences, np.random.default_rng(seed))
    tenth = length // 10
    for b in range(sequences):
        places = (batch.inputs[:, b] < 2).nonzero().flatten().tolist()
        assert [place // tenth for place in places] == [1, 3, 6]
        a, b_, c = batch.inputs[places, b].tolist()
        assert int(batch.targets[-1, b]) == 4 * a + 2 * b_ + c
    assert batch.mask.sum() == sequences


@given(st.integers(10, 60), st.integers(1, 20), st.integers(0, 1000))
def test_a_permutation_begins_with_what_is_asked(length: int, sequences: int, seed: int) -> None:
    batch = Permutation(length).generate(sequences, np.random.default_rng(seed))
    assert bool((batch.inputs[0] < 2).all())
    assert 2 <= int(batch.inputs[1:].min()) <= int(batch.inputs[1:].max()) < 100
    assert batch.targets[-1].equal(batch.inputs[0])


@pytest.mark.parametrize(("name", "values"), [("memorization-20", 5), ("copy", 8)])
def test_a_string_is_asked_for_after_its_delay(name: str, values: int) -> None:
    batch = find_task(name, 30).generate(500, np.random.default_rng(0))
    assert batch.inputs.shape == (50, 500)
    strings = batch.inputs[:10]
    assert sorted(strings.unique().tolist()) == [*range(values)]
    assert batch.targets[-10:].equal(strings)
    assert bool((batch.targets[:-10] == values).all())
    assert (batch.inputs == values + 1).nonzero()[:, 0].unique().tolist() == [39]
    assert batch.judged.nonzero().flatten().tolist() == [*range(40, 50)]


@pytest.mark.parametrize("name", NUMBERS)
def test_the_answer_is_that_of_the_marked_numbers(name: str) -> None:
    batch = find_task(name, 40).generate(300, np.random.default_rng(0))
    values, marks = batch.inputs.unbind(-1)
    assert 0 <= float(values.min()) < float(values.max()) < 1
    for b in range(300):
        first, second = (marks[:, b] == 1).nonzero().flatten().tolist()
        assert 0 <= first < 4 <= second < 20
        pair = values[[first, second], b]
        wanted = pair.prod() if name == "multiplication" else pair.mean()
        assert float(batch.targets[-1, b, 0]) == pytest.approx(float(wanted), abs=1e-6)
    others = int((marks == -1).sum()) / (300 * 38)
    assert others == pytest.approx(0.1 if name == "addition-distractors" else 0.0, abs=0.01)


@pytest.mark.parametrize("name", names())
def test_guessing_is_as_wrong_as_is_said(name: str) -> None:
    task = find_task(name, 10)
    batch = task.generate(100_000, np.random.default_rng(1))
    answers = batch.targets[batch.judged]
    if name in NUMBERS:
        found = Normal(torch.full_like(batch.targets, float(answers.mean())), 1.0)
        share = float(task.criteria["error"].wrong(found, batch.targets)[-1].double().mean())
    else:
        # of what occurs: one of two first symbols of a hundred, say
        share = 1 - float(torch.unique(answers, dim=1, return_counts=True)[1].double().mean()) / 100_000
    rough = 0.01 if name in NUMBERS else 1e-9 if name.startswith(("temporal", "memorization")) else 0.0
    if name not in ("copy", "memorization-20"):  # no string comes twice
        assert share == pytest.approx(task.guessed_wrong, abs=max(rough, 1e-9))
    assert chance(task)["error"].value == 100 * task.guessed_wrong


def test_strings_that_nobody_can_guess() -> None:
    assert Recall(10, "copy", 8, 10).guessed_wrong == 1 - 8**-10


class Said:
    """A model that says what it is told, with a mean and a variance."""

    def __init__(self, answers: torch.Tensor) -> None:
        self.answers = answers
        self.unused = torch.nn.Parameter(torch.zeros(()))

    def parameters(self):
        """One, on the CPU."""
        return iter([self.unused])

    def __call__(self, inputs, states, starts):
        """A part of the answers, in the order in which they are asked for."""
        part, self.answers = self.answers[:, : inputs.shape[1]], self.answers[:, inputs.shape[1] :]
        return torch.distributions.Independent(Normal(part, 1.0), 1), None


@pytest.mark.parametrize(("distance", "error", "off"), [(0.03, 0, 0), (0.1, 0, 100), (0.21, 100, 100)])
def test_numbers_are_judged_by_both_criteria(distance: float, error: float, off: float) -> None:
    task = Arithmetic(12, "addition")
    batch = task.generate(1500, np.random.default_rng(0))
    scores = score_task(Said(batch.targets + distance), batch, task)  # type: ignore[arg-type]
    assert (scores["error"].value, scores["off"].value) == (error, off)


def test_what_is_no_sequence_is_refused() -> None:
    task, inputs = find_task("addition", 10), np.zeros((5, 2), np.float32)
    checked = task.checked(inputs, np.array([np.nan] * 4 + [0.5], np.float32))
    assert checked[2].tolist() == [False] * 4 + [True]
    for wrong in (np.zeros((5, 3), np.float32), np.zeros((5, 2), np.int64), np.full((5, 2), np.inf)):
        with pytest.raises(UserError, match="expected"):
            task.checked(wrong, np.zeros(5))
    with pytest.raises(UserError, match="inputs"):
        find_task("permutation", 10).checked(np.full(5, 100), np.zeros(5, np.int64))


def test_what_answers_with_numbers_takes_an_output_of_numbers() -> None:
    recipe = Recipe.parse("SGD", domain="delays", data="addition")
    assert (recipe.output, recipe.covariance) == ("gaussian", "unit")
    assert Recipe.parse("SGD", domain="delays", data="copy").output == "softmax"
    with pytest.raises(UserError, match="does not fit addition; use gaussian or gaussian-mixture"):
        Recipe.parse("SGD", domain="delays", data="addition", output="softmax")
    with pytest.raises(UserError, match="does not fit delays; use"):
        Recipe.parse("SGD", domain="delays", data="copy", output="gaussian")


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("letters", ["SGD+CM", "HF"])
def test_every_problem_is_trained_on(name: str, letters: str, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("ostinato.domains.delays.problems.TEST_SEQUENCES", 60)
    settings = {"length": 10, "hidden_size": 8, "epochs": 1, "epoch_sequences": 40, "streams": 20}
    run = ostinato.train(letters, name, out=tmp_path / "run", domain="delays", **settings)
    assert np.isfinite(run.evaluate(splits=["test"]).scores["model"]["test"]["log_likelihood"].value)
    pair = (np.zeros((4, 2)), np.zeros(4)) if name in NUMBERS else (np.zeros(4, int), np.zeros(4, int))
    assert np.isfinite(run.score([pair])[0].log_probs).all()
