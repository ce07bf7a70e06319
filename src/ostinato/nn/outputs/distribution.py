"""What the distributions of all outputs have in common with those of `torch.distributions`.

Shapes: batch and event shapes as `torch.distributions` has them.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Self

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from ostinato.nn.kernels.operator import eager


def check_real(name: str, tensor: Tensor) -> None:
    """Refuse integers and complex numbers, which some operations would take for something.

    Raises:
        ValueError: the tensor has such numbers.

    Example:
        >>> check_real("logits", torch.zeros(2, dtype=torch.complex64))
        Traceback (most recent call last):
        ...
        ValueError: expected logits of a real floating-point type, found torch.complex64
    """
    if not tensor.is_floating_point():
        raise ValueError(f"expected {name} of a real floating-point type, found {tensor.dtype}")


def check_ids(targets: Tensor, hidden: Tensor | None = None) -> None:
    """Refuse targets that are no whole numbers, or of other states: they would be cut off, or paired wrongly.

    Args:
        targets: token ids.
        hidden: the states (..., H) of which every one has a target; None to ask for the type alone.

    Raises:
        ValueError: their type has other numbers, or they are more or fewer than the states.

    Example:
        >>> check_ids(torch.zeros(3, dtype=torch.int64), torch.zeros(4, 5))
        Traceback (most recent call last):
        ...
        ValueError: expected token ids of shape (4,), one for each hidden state, found (3,)
    """
    if targets.is_floating_point() or targets.is_complex():
        raise ValueError(f"expected token ids of an integer type, found {targets.dtype}")
    if hidden is not None and targets.shape != hidden.shape[:-1]:
        raise ValueError(
            f"expected token ids of shape {tuple(hidden.shape[:-1])}, one for each hidden state, found "
            f"{tuple(targets.shape)}"
        )


# Whether targets have been looked at where they came in.
_SEEN: ContextVar[bool] = ContextVar("seen", default=False)


@contextmanager
def seen_targets() -> Iterator[None]:
    """Inside, layers take targets for what they ought to be: whoever gives them has looked at them before.

    Example:
        >>> with seen_targets():
        ...     check_binary(torch.tensor([9]))
    """
    token = _SEEN.set(True)
    try:
        yield
    finally:
        _SEEN.reset(token)


def looks_at(targets: Tensor) -> bool:
    """Whether a layer looks at the targets it is given: where it can, and nobody has (`seen_targets`)."""
    # a compiler knows nothing of the variable, and does not come to it
    return eager(targets) and not _SEEN.get()


def check_binary(targets: Tensor, *, shares: bool = False) -> None:
    """Refuse targets that are no frames: a layer's `nll` would take a byte of 9 for a probability of 9.

    For when it looks see `looks_at`.

    Args:
        targets: of zeros and ones.
        shares: whether what lies between is a probability, and has a meaning.

    Raises:
        ValueError: there are other numbers in them.

    Example:
        >>> check_binary(torch.tensor([0.0, 0.5]), shares=True)
        >>> check_binary(torch.tensor([0.0, 0.5]))
        Traceback (most recent call last):
        ...
        ValueError: expected frames of 0 and 1, found 0.5
    """
    if not looks_at(targets) or targets.numel() == 0:
        return
    if targets.dtype in (torch.uint8, torch.bool):
        if targets.dtype is torch.bool or int(targets.max()) <= 1:
            return
    elif targets.is_complex():
        raise ValueError(f"expected frames of 0 and 1, found {targets.dtype}")
    elif shares and targets.is_floating_point():
        low, high = targets.detach().aminmax()
        if low >= 0 and high <= 1:
            return
    wrong = ~((targets >= 0) & (targets <= 1)) if shares else (targets != 0) & (targets != 1)
    if found := targets[wrong].tolist():
        between = ", or probabilities" if shares else ""
        raise ValueError(f"expected frames of 0 and 1{between}, found {found[0]:g}")


# A logit of what is certain: exp(-LOGIT) is 0, and other terms of a logit do not come near it.
CERTAIN = 1000.0


def settled(logits: Tensor, certain: Tensor, values: Tensor) -> Tensor:
    """Logits (..., V), those of notes that are `certain` so large that these have their `values`.

    Example:
        >>> settled(torch.zeros(3), torch.tensor([True, True, False]), torch.tensor([1, 0, 0]))
        tensor([ 1000., -1000.,     0.])
    """
    return torch.where(certain, CERTAIN * (2 * values.to(logits.dtype) - 1), logits)


class OutputDistribution(Distribution):
    """A distribution of what comes next, as an output layer returns it.

    A subclass says in `_parameters` which of its tensors have the batch's shape in front, with the number of
    dimensions that follow; and in `_log_prob` what the log-probability of a value is.

    Arguments are checked as by `torch.distributions`: parameters when it is made, values when they are
    scored, unless `validate_args` says otherwise. A layer's own distributions check values alone: parameters
    that training has made infinite show in its loss. Numbers are not checked where they cannot be looked at:
    under transforms of `torch.func`, compilers and fake tensors.
    """

    exact = True
    _parameters: Mapping[str, int] = {}

    def __init__(
        self, batch_shape: torch.Size, event_shape: torch.Size, validate_args: bool | None = None
    ) -> None:
        own = [getattr(self, name) for name in self._parameters]
        for name, tensor in zip(self._parameters, own, strict=True):
            check_real(name.lstrip("_"), tensor)
        seen = eager(*own)
        super().__init__(batch_shape, event_shape, validate_args if seen else False)
        if not seen:
            self._validate_args = Distribution._validate_args if validate_args is None else validate_args

    @classmethod
    def of_layer(cls, *arguments: Any) -> Self:
        """From arguments that need no check."""
        kind: Any = cls  # subclasses take parameters, not shapes
        made: Self = kind(*arguments, validate_args=False)
        made._validate_args = Distribution._validate_args
        return made

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-probability of a value in nats, of the shape that its batch and this one broadcast to.

        Raises:
            ValueError: the value has another shape, or is not in the support.
        """
        if value.is_complex():
            raise ValueError(f"expected a real value, found {value.dtype}")
        if self._validate_args:
            self._validate_sample(value)
        return self._log_prob(value)

    def _log_prob(self, value: Tensor) -> Tensor:
        raise NotImplementedError

    def _validate_sample(self, value: Tensor) -> None:
        if eager(value):
            super()._validate_sample(value)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Self:
        """The same distribution for a larger batch, without copies: as `Tensor.expand`."""
        shape = torch.Size(batch_shape)
        new: Self = self._get_checked_instance(type(self), _instance)
        new.__dict__.update(self.__dict__)
        for name, dims in self._parameters.items():
            own: Tensor = getattr(self, name)
            new.__dict__[name] = own.expand(shape + own.shape[own.dim() - dims :])
        new._batch_shape = shape
        return new

    def _leading(self, *values: Tensor) -> torch.Size:
        """What the batch and values' dimensions in front of an event's broadcast to."""
        own = (value.shape[: value.dim() - len(self.event_shape)] for value in values)
        return torch.broadcast_shapes(*own, self.batch_shape)


class BinaryFrames(OutputDistribution):
    """Frames of V binary notes."""

    support = constraints.independent(constraints.boolean, 1)

    def _validate_sample(self, value: Tensor) -> None:
        # bytes, as frames are kept, in one pass; whatever is odd about them is then found by torch
        if eager(value) and value.dtype in (torch.uint8, torch.bool) and value.numel() > 0:
            whole = (*self.batch_shape, *self.event_shape)[-value.dim() :]
            alike = value.dim() > 0 and value.shape[-1:] == self.event_shape
            fits = alike and all(
                1 in (i, j) or i == j for i, j in zip(reversed(value.shape), reversed(whole), strict=False)
            )
            if fits and (value.dtype is torch.bool or int(value.max()) <= 1):
                return
        super()._validate_sample(value)

    @property
    def variance(self) -> Tensor:
        """Variance of each note, p (1 - p), shape (..., V); as exact as `mean` is."""
        p = self.mean
        return p * (1 - p)
