"""Clipping of the gradient's norm, and the rule that finds its threshold."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ostinato.errors import UserError


@dataclass(frozen=True)
class ClipResult:
    """What `clip_grad_norm` found.

    Attributes:
        norm: The norm ||g|| before clipping; NaN or infinite where the gradient is.
        clipped: Whether the gradients were scaled down.
    """

    norm: float
    clipped: bool

    @property
    def finite(self) -> bool:
        """Whether the gradient may be used; if not, skip the optimizer's step and say where it came from."""
        return math.isfinite(self.norm)


@torch.no_grad()
def clip_grad_norm(
    parameters: Tensor | Iterable[Tensor],
    threshold: float | None,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> ClipResult:
    """Scale all gradients together so that their norm is at most the threshold.

        g <- g * threshold / ||g||   if ||g|| > threshold

    ||g|| is the norm over all parameters together, each counted once, the Euclidean one unless `norm_type`
    says another. Where the squares of a float32 gradient would overflow or vanish it is accumulated in
    float64. A gradient with a NaN or an infinite entry is left as it is and reported by `finite`: no scaling
    makes it usable, so the step must be skipped. (One number is read back from the device per call; a loop
    that must not take such a step needs that answer anyway.)

    Source: Pascanu, Mikolov, Bengio 2012, "On the difficulty of training recurrent neural networks".
    `torch.nn.utils.clip_grad_norm_` has the same arguments. It scales by threshold / (||g|| + 1e-6), takes
    the norm in the gradients' own precision, and returns it.

    Args:
        parameters: Tensors whose `grad` is looked at, and scaled in place, or a single one; those without a
            gradient are passed over.
        threshold: The largest norm, above 0; None measures and scales nothing.
        norm_type: p of the p-norm (sum_i |g_i|^p)^(1/p), above 0; infinity for the largest entry.
        error_if_nonfinite: Raise rather than report a norm that is not finite.
        foreach: False goes tensor by tensor, with more calls and less memory; but for rounding it is the
            same.

    Raises:
        UserError: The threshold or `norm_type` is not a positive number.
        RuntimeError: The norm is not finite, and `error_if_nonfinite`; nothing was changed.

    Example:
        >>> weight = torch.zeros(2, requires_grad=True)
        >>> weight.grad = torch.tensor([3.0, 4.0])
        >>> clip_grad_norm([weight], 2.5)
        ClipResult(norm=5.0, clipped=True)
        >>> weight.grad
        tensor([1.5000, 2.0000])
    """
    threshold = float(threshold) if isinstance(threshold, Tensor) else threshold
    if threshold is not None and not threshold > 0:
        raise UserError(f"expected a clipping threshold above 0, found {threshold}; leave it out not to clip")
    if not norm_type > 0:
        raise UserError(f"expected a norm_type above 0, found {norm_type}; 2 is the Euclidean norm")
    gradients = _gradients(parameters)
    together = [gradients] if foreach is not False else [[g] for g in gradients]
    norm = _total((_norm(part, norm_type) for part in together), norm_type)
    if error_if_nonfinite and not math.isfinite(norm):
        raise RuntimeError(
            f"the norm of the gradients is {norm}, which no clipping makes usable; without "
            "error_if_nonfinite it is reported instead"
        )
    clipped = threshold is not None and math.isfinite(norm) and norm > threshold
    if clipped and threshold is not None:
        for part in together:
            _scale(part, threshold, norm)
    return ClipResult(norm, clipped)


def grad_norm(parameters: Tensor | Iterable[Tensor]) -> float:
    """The Euclidean norm of all gradients together, as `clip_grad_norm` takes it.

    Example:
        >>> weight = torch.zeros(2, requires_grad=True)
        >>> weight.grad = torch.tensor([3e30, 4e30])
        >>> f"{grad_norm([weight]):.6g}"
        '5e+30'
    """
    return clip_grad_norm(parameters, None).norm


class AverageNorm:
    """The threshold rule: the average norm of the gradient over one pass through the data.

        threshold = (1 / n) sum_i ||g_i||

    Norms that are not finite are counted, not averaged.

    Source: Bengio, Boulanger-Lewandowski, Pascanu 2012, "Advances in Optimizing Recurrent Networks".

    Attributes:
        count: Norms averaged.
        skipped: Norms that were not finite.

    Example:
        >>> average = AverageNorm()
        >>> for norm in (1.0, 2.0, float("inf")):
        ...     average.add(norm)
        >>> average.value, average.skipped
        (1.5, 1)
    """

    def __init__(self) -> None:
        self.total = 0.0
        self.count = 0
        self.skipped = 0

    def add(self, norm: float) -> None:
        """Take the norm of one more gradient into account."""
        if math.isfinite(norm):
            self.total += norm
            self.count += 1
        else:
            self.skipped += 1

    @property
    def value(self) -> float:
        """The average so far.

        Raises:
            UserError: There is nothing to average, or every gradient was zero, which is no threshold.
        """
        if not self.total > 0:
            raise UserError(
                f"expected gradients to find the clipping threshold from, found {self.count} of norm 0 and "
                f"{self.skipped} that are not finite; give the threshold as a number"
            )
        return self.total / self.count

    def state_dict(self) -> dict[str, Any]:
        """The sums, as JSON values."""
        return {"total": self.total, "count": self.count, "skipped": self.skipped}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self.total, self.count, self.skipped = state["total"], state["count"], state["skipped"]


def _gradients(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    """The dense tensors that hold the gradients' entries: scaling them in place scales the gradients."""
    gradients = {}
    for parameter in [parameters] if isinstance(parameters, Tensor) else parameters:
        if parameter.grad is None:
            continue
        if parameter.grad.is_sparse:
            # Rows that occur twice must be added before they are squared.
            parameter.grad = parameter.grad.coalesce()
            gradients[id(parameter)] = parameter.grad._values()
        elif parameter.grad.numel():
            gradients[id(parameter)] = parameter.grad
    return list(gradients.values())


def _total(norms: Iterable[float], norm_type: float) -> float:
    """The norm of norms: exactly the one there is, if there is one."""
    norms = list(norms)
    if len(norms) < 2:
        return sum(norms)
    return _p_norm([torch.tensor(norms, dtype=torch.float64)], norm_type)


def _norm(gradients: list[Tensor], norm_type: float) -> float:
    if not gradients:
        return 0.0
    if norm_type != 2 or any(g.is_complex() for g in gradients):
        return _p_norm(gradients, norm_type)
    if any(g.dtype == torch.float64 for g in gradients):
        # The squares of float64 have no wider type to go to: divide by the largest entry first.
        largest = float(torch.stack([g.abs().max().double().cpu() for g in gradients]).max())
        if largest == 0 or not math.isfinite(largest):
            return largest
        scaled = torch._foreach_div([g.double() for g in gradients], largest)
        return largest * _norm_of_norms(torch._foreach_norm(scaled))
    # In the gradients' own type first: converting them costs more than the norm itself. Squares that
    # overflowed, or got so small that they lost digits, ask for the wider type.
    if all(g.dtype == torch.float32 for g in gradients):
        norm = _norm_of_norms(torch._foreach_norm(gradients))
        if _SAFE[0] < norm < _SAFE[1]:
            return norm
    return _norm_of_norms(torch._foreach_norm(gradients, 2, torch.float64))


def _p_norm(gradients: list[Tensor], p: float) -> float:
    """The p-norm of all entries together, in float64 and as shares of the largest."""
    sizes = [g.abs().double() for g in gradients]
    largest = float(torch.stack([x.max().cpu() for x in sizes]).max())
    if largest == 0 or not math.isfinite(largest) or p == math.inf:
        return largest
    total = sum(float(x.div_(largest).pow_(p).sum()) for x in sizes)
    return float(largest * total ** (1 / p))


# Norms whose float32 squares are far from both ends of that type's range, 1e-38 and 1e38.
_SAFE = (1e-12, 1e18)


def _norm_of_norms(norms: Iterable[Tensor]) -> float:
    norms = list(norms)
    return float(torch.stack([norm.to(norms[0].device) for norm in norms]).norm())


def _scale(gradients: list[Tensor], threshold: float, norm: float) -> None:
    # A factor below the smallest normal number of the gradients' type loses digits: use its root, twice.
    if threshold / norm >= max(torch.finfo(g.dtype).tiny for g in gradients):
        torch._foreach_mul_(gradients, threshold / norm)
        return
    for _ in range(2):
        torch._foreach_mul_(gradients, math.sqrt(threshold) / math.sqrt(norm))
