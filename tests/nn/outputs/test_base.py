"""What an output layer is trained on: its objectives, by name."""

import pytest
import torch
from torch import Tensor

from ostinato.nn import RNN, SequenceModel
from ostinato.nn.outputs import RBM, Bernoulli
from ostinato.nn.outputs.base import (
    Cost,
    NegativeLogLikelihood,
    Objective,
    OutputSpec,
    likelihood,
    make_output,
    objective_of,
)
from ostinato.nn.outputs.registry import Output, Stage
from ostinato.recipe.setting import Setting

T, B, V, H = 5, 3, 6, 4


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rbm_model() -> tuple[SequenceModel, Tensor, Tensor]:
    """A model with the source of its random numbers as new; frames, and the states of their time steps."""
    rnn = RNN(V, H, generator=seeded(1), dtype=torch.float64)
    output = RBM(H, V, 3, cd_steps=2, generator=seeded(2), dtype=torch.float64)
    frames = (torch.rand(T, B, V, generator=seeded(3)) < 0.4).to(torch.uint8)
    hidden = rnn(frames)[0].detach().flatten(0, 1)
    rnn.generator = seeded(4)
    return SequenceModel(rnn, output), frames, hidden


def test_each_stage_of_the_rbm_costs_what_it_says_and_watches_the_same_score() -> None:
    for name, lowered, seen in (
        ("frames", RBM.training_loss, 0.0),
        ("rnn", lambda output, h, v, g: output.mean_field_loss(h, v), 1.0),
        ("joint", RBM.training_loss, 1.0),
    ):
        model, frames, hidden = rbm_model()
        loss = model.loss(frames, frames, objective=objective_of(model.output, name))
        values, draw = frames.flatten(0, 1), seeded(4)
        cost = lowered(model.output, seen * hidden, values, draw)
        torch.testing.assert_close(loss.objective, cost / (T * B))
        torch.testing.assert_close(loss.nll, -model.output.training_score(seen * hidden, values, draw))
        loss.objective.backward()
        moved = bool(model.rnn.weight_hh_l0.grad.abs().sum() > 0)
        assert moved == (name != "frames")
    assert model.score_name == "pseudo_log_likelihood"


def test_what_is_not_said_is_the_likelihood() -> None:
    output = Bernoulli(H, V, generator=seeded())
    hidden, values = torch.randn(7, H, generator=seeded()), torch.ones(7, V, dtype=torch.uint8)
    cost = objective_of(output).cost(hidden, values, None)
    torch.testing.assert_close(cost.loss, output.nll(hidden, values))
    assert cost.loss is cost.nll
    assert objective_of(output) == likelihood(output)
    assert objective_of(output) != likelihood(Bernoulli(H, V, generator=seeded()))
    assert objective_of(output).cost == NegativeLogLikelihood(output)


class Patient(Bernoulli):
    """With a stage of pre-training, and training at the end on -log p."""

    def ones(self, hidden: Tensor, values: Tensor, generator: torch.Generator | None) -> Cost:
        nll = self.nll(hidden, values)
        return Cost(self.nll(hidden, torch.ones_like(values)), nll)

    @property
    def objectives(self) -> tuple[Objective, ...]:
        return (Objective("ones", self.ones),)


EPOCHS = Setting("ones_epochs", int, 0, "Output", "first epochs")


def test_an_output_may_have_a_stage_and_end_with_the_likelihood() -> None:
    output = Patient(H, V, generator=seeded())
    assert objective_of(output) == likelihood(output)
    assert not objective_of(output, "ones").joint
    with pytest.raises(ValueError, match="expected an objective 'twos' of Patient, found joint, ones"):
        objective_of(output, "twos")


@pytest.mark.parametrize(("stage", "fits"), [("ones", True), ("twos", False)])
def test_a_declaration_names_stages_that_there_are(stage: str, fits: bool) -> None:
    declared = Output(
        name="patient",
        place=Patient,
        targets="binary",
        settings=(EPOCHS,),
        pretraining=(Stage(stage, "ones_epochs"),),
    )
    assert declared.arguments({"ones_epochs": 2}) == {}
    spec = OutputSpec(hidden_size=H, size=V, generator=seeded(), dtype=torch.float32)
    if fits:
        assert isinstance(make_output(declared, spec), Patient)
    else:
        with pytest.raises(ValueError, match="'twos' of Patient"):
            make_output(declared, spec)
