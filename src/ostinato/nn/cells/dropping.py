"""Dropout in a recurrent module: between layers, of what goes in, of what comes out, and of the states.

    drop(x) = x m / (1 - p),   every m is 0 with probability p, else 1

While training only; the expected value of what is dropped stays as it is.

Shapes: T time, B streams, H hidden, P outputs, K blocks of H rows in a weight matrix.
"""

from typing import Any, Protocol

import torch
from torch import Tensor

from ostinato.nn.kernels.projection import TOKEN_TYPES, embed
from ostinato.recipe.core import DROPOUTS as DROPOUTS


def acting(module: Any) -> dict[str, float]:
    """The probabilities of a module's dropouts that act now, by name: none where it is not training.

    Example:
        >>> from ostinato.nn import RNN
        >>> acting(RNN(3, 5, output_dropout=0.5)), acting(RNN(3, 5, output_dropout=0.5).eval())
        ({'output_dropout': 0.5}, {})
    """
    if not module.training:
        return {}
    found = {name: float(getattr(module, name, 0.0)) for name in DROPOUTS}
    return {name: value for name, value in found.items() if value > 0}


def dropped(x: Tensor, probability: float, generator: torch.Generator | None) -> Tensor:
    """x with each of its numbers dropped with this probability, the others scaled up.

    Example:
        >>> dropped(torch.ones(2), 0.0, None), dropped(torch.ones(2), 1.0, None)
        (tensor([1., 1.]), tensor([0., 0.]))
    """
    if probability == 0:
        return x
    if probability == 1:
        return torch.zeros_like(x)
    place = x.device if generator is None else generator.device
    drawn = torch.empty_like(x, device=place).bernoulli_(1 - probability, generator=generator)
    return x * drawn.to(x.device) / (1 - probability)


class _Module(Protocol):
    """What the mixin finds in a module."""

    training: bool
    generator: torch.Generator | None
    token_inputs: bool

    def _own(self, name: str) -> Any: ...


class Dropping:
    """The dropouts of a recurrent stack besides the one between layers, which also act with one layer.

    - `input_dropout`: of the numbers that the first layer reads; of tokens, of the K H numbers that their
      embedding gives the first layer, each step anew.
    - `output_dropout`: of the outputs of the last layer, each step anew; the state that is carried keeps all.
    - `recurrent_dropout`: of the states as the recurrent weights W_hh read them: a unit that is dropped is
      dropped for all steps and streams of a call, so that W_hh loses the same columns everywhere. What a
      leak, or a gate, keeps of the state is not dropped.

    Sources: Zaremba, Sutskever & Vinyals 2014 (arXiv 1409.2329) for inputs and outputs; Gal & Ghahramani
    2016 (arXiv 1512.05287) for one mask over all steps.
    """

    input_dropout: float
    output_dropout: float
    recurrent_dropout: float
    _columns: dict[str, Tensor]

    def _register_dropouts(self, **probabilities: float) -> None:
        for name, value in probabilities.items():
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not 0 <= float(value) <= 1:
                raise ValueError(f"{name} should be a probability in [0, 1], got {value!r}")
            setattr(self, name, float(value))
        self._columns = {}

    def _begin_dropping(self: Any) -> None:
        """Another call begins: other units are dropped."""
        if self._columns:
            self._columns = {}

    def _input(self: Any, below: Tensor) -> Tensor:
        """What the first layer reads, (T, B, I), some of it dropped; tokens as they are: see `_embedded`."""
        if self.embedding_size is not None:
            rows = self._own("embedding")
            below = embed(below, rows, None, sparse=self.sparse and rows.is_leaf)
        if (
            not self.training
            or self.input_dropout == 0
            or (self.token_inputs and not below.is_floating_point())
        ):
            return below
        if below.dtype in TOKEN_TYPES:
            raise ValueError("input_dropout of token ids is for modules with token_inputs=True")
        if not below.is_floating_point():
            below = below.to(self._own("weight_hh_l0").dtype)
        return dropped(below, self.input_dropout, self.generator)

    def _output(self: Any, out: Tensor) -> Tensor:
        """The last layer's outputs, some of them dropped."""
        return dropped(out, self.output_dropout, self.generator) if self.training else out

    def _recurrent(self: Any, name: str, weight: Tensor | None = None) -> Tensor:
        """The recurrent weights (K H, P) of a name, without the columns of units that are dropped.

        Args:
            name: of the parameter.
            weight: what is made of it, if that is something else.
        """
        found: Tensor = self._own(name) if weight is None else weight
        if not self.training or self.recurrent_dropout == 0:
            return found
        if name not in self._columns:
            ones = torch.ones_like(found[0], requires_grad=False)
            self._columns[name] = dropped(ones, self.recurrent_dropout, self.generator)
        return found * self._columns[name]
