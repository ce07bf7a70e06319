"""An exponential average of a model's weights over updates, to be validated and kept in their place."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

AVERAGE_PREFIX = "average."


class WeightAverage:
    """Averages the trained parameters of a model over updates.

        average <- d_t average + (1 - d_t) theta,   d_t = min(decay, (t - 1) / (t + 9))

    t counts the updates; the first weights, which d_t forgets quickly, are not of much use. The average is
    nearer to the middle of the valley than its steps, which each fit one minibatch.

    Source: Polyak & Juditsky 1992, "Acceleration of stochastic approximation by averaging"; the exponential
    form as in Martens 2010, section 4.

    Args:
        model: whose parameters are averaged; its buffers do not change in training.
        decay: in [0, 1).

    Example:
        >>> layer = nn.Linear(1, 1, bias=False)
        >>> average = WeightAverage(layer, decay=0.5)
        >>> for value in (0.0, 1.0, 1.0):
        ...     _ = nn.init.constant_(layer.weight, value)
        ...     average.update()
        >>> with average.in_place():
        ...     inside = layer.weight.item()
        >>> f"{inside:.4f}", layer.weight.item()
        ('0.9848', 1.0)
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self._parameters = dict(model.named_parameters())
        self._average = {name: p.detach().clone() for name, p in self._parameters.items()}

    def update(self) -> None:
        """Take the weights as they are now into the average."""
        self.updates += 1
        decay = min(self.decay, (self.updates - 1) / (self.updates + 9))
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                self._average[name].lerp_(parameter, 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model has the averaged weights inside the `with` block."""
        own = {name: p.detach().clone() for name, p in self._parameters.items()}
        self._set(self._average)
        try:
            yield
        finally:
            self._set(own)

    def _set(self, values: dict[str, Tensor]) -> None:
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(values[name])

    def tensors(self) -> dict[str, Tensor]:
        """The averages by name, for a checkpoint; with `updates` they are all of the state."""
        return {f"{AVERAGE_PREFIX}{name}": x.clone() for name, x in self._average.items()}

    def restore(self, tensors: dict[str, Tensor], updates: int) -> None:
        """Go on from what `tensors` gave."""
        self.updates = updates
        self._average = {
            name: tensors[f"{AVERAGE_PREFIX}{name}"].to(p.device, copy=True)
            for name, p in self._parameters.items()
        }
