import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.distributions import Categorical

from ostinato.domains.delays.evaluation import chance, is_solved, score_task
from ostinato.domains.delays.problems import TaskData, TaskStreams, find_task
from ostinato.domains.delays.symbols import Memorization, TemporalOrder
from ostinato.errors import UserError


@given(st.integers(10, 200), st.integers(1, 40), st.integers(0, 1000))
def test_temporal_order_is_what_it_says(length: int, sequences: int, seed: int) -> None:
    batch = TemporalOrder(length).generate(sequences, np.random.default_rng(seed))
    tenth = length // 10
    for b in range(sequences):
        symbols = batch.inputs[:, b]
        places = (symbols < 2).nonzero().flatten().tolist()
        assert len(places) == 2
        assert tenth <= places[0] < 2 * tenth
        assert 5 * tenth <= places[1] < 6 * tenth
        first, second = symbols[places].tolist()
        assert int(batch.targets[-1, b]) == 2 * first + second
    assert batch.mask.sum(0).tolist() == [1] * sequences
    assert bool(batch.mask[-1].all())


@given(st.integers(10, 100), st.integers(1, 70), st.integers(0, 1000))
def test_memorization_is_what_it_says(length: int, sequences: int, seed: int) -> None:
    batch = Memorization(length).generate(sequences, np.random.default_rng(seed))
    assert batch.inputs.shape == batch.targets.shape == (length + 10, sequences)
    assert batch.targets[-5:].equal(batch.inputs[:5])
    assert bool((batch.targets[:-5] == 2).all())
    assert (batch.inputs == 3).nonzero()[:, 0].unique().tolist() == [length + 4]
    assert batch.inputs[-5:].unique().tolist() == [2]


def test_all_32_strings_come() -> None:
    batch = Memorization(10).generate(64, np.random.default_rng(0))
    counts = torch.unique(batch.inputs[:5], dim=1, return_counts=True)[1]
    assert counts.tolist() == [2] * 32


def test_sequences_are_a_function_of_seed_epoch_and_index() -> None:
    task = TemporalOrder(30)
    one, other = (TaskStreams(task, 3000, seed=4, epoch=2)[1].inputs for _ in range(2))
    assert one.equal(other)
    assert not one.equal(TaskStreams(task, 3000, seed=4, epoch=3)[1].inputs)
    sizes = [segment.inputs.shape[1] for segment in TaskStreams(task, 3000, seed=4, epoch=2)]
    assert sizes == [3000, 3000, 3000, 1000]
    with pytest.raises(IndexError):
        TaskStreams(task, 3000, seed=4, epoch=2)[4]


def test_an_epoch_has_the_sequences_asked_for() -> None:
    streams = TaskStreams(TemporalOrder(30), 32, seed=0, epoch=0, sequences=80)
    assert [segment.inputs.shape[1] for segment in streams] == [32, 32, 16]
    data = TaskData(TemporalOrder(30), epoch_sequences=80)
    assert (data.frames("train"), data.frames("valid")) == (80, 10_000)


def test_validation_and_test_are_other_sequences() -> None:
    data = TaskData(TemporalOrder(30))
    valid, test = data.sequences("valid"), data.sequences("test")
    assert not valid.inputs.equal(test.inputs)
    assert valid.inputs.equal(data.sequences("valid").inputs)
    assert valid.inputs.shape == (30, 10_000)
    assert data.version != TaskData(TemporalOrder(31)).version


class Oracle(nn.Module):
    """Predicts the targets it is given, but for the first `wrong` sequences."""

    def __init__(self, targets: Tensor, classes: int, wrong: int) -> None:
        super().__init__()
        predicted = targets.clone()
        predicted[:, :wrong] = (predicted[:, :wrong] + 1) % classes
        self.logits, self.at = 20.0 * nn.functional.one_hot(predicted, classes), 0

    def forward(self, inputs: Tensor, states: None, starts: Tensor) -> tuple[Categorical, None]:
        first, self.at = self.at, self.at + inputs.shape[1]
        return Categorical(logits=self.logits[:, first : self.at]), None


@pytest.mark.parametrize("task", [TemporalOrder(20), Memorization(12)])
@pytest.mark.parametrize(("wrong", "solved"), [(0, True), (24, True), (25, False), (300, False)])
def test_the_criterion_is_fewer_than_one_in_a_hundred(
    task: TemporalOrder | Memorization, wrong: int, solved: bool
) -> None:
    batch = task.generate(2500, np.random.default_rng(0))
    scores = score_task(Oracle(batch.targets, task.classes, wrong), batch, task)  # type: ignore[arg-type]
    assert scores["error"].value == pytest.approx(100 * wrong / 2500)
    assert scores["error"].count == 2500
    assert is_solved(scores) is solved


def test_chance() -> None:
    assert chance(TemporalOrder(20))["error"].value == 75
    assert chance(Memorization(20))["error"].value == pytest.approx(100 * 31 / 32)


def test_unknown_tasks_are_named() -> None:
    with pytest.raises(UserError, match="memorization"):
        find_task("memorisation", 50)
