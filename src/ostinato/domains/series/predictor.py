"""What is scored and forecasts: called like a `SequenceModel`, and saying what it reads.

Shapes: T time, B streams, D columns, I inputs, L layers, H hidden.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ostinato.domains.series.scaling import Scaling
from ostinato.domains.series.streams import encode
from ostinato.nn import SequenceModel
from ostinato.nn.devices import device_of

# Steps of one series at a time: bounds memory, and changes nothing else.
CHUNK = 1000


class Density(Protocol):
    """A distribution over the D values of a step, as scoring and forecasting ask; see `outputs.Gaussian`."""

    @property
    def mean(self) -> Tensor:
        """(..., D)."""

    def log_prob(self, value: Tensor) -> Tensor:
        """Of the values that are not NaN, (...)."""

    def value_log_probs(self, value: Tensor) -> Tensor:
        """Of each value by itself, (..., D); 0 where it is NaN."""

    def cdf(self, value: Tensor) -> Tensor:
        """Of each value by itself, (..., D)."""

    def crps(self, value: Tensor) -> Tensor:
        """Of each value by itself, (..., D)."""

    def sample(self, sample_shape: Any = (), *, generator: torch.Generator | None = None) -> Tensor:
        """Draw steps."""


class SeriesPredictor(Protocol):
    """A model or a baseline: predicts standardised values from what `encode` makes of those before.

    States are tensors whose second dimension is that of the streams, or None at the beginning.
    """

    @property
    def with_mask(self) -> bool:
        """Whether it reads which values are observed, after the values."""

    @property
    def dtype(self) -> torch.dtype:
        """Of what it reads and of the targets it is asked about."""

    @property
    def device(self) -> torch.device:
        """Where it computes."""

    def __call__(
        self, inputs: Tensor, states: Tensor | None = None, starts: Tensor | None = None
    ) -> tuple[Density, Tensor]:
        """The distribution of every next step, and the states after the last."""


@dataclass(frozen=True)
class SeriesModel:
    """A `SequenceModel` of series, with what its inputs are.

    Arguments:
        model: its RNN reads D numbers, or 2 D with the mask; its output is over D values.
        with_mask: whether it reads which values are observed.

    Example:
        >>> from ostinato.nn import RNN
        >>> from ostinato.nn.outputs import Gaussian
        >>> predictor = SeriesModel(SequenceModel(RNN(4, 8), Gaussian(8, 2)), with_mask=True)
        >>> predictor(torch.zeros(5, 3, 4))[0].mean.shape
        torch.Size([5, 3, 2])
    """

    model: SequenceModel
    with_mask: bool

    @property
    def dtype(self) -> torch.dtype:
        """Of its inputs."""
        return next(self.model.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """Of its inputs."""
        return device_of(self.model)

    def __call__(
        self, inputs: Tensor, states: Tensor | None = None, starts: Tensor | None = None
    ) -> tuple[Density, Tensor]:
        """See `SeriesPredictor`."""
        distribution, last = self.model(inputs, states, starts)
        return distribution, last


def walk(
    predictor: SeriesPredictor, values: np.ndarray, scaling: Scaling
) -> Iterator[tuple[Density, Tensor, Tensor]]:
    """Along one series (T, D) in its own units, or several at once (T, B, D), piece by piece, states carried.

    Yields:
        The distributions of some steps, (t, B, D), their standardised values, (t, B, D), and the states after
        the last of them, which has not been read.
    """
    scaled = torch.from_numpy(scaling.apply(values)).to(predictor.device, predictor.dtype)
    scaled = scaled.unsqueeze(1) if scaled.dim() == 2 else scaled
    previous = torch.cat([torch.zeros_like(scaled[:1]), scaled[:-1]])
    starts = torch.zeros(*scaled.shape[:2], dtype=torch.bool, device=scaled.device)
    starts[:1] = True
    inputs = encode(previous, starts, with_mask=predictor.with_mask)
    states = None
    for begin in range(0, len(scaled), CHUNK):
        part = slice(begin, begin + CHUNK)
        with torch.no_grad():
            distribution, states = predictor(inputs[part], states, starts[part])
        yield distribution, scaled[part], states
