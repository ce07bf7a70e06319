"""The gradient of a step's loss by the state k steps earlier: its norm over the lag k.

    g(t, k) = (J_t J_{t-1} ... J_{t-k+2})^T  d L_t / d s_{t-1}  =  d L_t / d s_{t-k}

relative to |d L_t / d o_t|, the gradient at the output itself, which is lag 0. Pascanu, Mikolov & Bengio
2013 (arXiv 1211.5063), section 2.

Shapes: T time, N streams, H units, S numbers in a flat state, K lags from 0.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from ostinato.diagnostics.trajectory import Trajectory, swept
from ostinato.errors import UserError, argument

# What is left of the gradient at the memory horizon.
LEFT = 0.01

# Groups of units by the share of the old state that they keep.
_EDGES = (0.0, 0.5, 0.9, 1.0)


@dataclass(frozen=True)
class Quantiles:
    """Of ratios, by lag: those of NaN have no source that far from its sequence's start."""

    median: Tensor
    low: Tensor
    high: Tensor


@dataclass(frozen=True)
class GradientOverLag:
    """How a gradient fades or grows with the lag.

    Attributes:
        whole: the norm |d L_t / d s_{t-k}| over that at lag 0: median, 10 % and 90 % over steps and streams,
            each (K,).
        groups: the same of groups of units, root mean square of a unit over that of all units at lag 0: by
            layer, and where units leak, by leak.
        sources: how many (step, stream) each lag has, (K,).
        norm: the median of the norm at lag 0.
    """

    whole: Quantiles
    groups: dict[str, Quantiles]
    sources: Tensor
    norm: float

    @property
    def horizon(self) -> float | None:
        """The lag where the median falls to 1 %; None where it does not within the lags measured."""
        return memory_horizon(self.whole.median)

    @property
    def longest(self) -> int:
        """The largest lag that was measured."""
        return int((self.sources > 0).nonzero().max()) if bool((self.sources > 0).any()) else 0

    @property
    def growth(self) -> float:
        """The factor per step of the median over the second half of the lags, where it is above 0."""
        values = self.whole.median[1 : self.longest + 1]
        values = values[: int((values > 0).sum())]
        if len(values) < 2:
            return math.nan
        middle = (len(values) - 1) // 2
        steps = len(values) - 1 - middle
        return float((values[-1] / values[middle]) ** (1 / steps)) if steps else math.nan

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        last = self.longest + 1

        def listed(found: Quantiles) -> dict[str, Any]:
            parts = {"median": found.median, "p10": found.low, "p90": found.high}
            return {name: x[:last].tolist() for name, x in parts.items()}

        return {
            "horizon": self.horizon,
            "longest_lag": self.longest,
            "growth_per_step": self.growth,
            "norm_at_lag_0": self.norm,
            "relative_norm": listed(self.whole),
            "groups": {name: listed(found) for name, found in self.groups.items()},
            "sources": self.sources[:last].tolist(),
        }


def memory_horizon(medians: Tensor | Sequence[float], left: float = LEFT) -> float | None:
    """The first lag where a gradient that was 1 at lag 0 has fallen to a share, between lags geometrically.

    Args:
        medians: by lag from 0, (K,).
        left: the share.

    Returns:
        None where it does not fall so far; of a linear network all of whose eigenvalues are lambda,
        log(left) / log(lambda).

    Example:
        >>> round(memory_horizon([0.9**k for k in range(60)]), 6), round(math.log(0.01) / math.log(0.9), 6)
        (43.708691, 43.708691)
    """
    values = [float(x) for x in medians]
    for k, (before, here) in enumerate(pairwise(values), start=1):
        if here <= left:
            if here <= 0 or before <= left:
                return float(k)
            return k - 1 + math.log(left / before) / math.log(here / before)
    return None


def gradient_over_lag(
    run: Trajectory,
    on_outputs: Sequence[Tensor],
    *,
    longest: int | None = None,
    sources: int = 16,
    mask: Tensor | None = None,
) -> GradientOverLag:
    """Follow the losses of some steps back through a run.

    Args:
        run: the run; see `ostinato.diagnostics.trajectory`.
        on_outputs: the gradient of every step's own loss by the outputs of each layer, (T, N, H) each.
        longest: the largest lag; all that there are if None.
        sources: how many steps' losses are followed, of those that lie deepest in a sequence.
        mask: boolean (T, N), the steps whose loss counts; all if None.

    Raises:
        UserError: there is no gradient to follow.

    Example:
        >>> from ostinato.diagnostics import network
        >>> from ostinato.diagnostics.trajectory import trajectory
        >>> from ostinato.nn import RNN
        >>> cell = RNN(2, 3, nonlinearity="identity", bias=False, dtype=torch.float64)
        >>> cell.weight_hh_l0.data = 0.5 * torch.eye(3, dtype=torch.float64)
        >>> run = trajectory(network(cell), torch.randn(20, 1, 2, dtype=torch.float64))
        >>> found = gradient_over_lag(run, [torch.ones(20, 1, 3, dtype=torch.float64)], sources=1)
        >>> [round(x, 4) for x in found.whole.median[:4].tolist()], round(found.horizon, 4)
        ([1.0, 0.5, 0.25, 0.125], 6.6439)
    """
    if sources < 1:
        raise UserError(f"expected {argument('sources')} of at least 1, found {sources}")
    first = torch.stack([own.double().square().sum(-1) for own in on_outputs]).sum(0).sqrt()
    counts = first > 0 if mask is None else (first > 0) & mask
    counts &= first.isfinite()
    chosen = _deepest(run, counts, sources)
    groups = _groups(run)
    widths = sum(own.shape[-1] for own in on_outputs[-1:])
    ratios: dict[str, list[list[Tensor]]] = {
        name: [[] for _ in range(run.steps + 1)] for name in ("", *groups)
    }
    for time in chosen.tolist():
        own = counts[time]
        ratios[""][0].append(torch.ones(int(own.sum()), dtype=torch.float64))
    for here in swept(run, chosen.tolist(), on_outputs, longest):
        lags = (here.times - here.step + 1).tolist()
        for lag, time, gradient, inside in zip(
            lags, here.times.tolist(), here.gradients, here.inside, strict=True
        ):
            own = counts[time] & inside.to(counts.device)
            base = first[time][own]
            values = gradient[own].double()
            ratios[""][lag].append(values.norm(dim=1) / base)
            for name, places in groups.items():
                mean = (
                    values[:, places].square().mean(1).sqrt()
                    if len(places)
                    else values.new_zeros(len(values))
                )
                ratios[name][lag].append(mean / (base / math.sqrt(widths)))
    most = run.steps if longest is None else min(longest, run.steps)
    taken = {name: _quantiles(lists[: most + 1]) for name, lists in ratios.items()}
    whole = taken.pop("")
    number = torch.tensor([sum(len(x) for x in at) for at in ratios[""][: most + 1]])
    norm = float(first[chosen][counts[chosen]].median())
    return GradientOverLag(whole, taken, number, norm)


def _deepest(run: Trajectory, counts: Tensor, number: int) -> Tensor:
    """Steps (K,) to follow: evenly among the quarter of those that count that lies deepest in a sequence."""
    steps = counts.any(1).nonzero().flatten()
    if not len(steps):
        raise UserError("expected a finite loss that depends on the outputs, found no gradient to follow")
    depth = torch.arange(run.steps, device=counts.device).unsqueeze(1).expand_as(counts)
    if run.starts is not None:
        depth = depth - torch.where(run.starts, depth, 0).cummax(0).values
    deepest = depth.masked_fill(~counts, -1).amax(1)[steps]
    least = min(len(steps), max(number, len(steps) // 4))
    few = steps[deepest.argsort(descending=True, stable=True)[:least]].sort().values
    return few[torch.linspace(len(few) - 1, 0, min(number, len(few))).round().long()]


def _quantiles(lists: list[list[Tensor]]) -> Quantiles:
    rows = []
    for values in lists:
        flat = torch.cat(values) if values else torch.zeros(0, dtype=torch.float64)
        nan = torch.full((3,), math.nan, dtype=torch.float64)
        points = torch.tensor([0.5, 0.1, 0.9], dtype=torch.float64, device=flat.device)
        rows.append(torch.quantile(flat, points).cpu() if len(flat) else nan)
    median, low, high = torch.stack(rows).unbind(1)
    return Quantiles(median, low, high)


def _groups(run: Trajectory) -> dict[str, Tensor]:
    """The places of each layer, and of units of like leak, if there are any."""
    network = run.network
    found = dict(network.units) if len(network.units) > 1 else {}
    leak = network.leak
    if leak is None or not bool((leak > 0).any()):
        return found
    found["leak 0"] = (leak == 0).nonzero().flatten()
    for low, high in pairwise(_EDGES):
        found[f"leak {low:g} to {high:g}"] = ((leak > low) & (leak <= high)).nonzero().flatten()
    return {name: places for name, places in found.items() if len(places)}
