"""Gibbs chains of RBMs that go on until they are seen to have mixed.

Two ways to see it, each with its use:

- To draw from a distribution of which nothing else is known: four chains of a frame, two from independent
  notes and two annealed, whose free energies and notes must be the same within and between chains (R-hat:
  Gelman & Rubin 1992, on half chains as in Vehtari et al. 2021).
- To say what is expected of a statistic where there is an observed frame: a chain that starts there, and is
  too near to it for as long as it has not mixed, and an annealed one, too far from it; both must meet.

Shapes: N frames, C chains, T steps, S draws, V visible, J hidden units.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ostinato.nn.outputs.gibbs import BernoulliDraws, gibbs_chain, mean_field_logits
from ostinato.nn.outputs.temperatures import cubic
from ostinato.nn.outputs.visible_units import BINARY, VisibleUnits

# Steps of the path by which annealed chains come to the RBM.
PATH_STEPS = 100

# Below this a set of chains has mixed.
RHAT = 1.1

# A set of chains that is seen to have mixed is several times as long as it takes to forget a start: of many
# machines, those that are not looked at take this share of its steps.
_SHARE = 0.5

# Steps of the first window that is looked at; each further one is twice as long.
FIRST_WINDOW = 64

# Rows whose chains are looked at, where many are to be drawn.
_ROWS_LOOKED_AT = 16


class Machines:
    """RBMs that share W, perhaps with some notes held fast, and the steps that their chains take.

    Args:
        visible_bias: b, (N, V).
        hidden_bias: c, (N, J).
        weight: W, (V, J).
        draws: source of randomness.
        fixed: boolean (N, V), the notes that are held.
        given: (N, V), their values.
        units: what the visible ones are.
    """

    def __init__(
        self,
        visible_bias: Tensor,
        hidden_bias: Tensor,
        weight: Tensor,
        draws: BernoulliDraws,
        fixed: Tensor | None = None,
        given: Tensor | None = None,
        units: VisibleUnits = BINARY,
    ) -> None:
        self.b, self.c, self.weight, self.draws = visible_bias, hidden_bias, weight, draws
        self.fixed, self.given, self.units = fixed, given, units

    def first(self, count: int, repeats: int) -> "Machines":
        """The first so many, each several times: (repeats * count) of them."""

        def own(x: Tensor) -> Tensor:
            return x[:count].repeat(repeats, 1)

        fixed, given = (None if x is None else own(x) for x in (self.fixed, self.given))
        return Machines(own(self.b), own(self.c), self.weight, self.draws, fixed, given, self.units)

    def independent(self) -> Tensor:
        """Draws of the independent units nearby, (N, V)."""
        return self._held(self.units.drawn(self._base(), self.draws))

    def annealed(self) -> Tensor:
        """The ends of chains that come down a path of temperatures, (N, V)."""
        base = self._base()
        values = self._held(self.units.drawn(base, self.draws))
        for beta in cubic(PATH_STEPS)[1:-1]:
            bias, across = torch.lerp(base, self.b, beta), beta * self.weight
            values = self._held(gibbs_chain(values, bias, beta * self.c, across, 1, self.draws, self.units))
        return values

    def stepped(self, values: Tensor, steps: int) -> Tensor:
        """Chains led on by so many steps."""
        if self.fixed is None:
            return self._chain(values, steps)
        for _ in range(steps):
            values = self._held(self._chain(values, 1))
        return values

    def free_energy(self, values: Tensor) -> Tensor:
        """F(v), (N,)."""
        hidden = F.softplus(torch.addmm(self.c, values, self.weight)).sum(1)
        return -(values * self.b).sum(1) - hidden

    def _base(self) -> Tensor:
        return mean_field_logits(self.b, self.c, self.weight, self.units)

    def _chain(self, values: Tensor, steps: int) -> Tensor:
        return gibbs_chain(values, self.b, self.c, self.weight, steps, self.draws, self.units)

    def _held(self, values: Tensor) -> Tensor:
        return values if self.fixed is None else torch.where(self.fixed, self.given, values)  # type: ignore[arg-type]


@dataclass
class ChainRecord:
    """What became of the chains that something was drawn with; `nn.outputs.base.ChainSampled` has one.

    Arguments:
        limit: steps at most.
        steps: the most that were taken.
        rhat: the largest that chains ended with.
        calls: how often frames were drawn.
        unmixed: how often the limit came first.
    """

    limit: int
    steps: int = 0
    rhat: float = 1.0
    calls: int = 0
    unmixed: int = 0

    def note(self, steps: int, rhat: float) -> None:
        """One more call."""
        self.calls += 1
        self.steps, self.rhat = max(self.steps, steps), max(self.rhat, rhat)
        self.unmixed += rhat > RHAT


def settled_draws(machines: Machines, record: ChainRecord) -> Tensor:
    """A draw of each machine, (N, V): annealed, then as many steps as its chains took to mix.

    Of many machines, the first few are looked at.

    Args:
        machines: what to draw from.
        record: has the most steps, and is told how it went.
    """
    looked_at = machines.first(min(_ROWS_LOOKED_AT, len(machines.b)), 2)
    values = torch.cat([looked_at.annealed(), looked_at.independent()])
    four = machines.first(min(_ROWS_LOOKED_AT, len(machines.b)), 4)
    # wells that are equally deep have one free energy, but not the same notes
    across = torch.randn(four.b.shape[1], generator=torch.Generator().manual_seed(0)).to(four.b)
    steps, rhat, window = 0, math.inf, FIRST_WINDOW
    while rhat > RHAT and steps < record.limit:
        window = _windowed(window, record.limit - steps)
        trace = []
        for _ in range(window):
            values = four.stepped(values, 1)
            trace.append(torch.stack([four.free_energy(values), values @ across]))
        by_statistic = torch.stack(trace, 1).reshape(2, window, 4, -1)
        rhat = max(split_rhat(own) for own in by_statistic)
        steps, window = steps + window, 2 * window
    record.note(steps, rhat)
    if len(machines.b) <= _ROWS_LOOKED_AT:
        return values[: len(machines.b)]  # a chain that was annealed first
    return machines.stepped(machines.annealed(), math.ceil(_SHARE * steps))


def _windowed(wanted: int, left: int) -> int:
    """The next window's steps: all that is left where there would not be enough for another one."""
    return left if left < 3 * wanted else wanted


def split_rhat(traces: Tensor) -> float:
    """R-hat of half chains, pooled over frames: sqrt((W (T - 1) / T + B) / W), 1 where chains have mixed.

    W is the mean variance within half chains of T steps, B that of their means, both means over frames. A
    statistic that never changes in any chain, and is the same in all, gives 1.

    Args:
        traces: a statistic at each step of the chains of each frame, (T, C, N).

    Example:
        >>> split_rhat(torch.tensor([[0.0, 9.0], [1.0, 8.0], [0.0, 9.0], [1.0, 8.0]]).unsqueeze(2)) > 6
        True
    """
    half = len(traces) // 2
    if half < 2:
        return math.inf
    halves = torch.cat([traces[:half], traces[half : 2 * half]], 1).double()
    within = float(halves.var(0).mean())
    between = float(halves.mean(0).var(0).mean())
    if within == 0:
        return 1.0 if between == 0 else math.inf
    return math.sqrt((half - 1) / half + between / within)


@dataclass(frozen=True)
class Bracket:
    """Draws of chains that came from both sides.

    Arguments:
        near: of chains that started at the observed frames, (S, N, V) uint8.
        far: of annealed chains, (S, N, V) uint8.
        steps: Gibbs steps of each in all.
        difference: of the statistic's mean, near minus far, over the last window.
        difference_error: its standard error over frames.
        met: whether they are the same, as far as can be told.
        rhat: of the statistic.
    """

    near: Tensor
    far: Tensor
    steps: int
    difference: float
    difference_error: float
    met: bool
    rhat: float


def bracketed(
    machines: Machines,
    observed: Tensor,
    statistic: Callable[[Tensor], Tensor],
    *,
    draws: int,
    limit: int,
    tolerance: float,
) -> Bracket:
    """Draw frames by chains from both sides, until the expected statistic is the same on both.

    Args:
        machines: what to draw from.
        observed: frames (N, V), at which the near chains start.
        statistic: of frames (N, V) uint8: (N,), larger the more a frame is like the observed one.
        draws: S of each side, from the last window of steps; at least 2.
        limit: Gibbs steps at most.
        tolerance: difference of the means that does not matter; one within 2.6 standard errors does not,
        either.
    """
    near, far = observed.to(machines.b.dtype), machines.annealed()
    steps, window = 0, FIRST_WINDOW
    while True:
        window = _windowed(window, limit - steps)
        kept: tuple[list[Tensor], list[Tensor]] = ([], [])
        places = [round(window * (k + 1) / draws) for k in range(draws)]
        for before, after in zip([0, *places], places, strict=False):
            near, far = machines.stepped(near, after - before), machines.stepped(far, after - before)
            kept[0].append(near.to(torch.uint8))
            kept[1].append(far.to(torch.uint8))
        steps, window = steps + window, 2 * window
        traces = torch.stack([torch.stack([statistic(x) for x in side]).double() for side in kept], 1)
        gaps = (traces[:, 0] - traces[:, 1]).mean(0)
        difference = float(gaps.mean())
        error = float(gaps.std()) / math.sqrt(len(gaps)) if len(gaps) > 1 else math.inf
        met = abs(difference) <= max(tolerance, 2.6 * error)
        if met or steps >= limit:
            return Bracket(
                torch.stack(kept[0]), torch.stack(kept[1]), steps, difference, error, met, split_rhat(traces)
            )
