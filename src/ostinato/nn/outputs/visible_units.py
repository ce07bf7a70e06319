"""What an RBM's visible units are, given its hidden ones: binary notes, or pitches with onsets.

Given the hidden units, the visible ones are independent of each other, whatever they are; so what follows is
all that Gibbs steps, annealing and enumeration ask of them. Shapes: N rows, V visible rows of a frame, P
pitches, U units.
"""

from collections.abc import Callable
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

# Log-odds that nothing else of an RBM comes near, small enough for sums of them to be exact to 1e-5 in
# float32, and for exp of it to be within the range of float64.
FORBIDDEN = 256.0


class VisibleUnits(Protocol):
    """Units whose log-weight is linear in the rows of a frame: logits (N, V) times the rows."""

    # whether several rows are one unit, so that the frames are not all 2^V
    tied: bool

    def mean(self, logits: Tensor) -> Tensor:
        """P(row = 1), (N, V)."""

    def drawn(self, logits: Tensor, draw: Callable[[Tensor], Tensor]) -> Tensor:
        """Rows (N, V), by `draw`: 1 with the probability that it is given, else 0."""

    def log_terms(self, logits: Tensor) -> Tensor:
        """Of each unit the log of the sum over its states of their weights, (N, U)."""


class BinaryUnits:
    """A unit for each row, 0 or 1."""

    tied = False

    def mean(self, logits: Tensor) -> Tensor:
        """sigmoid(z)."""
        return torch.sigmoid(logits)

    def drawn(self, logits: Tensor, draw: Callable[[Tensor], Tensor]) -> Tensor:
        """Each by itself."""
        return draw(torch.sigmoid(logits))

    def log_terms(self, logits: Tensor) -> Tensor:
        """log(1 + exp z)."""
        return F.softplus(logits)


class OnsetUnits:
    """A unit for each pitch, of two rows: silent (0, 0), held (1, 0) or struck (1, 1), never (0, 1).

    With logits a of the first rows and z of the second, these have the weights 1, exp a and exp(a + z).

    Example:
        >>> OnsetUnits().mean(torch.zeros(1, 2))
        tensor([[0.6667, 0.3333]])
    """

    tied = True

    def mean(self, logits: Tensor) -> Tensor:
        """P(it sounds) and P(it is struck)."""
        sounds, struck = self._odds(logits)
        p = torch.sigmoid(sounds)
        return torch.cat([p, p * torch.sigmoid(struck)], -1)

    def drawn(self, logits: Tensor, draw: Callable[[Tensor], Tensor]) -> Tensor:
        """Whether it sounds, then whether it is struck."""
        sounds, struck = draw(torch.sigmoid(torch.cat(self._odds(logits), -1))).chunk(2, -1)
        return torch.cat([sounds, sounds * struck], -1)

    def log_terms(self, logits: Tensor) -> Tensor:
        """log(1 + exp a + exp(a + z))."""
        return F.softplus(self._odds(logits)[0])

    def _odds(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Log-odds of sounding, and where it sounds of being struck."""
        sounds, struck = logits.chunk(2, -1)
        return sounds + F.softplus(struck), struck


BINARY, ONSETS = BinaryUnits(), OnsetUnits()


def restricted(logits: Tensor, silent: Tensor, held: Tensor, struck: Tensor) -> Tensor:
    """Logits of `OnsetUnits` (N, 2 P) under which the states that are not allowed do not occur.

    Args:
        logits: of all states.
        silent, held, struck: boolean (N, P), whether a pitch may be so; at least one must be allowed.

    Example:
        >>> yes, no = torch.tensor([[True]]), torch.tensor([[False]])
        >>> OnsetUnits().mean(restricted(torch.zeros(1, 2), yes, no, yes))  # silent or struck
        tensor([[0.5000, 0.5000]])
    """
    a, z = logits.chunk(2, -1)
    # each of a, z is shifted once, so that what is allowed keeps its odds to the last digits but few
    lower = FORBIDDEN * (~held).to(a.dtype)
    raised = 2 * FORBIDDEN * (~silent).to(a.dtype)
    return torch.cat([a + (raised - lower), z + (lower - FORBIDDEN * (~struck).to(z.dtype))], -1)
