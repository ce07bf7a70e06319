"""New sequences from a model: frame by frame, each drawn given the ones before it.

Shapes: T time, P frames of a given beginning, K sequences drawn together, V visible.
"""

from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ostinato.data.side import Reader, Side, inputs
from ostinato.domains.music.layout import is_binary
from ostinato.errors import UserError, argument
from ostinato.nn.cells.state import repeat
from ostinato.nn.devices import device_of


class Frames(Protocol):
    """A distribution over the next frame, as drawing from it asks."""

    def sample(self, sample_shape: Any = (), *, generator: torch.Generator | None = None) -> Tensor:
        """Draw frames."""

    def sample_given(
        self, fixed_mask: Tensor, fixed_values: Tensor, *, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Draw the notes that are not fixed; log-probability of those that are."""

    def tempered(self, temperature: float) -> "Frames":
        """Sharper below temperature 1, flatter above."""


class Predictor(Protocol):
    """A `SequenceModel`, a baseline, or anything called like them."""

    def __call__(self, inputs: Tensor, states: Any = None, starts: Tensor | None = None) -> tuple[Any, Any]:
        """The distribution of every next frame (a `Frames`), and the states after the last."""


def generate(
    model: Predictor,
    steps: int,
    *,
    visible_size: int = 88,
    count: int = 1,
    temperature: float = 1.0,
    prime: np.ndarray | None = None,
    side: Side | None = None,
    generator: torch.Generator,
) -> np.ndarray:
    """Draw sequences: v_t ~ p(v_t | v_1 ... v_{t-1}), exactly where the output's sampling is exact.

    Temperature divides the logits of every note's conditional probability: below 1 the draw keeps to what
    is likely, above 1 it is bolder. For independent notes that is p(v_t | ...)^(1 / temperature),
    normalised; for other outputs see their `tempered`.

    Args:
        model: what predicts the next frame.
        steps: T, frames to draw.
        visible_size: V, notes in a frame.
        count: K, independent sequences, drawn together.
        temperature: from 0.001 to 100.
        prime: a beginning (P, V) that every sequence continues; silence before the first frame by default.
        side: what is known of all P + T frames, for a model that reads it.
        generator: source of randomness.

    Returns:
        (K, P + T, V) uint8: the beginning, then what was drawn.

    Example:
        >>> from ostinato.nn import RNN, SequenceModel
        >>> from ostinato.nn.outputs import Bernoulli
        >>> model = SequenceModel(RNN(88, 10), Bernoulli(10, 88))
        >>> generate(model, 7, count=2, generator=torch.Generator().manual_seed(0)).shape
        (2, 7, 88)
    """
    if steps < 1:
        raise UserError(f"expected {argument('steps')} of at least 1, found {steps}")
    if count < 1:
        raise UserError(f"expected {argument('count')} of at least 1, found {count}")
    check_temperature(temperature)
    given = np.zeros((0, visible_size), np.uint8) if prime is None else np.asarray(prime)
    if not is_binary(given):
        raise UserError(f"expected {argument('prime')} of 0 and 1, found other values")
    given = given.astype(np.uint8)
    if given.ndim != 2 or given.shape[1] != visible_size:
        raise ValueError(f"expected a prime of shape (P, {visible_size}), got {given.shape}")
    if side is not None and len(side) != len(given) + steps:
        raise ValueError(f"expected a side of {len(given) + steps} frames, got {len(side)}")
    device = device_of(model)
    beginning = torch.from_numpy(given).unsqueeze(1).to(device)
    reader = Reader(side, count, visible_size, device)
    for frame in beginning:
        reader.add(frame.expand(count, -1))
    drawn, states = [], None
    with torch.no_grad():
        if len(given):
            # to the last frame of the beginning, which is the first step's input
            read = inputs(given, None if side is None else side[: len(given)])
            _, states = model(torch.from_numpy(read).unsqueeze(1).to(device))
            states = None if states is None else repeat(states, count)
        for _ in range(steps):
            following, states = model(reader.inputs(), states)
            drawn.append(tempered(following, temperature).sample(generator=generator)[0].to(torch.uint8))
            reader.add(drawn[-1])
    frames = torch.cat([beginning.expand(-1, count, -1), torch.stack(drawn)])
    return frames.transpose(0, 1).cpu().numpy()


def tempered(frames: Frames, temperature: float) -> Frames:
    """The distribution at a temperature; at 1 it is itself, so that an output needs no other for that."""
    return frames if temperature == 1 else frames.tempered(temperature)


def check_temperature(temperature: float) -> None:
    """A UserError where the temperature is none."""
    if not 0.001 <= temperature <= 100:
        raise UserError(f"expected {argument('temperature')} of 0.001 to 100, found {temperature:g}")
