"""What units do: saturated, silent or sparse ones, states that grow, and how gradients differ between units.

    slope phi'(z) of a unit at a step;   saturated: below a twentieth of the largest slope that phi has
                                         silent: zero at every step, so that nothing reaches its weights

Of cells with gates the slope is tanh's at the candidate for the next state, and a gate is shut, or open,
where its value is so near to 0, or 1, that its slope is near zero. Of other recurrences than these, `RNN` and
`CTRNN` slopes are not known; their outputs are looked at, if these are bounded by 1 and not rectified. The
units of a module of one's own are its outputs, where these are in its state, and else all of the state.

Shapes: T time, N streams, H units.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from ostinato.diagnostics.trajectory import Trajectory
from ostinato.nn.kernels.nonlinearities import parse

# Below this share of the largest slope a unit passes next to nothing back.
NEAR_ZERO = 0.05

# The largest slope of nonlinearities that saturate, and those that are silent where they are not active.
_LARGEST = {"tanh": 1.0, "sigmoid": 0.25, "retanh": 1.0}
RECTIFIERS = ("relu", "retanh", "power")

# An output this near to a bound of 1 has a slope of tanh below a tenth.
_NEAR_BOUND = 0.95


@dataclass(frozen=True)
class Units:
    """Of one layer.

    Attributes:
        units: H.
        saturated: the share of (step, stream, unit) whose slope is near zero while it is active; None where
            that is not known.
        silent: the share of units that are silent at every step.
        active: the share of (step, stream, unit) that are not zero.
        rarely_active: the share of units that are active in less than 1 % of the steps.
        how: what was looked at.
        gates: of a cell with gates, by their names, the shares of (step, stream, unit) at which each is shut,
            and open.
    """

    units: int
    saturated: float | None
    silent: float
    active: float
    rarely_active: float
    how: str
    gates: dict[str, dict[str, float]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


def slopes_of(run: Trajectory) -> list[Tensor] | None:
    """phi' of each layer, (T, N, H), without the leak's factor; None where the cell does not say."""
    slopes = getattr(getattr(run.network, "cell", None), "slopes", None)
    if slopes is None:
        return None
    found = [slopes(k, *layer) for k, layer in enumerate(_layers(run))]
    return None if any(one is None for one in found) else found


def gates_of(run: Trajectory) -> list[dict[str, Tensor]] | None:
    """The values of each layer's gates, (T, N, H), by their names; None where the cell has none."""
    gates = getattr(getattr(run.network, "cell", None), "gates", None)
    return None if gates is None else [gates(k, *layer) for k, layer in enumerate(_layers(run))]


def _layers(run: Trajectory) -> list[tuple[Tensor, Tensor]]:
    """What each layer reads, and its (first) state before each step (T, N, H)."""

    def hidden(states: Tensor) -> Tensor:
        formed = run.network.flow.formed(states)
        return formed if isinstance(formed, Tensor) else formed[0]

    before = hidden(run.before.flatten(0, 1)).unflatten(1, run.before.shape[:2])
    if run.starts is not None:
        first = hidden(run.network.beginning(run.streams)).unsqueeze(1)
        before = torch.where(run.starts.unsqueeze(-1), first, before)
    return list(zip([run.inputs, *run.outputs[:-1]], before, strict=True))


def _states_after(run: Trajectory) -> Tensor:
    """The states after each step, (T, N, S)."""
    return torch.cat([run.before[1:], run.last.unsqueeze(0)])


def _places_of_outputs(run: Trajectory) -> Tensor | None:
    """Where in a flat state the last layer's outputs are; None where they are not: read off by a module."""
    *_, last = run.network.units.values()
    outputs, sizes = run.outputs[-1], getattr(run.network, "sizes", None)
    if sizes is None:
        return last[: outputs.shape[-1]]
    at = 0
    for part in _states_after(run).split(sizes, -1):
        if part.shape == outputs.shape and torch.equal(part, outputs):
            return last[at : at + part.shape[-1]]
        at += part.shape[-1]
    return None


def values_of(run: Trajectory) -> list[Tensor]:
    """What the units of each layer are at each step, (T, N, H)."""
    return run.outputs if _places_of_outputs(run) is not None else [_states_after(run)]


def units_of(run: Trajectory, mask: Tensor | None = None) -> dict[str, Units]:
    """Each layer's units along a run, by the layer's name.

    Args:
        run: the run.
        mask: boolean (T, N), the steps to look at; all if None.

    Example:
        >>> from ostinato.diagnostics import network
        >>> from ostinato.diagnostics.trajectory import trajectory
        >>> from ostinato.nn import RNN
        >>> cell = RNN(1, 4, nonlinearity="relu").eval()
        >>> cell.bias_ih_l0.data[:3] = -100.0
        >>> run = trajectory(network(cell), torch.ones(5, 2, 1))
        >>> units_of(run)["layer 1"].silent >= 0.75
        True
    """
    slopes, gates = slopes_of(run), gates_of(run)

    def kept(values: Tensor) -> Tensor:
        return (values if mask is None else values[mask]).flatten(0, -2)

    found = {}
    for k, (name, out) in enumerate(zip(run.network.units, values_of(run), strict=False)):
        if slopes is not None:
            found[name] = _by_slopes(kept(slopes[k]), str(run.network.cell.nonlinearity))  # type: ignore[attr-defined]
        elif gates is not None:
            found[name] = _by_gates(kept(out), {gate: kept(values) for gate, values in gates[k].items()})
        else:
            found[name] = _by_outputs(kept(out))
    return found


def _by_slopes(slopes: Tensor, nonlinearity: str) -> Units:
    kind = parse(nonlinearity)[0]
    largest = _LARGEST.get(kind)
    active = slopes > 0 if kind in RECTIFIERS else torch.ones_like(slopes, dtype=torch.bool)
    saturated = None
    if largest is not None:
        near = (slopes < NEAR_ZERO * largest) & active if kind in RECTIFIERS else slopes < NEAR_ZERO * largest
        saturated = float(near.double().sum() / active.double().sum().clamp(min=1))
    return _units(active, saturated, f"slopes of {nonlinearity}")


def _by_gates(values: Tensor, gates: dict[str, Tensor]) -> Units:
    new = gates.pop("new")
    saturated = float((1 - new * new < NEAR_ZERO).double().mean())
    shares = {}
    for name, own in gates.items():
        near = own * (1 - own) < NEAR_ZERO * _LARGEST["sigmoid"]
        shut = near & (own < 0.5)
        shares[name] = {"shut": float(shut.double().mean()), "open": float((near & ~shut).double().mean())}
    return replace(_units(values != 0, saturated, "slopes of tanh, and gates"), gates=shares)


def _by_outputs(values: Tensor) -> Units:
    # rectified ones, which are silent at 0, have no bound of 1, even where none is larger
    bounded = bool(values.abs().max() <= 1 and values.min() < 0) if values.numel() else False
    saturated = float((values.abs() > _NEAR_BOUND).double().mean()) if bounded else None
    return _units(values != 0, saturated, "outputs")


def _units(active: Tensor, saturated: float | None, how: str) -> Units:
    often = active.double().mean(0)
    return Units(
        active.shape[1],
        saturated,
        float((often == 0).double().mean()),
        float(active.double().mean()),
        float((often < 0.01).double().mean()),
        how,
    )


@torch.no_grad()
def state_norms(run: Trajectory, times: int = 1) -> list[float]:
    """The root mean square of the states' numbers after each step, the largest of the streams', (T,).

    The run is taken as one sequence, from the state before one: what its starts would set back grows on.

    Args:
        run: the run.
        times: how often its inputs are gone through, one pass after the other.
    """
    flow, states, norms = run.network.flow, run.network.beginning(run.streams), []
    for _ in range(times):
        after = flow.trajectory(states, run.inputs, run.steps)
        norms += after.double().square().mean(2).sqrt().amax(1).tolist()
        states = after[-1]
    return norms


def growth(norms: Sequence[float]) -> float | None:
    """The mean of states over the last quarter over the most of the first half, infinite if not finite.

    Of noise about a level it is below 1, of a straight line from zero 1.75.

    Example:
        >>> growth([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]), growth([0.3, 0.9, 0.4, 0.5, 0.2, 0.6, 0.5, 0.7])
        (1.875, 0.6666666666666666)
    """
    if len(norms) < 4:
        return None
    if not math.isfinite(norms[-1]):
        return math.inf
    last = norms[-(len(norms) // 4) :]
    most = max(norms[: len(norms) // 2])
    return sum(last) / len(last) / most if most > 0 else None


@dataclass(frozen=True)
class GradientShape:
    """How the gradient at the units differs between them.

    Attributes:
        zero: the share of (step, stream, unit) whose gradient is exactly zero: a rectifier that is off.
        sparsity: Hoyer's measure of a step's gradient over units, mean over steps and streams: 0 where all
            are equally large, 1 where one unit has all of it.
        symmetry: the mean absolute cosine between the gradients of two units over steps and streams: 1 where
            all units are told the same, so that they stay alike.
        chance: what that would be of independent ones.
    """

    zero: float
    sparsity: float
    symmetry: float
    chance: float

    def to_dict(self) -> dict[str, float]:
        """JSON values."""
        return asdict(self)


def gradient_shape(gradients: Tensor) -> GradientShape | None:
    """Sparsity and symmetry of gradients at units, (..., H); None where all are zero.

    Source of the sparsity: Hoyer 2004 (JMLR 5), (sqrt(H) - l1 / l2) / (sqrt(H) - 1).

    Example:
        >>> one = gradient_shape(torch.eye(4))
        >>> one.sparsity, one.zero, one.symmetry
        (1.0, 0.75, 0.0)
        >>> round(gradient_shape(torch.ones(3, 4)).symmetry, 6)
        1.0
    """
    rows = gradients.flatten(0, -2).double()
    rows = rows[rows.isfinite().all(1)]
    rows = rows[rows.norm(dim=1) > 0]
    units = rows.shape[1]
    if not len(rows) or units < 2:
        return None
    ratio = rows.abs().sum(1) / rows.norm(dim=1)
    sparsity = (math.sqrt(units) - ratio) / (math.sqrt(units) - 1)
    columns = rows / rows.norm(dim=1, keepdim=True)
    columns = columns[:, columns.norm(dim=0) > 0]
    columns = columns / columns.norm(dim=0)
    between = (columns.T @ columns).abs()
    count = between.shape[0]
    symmetry = float((between.sum() - between.diagonal().sum()) / max(count * (count - 1), 1))
    return GradientShape(
        float((rows == 0).double().mean()),
        float(sparsity.mean()),
        symmetry,
        math.sqrt(2 / (math.pi * len(rows))),
    )


def unit_gradients(run: Trajectory, on_states: Tensor, on_outputs: Tensor) -> Tensor:
    """The gradient at the last layer's units, (T, N, H), before their nonlinearity where that is known.

    Args:
        run: the run.
        on_states: at the states after each step, (T, N, S).
        on_outputs: of each step's own loss by the last layer's outputs, (T, N, H).
    """
    places, slopes = _places_of_outputs(run), slopes_of(run)
    if places is None:  # of its readout's own step nothing is known but the outputs
        return on_states
    if slopes is None:
        return on_states[..., places] + on_outputs
    if getattr(run.network.cell, "form", None) == "preactivation":  # type: ignore[attr-defined]
        return on_states[..., places] + on_outputs * slopes[-1]
    return (on_states[..., places] + on_outputs) * slopes[-1]
