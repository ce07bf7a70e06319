"""Every registered output, small and in float64, with what it is asked about: a new one is asked too."""

import itertools
import typing
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from contract_rows import SETTINGS
from ostinato.nn import RNN, SequenceModel
from ostinato.nn.outputs.base import OutputSpec, make_output
from ostinato.nn.outputs.registry import OUTPUTS

DOUBLE = torch.float64
STEPS, STREAMS, HIDDEN, SIZE = 3, 2, 3, 5
FRAMES = STEPS * STREAMS


class Row(NamedTuple):
    """An output by name, and the choices that it has."""

    name: str
    choices: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        return "-".join([self.name, *(choice for _, choice in self.choices)])

    @property
    def targets(self) -> str:
        return OUTPUTS[self.name].targets

    def layer(self) -> nn.Module:
        """With weights that are nowhere special."""
        declared = OUTPUTS[self.name]
        settings = {x.name: SETTINGS.get(x.name, x.default) for x in declared.settings} | dict(self.choices)
        spec = OutputSpec(hidden_size=HIDDEN, size=SIZE, settings=settings, generator=seeded(0), dtype=DOUBLE)
        layer: nn.Module = make_output(declared, spec)
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=seeded(1), dtype=DOUBLE), alpha=0.2)
        return layer

    def values(self, *shape: int, seed: int = 3) -> Tensor:
        """What it could predict, of a batch's shape."""
        draw = seeded(seed)
        if self.targets == "category":
            return torch.randint(SIZE, shape, generator=draw)
        if self.targets == "binary":
            return (torch.rand(*shape, SIZE, generator=draw) < 0.4).to(torch.uint8)
        values = torch.randn(*shape, SIZE, generator=draw, dtype=DOUBLE)
        values.view(-1, SIZE)[0, 1] = torch.nan  # one is missing
        return values

    def model(self) -> SequenceModel:
        """On a small recurrent network that reads tokens, frames or values."""
        rnn = RNN(SIZE, HIDDEN, generator=seeded(4), dtype=DOUBLE)
        return SequenceModel(rnn, self.layer(), l1=1e-3, l2=1e-3)

    def inputs(self) -> Tensor:
        """Of the model."""
        if self.targets == "real":
            return torch.randn(STEPS, STREAMS, SIZE, generator=seeded(5), dtype=DOUBLE)
        return self.values(STEPS, STREAMS, seed=5)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def states(*shape: int) -> Tensor:
    return torch.randn(*shape, HIDDEN, generator=seeded(2), dtype=DOUBLE)


def _rows() -> list[Row]:
    found = []
    for name in OUTPUTS:
        named = [
            [(setting.name, choice) for choice in typing.get_args(setting.kind)]
            for setting in OUTPUTS[name].settings
            if typing.get_origin(setting.kind) is typing.Literal
        ]
        found += [Row(name, choices) for choices in itertools.product(*named)]
    return found


ROWS = _rows()


class Scored(nn.Module):
    """What is differentiated: a scalar or a score for each of the frames, by states and parameters."""

    def __init__(self, layer: nn.Module, by: str) -> None:
        super().__init__()
        self.layer, self.by = layer, by

    def forward(self, hidden: Tensor, values: Tensor) -> Tensor:
        if self.by == "nll":
            return self.layer.nll(hidden, values)
        return self.layer(hidden).log_prob(values)

    def of(self, values: Tensor) -> tuple[Any, tuple[Tensor, ...]]:
        """A function of states and parameters, and these."""
        names = [f"layer.{name}" for name, _ in self.layer.named_parameters()]
        point = (states(len(values)), *(p.detach().clone() for p in self.layer.parameters()))

        def function(hidden: Tensor, *parameters: Tensor) -> Tensor:
            own = dict(zip(names, parameters, strict=True))
            return torch.func.functional_call(self, own, (hidden, values))

        return function, tuple(x.requires_grad_() for x in point)
