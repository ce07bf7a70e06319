"""What weights may be: signs by column, connections that exist, connections that learn.

    W = m * (p * s |V| + (1 - p) * F)

with V the parameter, s the sign of a column (Dale's law: all that a unit sends out has its sign), m the
connections that exist, p those that learn, and F what the others are. Without signs s |V| is V. Whatever an
optimizer does to V, weight decay included, the signs hold, the zeros are zeros, and F stays as it is, since
none of them is in V.

Source of |V| and masks: Song, Yang, Wang 2016 (PLOS Computational Biology 12(2):e1004792).

Shapes: O rows, I columns.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from ostinato.nn.kernels.projection import project


class Constraint(nn.Module):
    """Turns a parameter V (O, I) into weights W that keep signs, zeros and what does not learn, exactly.

    Args:
        shape: (O, I).
        signs: of the columns, (I,), each 1 or -1; None where signs are free.
        mask: the connections that exist, (O, I), of zeros and ones or bool; None for all.
        plastic: those that learn, likewise.
        like: a tensor of the weights' type, on their device.

    Example:
        >>> dale = Constraint((2, 2), signs=torch.tensor([1, -1]), like=torch.empty(0))
        >>> dale(torch.tensor([[1.0, 2.0], [-3.0, -4.0]]))
        tensor([[ 1., -2.],
                [ 3., -4.]])
    """

    signs: Tensor | None
    mask: Tensor | None
    plastic: Tensor | None
    fixed: Tensor | None

    def __init__(
        self,
        shape: tuple[int, int],
        *,
        signs: Any = None,
        mask: Any = None,
        plastic: Any = None,
        like: Tensor,
    ) -> None:
        super().__init__()
        self.shape = shape
        self.register_buffer("signs", None if signs is None else _signs(signs, shape[1], like))
        self.register_buffer("mask", None if mask is None else as_mask("mask", mask, shape, like))
        self.register_buffer("plastic", None if plastic is None else as_mask("plastic", plastic, shape, like))
        self.register_buffer("fixed", None if plastic is None else like.new_zeros(shape))

    @property
    def is_free(self) -> bool:
        """Whether W is V itself."""
        return self.signs is None and self.mask is None and self.plastic is None

    def forward(self, raw: Tensor) -> Tensor:
        """W of V, (O, I)."""
        made = raw if self.signs is None else raw.abs() * self.signs
        if self.plastic is not None and self.fixed is not None:
            made = torch.where(self.plastic, made, self.fixed)
        return made if self.mask is None else torch.where(self.mask, made, 0.0)

    @torch.no_grad()
    def assign_(self, raw: Tensor, weight: Tensor) -> None:
        """Make V and F such that W is this weight (O, I).

        Raises:
            ValueError: it has another shape, the wrong signs, or connections that do not exist.
        """
        if tuple(weight.shape) != self.shape:
            raise ValueError(f"weights must have shape {self.shape}, got {tuple(weight.shape)}")
        weight = weight.to(raw.device, raw.dtype)
        if self.signs is not None and bool((weight * self.signs < 0).any()):
            count = int((weight * self.signs < 0).sum())
            raise ValueError(f"weights must have the signs of their columns, got {count} of the other sign")
        if self.mask is not None and bool((weight[~self.mask] != 0).any()):
            count = int((weight[~self.mask] != 0).sum())
            raise ValueError(f"weights must be 0 where the mask has no connection, got {count} that are not")
        raw.copy_(weight if self.signs is None else weight.abs())
        if self.fixed is not None:
            self.fixed.copy_(weight)

    @torch.no_grad()
    def settle_(self, raw: Tensor) -> None:
        """Take what a drawn V makes for the connections that do not learn as F."""
        if self.plastic is not None and self.fixed is not None:
            self.fixed.copy_(raw if self.signs is None else raw.abs() * self.signs)

    def extra_repr(self) -> str:
        """What is constrained."""
        names = [name for name in ("signs", "mask", "plastic") if getattr(self, name) is not None]
        return ", ".join(names)


def as_mask(name: str, mask: Any, shape: tuple[int, ...], like: Tensor) -> Tensor:
    """A mask of zeros and ones as bool.

    Raises:
        ValueError: it has another shape, or other numbers.

    Example:
        >>> as_mask("mask", [[0, 1]], (1, 2), torch.empty(0))
        tensor([[False,  True]])
    """
    given = _tensor(name, mask, f"of zeros and ones {shape}", like)
    if tuple(given.shape) != shape:
        raise ValueError(f"{name} must have shape {shape}, got {tuple(given.shape)}")
    if given.dtype is not torch.bool and not bool(((given == 0) | (given == 1)).all()):
        raise ValueError(f"{name} must be of zeros and ones, or bool, got other numbers")
    return given.bool().clone()


def _tensor(name: str, values: Any, wanted: str, like: Tensor) -> Tensor:
    try:
        return torch.as_tensor(values, device=like.device)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"{name} must be {wanted}, got {values!r}") from None


def _signs(signs: Any, count: int, like: Tensor) -> Tensor:
    given = _tensor("signs", signs, f"numbers 1 or -1 of shape ({count},)", like)
    if tuple(given.shape) != (count,):
        raise ValueError(f"signs must have shape ({count},), got {tuple(given.shape)}")
    if not bool(((given == 1) | (given == -1)).all()):
        raise ValueError("every sign must be 1, excitatory, or -1, inhibitory")
    return given.to(like.dtype).clone()


def dale_signs(dale: Any, count: int) -> Tensor:
    """Signs of units (H,): of a share of excitatory ones, which come first, or of a vector of signs.

    Example:
        >>> dale_signs(0.75, 4), dale_signs([1, -1], 2)
        (tensor([ 1.,  1.,  1., -1.]), tensor([ 1., -1.]))
    """
    wanted = f"the share of excitatory units, in [0, 1], or their signs, 1 or -1 of shape ({count},)"
    given = _tensor("dale", dale, wanted, torch.empty(0))
    if given.dim() == 0:
        share = float(dale)
        if given.dtype is torch.bool or not 0 <= share <= 1:
            raise ValueError(f"dale must be {wanted}, got {dale}")
        signs = -torch.ones(count)
        signs[: round(share * count)] = 1
        return signs
    if tuple(given.shape) != (count,):
        raise ValueError(f"dale must be {wanted}, got shape {tuple(given.shape)}")
    return _signs(given, count, torch.empty(0))


@torch.no_grad()
def balance_(raw: Tensor, signs: Tensor, mask: Tensor | None = None) -> Tensor:
    """Make |V| (H, H) in place such that each unit gets as much excitation as inhibition, and return it.

    Of every row that has both, the weights of the sort that is stronger are scaled down until the row of
    s |V| sums to zero.

    Example:
        >>> balance_(torch.ones(1, 4), torch.tensor([1.0, 1.0, 1.0, -1.0]))
        tensor([[0.3333, 0.3333, 0.3333, 1.0000]])
    """
    raw.abs_()
    existing = raw if mask is None else raw * mask
    sums = [existing[:, signs == sign].sum(1) for sign in (1, -1)]
    both = (sums[0] > 0) & (sums[1] > 0)
    for (own, other), sign in zip((sums, sums[::-1]), (1, -1), strict=True):
        factor = torch.where(both & (own > other), other / own, 1.0)
        raw[:, signs == sign] *= factor.unsqueeze(1)
    return raw


class ConstrainedLinear(nn.Module):
    """`y = W x + b` with W under a `Constraint`: a readout of some units only, or of one sign.

    Args:
        in_features: I.
        out_features: O.
        bias: whether there is b.
        signs: of the columns, (I,), each 1 or -1: those of a network under Dale's law.
        mask: the connections that exist, (O, I), zeros and ones; a readout of excitatory units alone has
            zeros in the columns of the others.
        plastic: the connections that learn, (O, I); the others stay as they are drawn or assigned.
        generator: source of the draw, U(-1/sqrt(I), 1/sqrt(I)), as `torch.nn.Linear` has it.
        device, dtype: of the parameters.

    Example:
        >>> readout = ConstrainedLinear(3, 1, mask=[[1, 0, 1]], signs=[1, 1, -1])
        >>> weight = readout.constrained.detach()
        >>> weight.shape, float(weight[0, 1]), bool(weight[0, 2] <= 0)
        (torch.Size([1, 3]), 0.0, True)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        signs: Any = None,
        mask: Any = None,
        plastic: Any = None,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.weight = nn.Parameter(torch.empty(out_features, in_features, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(out_features, device=device, dtype=dtype)) if bias else None
        bound = 1 / math.sqrt(in_features)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.uniform_(-bound, bound, generator=generator)
            if signs is not None:
                self.weight.abs_()
        shape = (out_features, in_features)
        self.constraint = Constraint(shape, signs=signs, mask=mask, plastic=plastic, like=self.weight)
        self.constraint.settle_(self.weight)

    @property
    def constrained(self) -> Tensor:
        """W, (O, I)."""
        made: Tensor = self.constraint(self.weight)
        return made

    def assign_(self, weight: Tensor) -> None:
        """Set W (O, I); raises as `Constraint.assign_` does."""
        self.constraint.assign_(self.weight, weight)

    def forward(self, input: Tensor) -> Tensor:
        """(..., I) to (..., O)."""
        return project(input, self.constrained, self.bias)

    def extra_repr(self) -> str:
        """The sizes."""
        return f"{self.in_features}, {self.out_features}, bias={self.bias is not None}"
