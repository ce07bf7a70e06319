"""What no measurement can see through: numbers that are not finite, and states that are detached.

Shapes: T time, N streams, H units, S numbers in a flat state.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ostinato.diagnostics.finding import Finding
from ostinato.diagnostics.trajectory import Trajectory
from ostinato.errors import argument

#: Where numbers came in that are not finite, in the order in which one causes the next.
CAUSES = ("input", "weights", "first state", "state", "loss")


def wrong_input(inputs: Tensor) -> tuple[int, int, str] | None:
    """Frame, stream and a sentence of the first number that is not finite; None if all are."""
    if not inputs.is_floating_point():
        return None
    bad = ~inputs.isfinite()
    if not bool(bad.any()):
        return None
    frame, stream, place = bad.nonzero()[0].tolist()
    value = float(inputs[frame, stream, place])
    return frame, stream, f"the input of frame {frame} of stream {stream} is {value} (number {place})"


def wrong_state(run: Trajectory) -> tuple[int, int, str, int, str] | None:
    """Frame, stream, layer, unit and a sentence of the first one; of one frame that of the lowest layer."""
    after = torch.cat([run.before[1:], run.last.unsqueeze(0)])
    bad = ~after.isfinite()
    if not bool(bad.any()):
        return None
    frame = int(bad.flatten(1).any(1).nonzero()[0])
    for name, places in run.network.units.items():
        here = bad[frame][:, places]
        if bool(here.any()):
            stream, unit = here.nonzero()[0].tolist()
            value = float(after[frame, stream, places[unit]])
            said = f"{name}, unit {unit} is {value} at frame {frame} of stream {stream}"
            return frame, stream, name, unit, said
    return None


def not_finite(run: Trajectory, on_outputs: Sequence[Tensor]) -> dict[str, Any] | None:
    """The first cause of what is not finite in a run and its loss, as JSON values; None if all is finite.

    Args:
        run: the run.
        on_outputs: the gradient of the loss by the outputs of each layer, (T, N, H).

    Example:
        >>> from ostinato.diagnostics import network
        >>> from ostinato.diagnostics.trajectory import trajectory
        >>> inputs = torch.zeros(4, 1, 3)
        >>> inputs[2, 0, 1] = torch.nan
        >>> not_finite(trajectory(network(torch.nn.RNN(3, 5)), inputs), [])
        {'what': 'input', 'sentence': 'the input of frame 2 of stream 0 is nan (number 1)'}
    """
    found = wrong_input(run.inputs)
    if found is not None:
        return {"what": CAUSES[0], "sentence": found[-1]}
    bad = [name for name, x in run.network.parameters.items() if not bool(x.isfinite().all())]
    if bad:
        return {"what": CAUSES[1], "sentence": f"not all numbers of {bad[0]} are finite"}
    if not bool(run.before[0].isfinite().all()):
        stream, place = (~run.before[0].isfinite()).nonzero()[0].tolist()
        return {"what": CAUSES[2], "sentence": f"the first state of stream {stream} is not (number {place})"}
    state = wrong_state(run)
    if state is not None:
        return {"what": CAUSES[3], "sentence": state[-1]}
    for own in on_outputs:
        if not bool(own.isfinite().all()):
            frame, stream = (~own.isfinite()).any(-1).nonzero()[0].tolist()
            said = f"its gradient at the outputs of frame {frame} of stream {stream} is not"
            return {"what": CAUSES[4], "sentence": said}
    return None


def passes_back(run: Trajectory) -> bool:
    """Whether a gradient gets from the states after a step to those before it, zero or not."""
    states = run.before[0].clone().requires_grad_()
    with torch.enable_grad():
        following = run.again(0, states)[1]
    if not following.requires_grad:
        return False
    (found,) = torch.autograd.grad(following.sum(), states, allow_unused=True)
    return found is not None


def given_not_finite(record: Mapping[str, Any]) -> Iterator[Finding]:
    """Numbers that are given and not finite."""
    yield from _told(record, "input", "first state")


def not_transformed(record: Mapping[str, Any]) -> Iterator[Finding]:
    """A step of one's own that products of Jacobians cannot be had of."""
    if record.get("not_transformed"):
        yield Finding(
            "products not measured",
            False,
            "products of Jacobians and Lyapunov exponents were not measured, since torch.func does not get "
            f"through the step ({record['not_transformed']})",
            "all else was; for these too, write the step in PyTorch's operations alone",
        )


def came_not_finite(record: Mapping[str, Any]) -> Iterator[Finding]:
    """Numbers that came to be not finite: after the causes of that, if these are known."""
    yield from _told(record, "weights", "state", "loss")


# Of each cause the finding's name, how its sentence begins, and the advice.
_NOT_FINITE = {
    "input": ("input not finite", "inputs are not finite", "give finite ones, or leave them out"),
    "weights": (
        "weights not finite",
        "weights are not finite",
        f"begin anew, with a smaller {argument('learning_rate')} and {argument('clip')}: no step mends them",
    ),
    "first state": (
        "state not finite",
        "the states before the first step are not finite",
        "begin with finite ones, such as zeros",
    ),
    "state": (
        "state not finite",
        "states become infinite or no number",
        "make inputs and weights smaller, or look there for a division by zero, a root or a logarithm",
    ),
    "loss": (
        "loss not finite",
        "the loss, or its gradient, is not finite",
        "look there at targets and outputs, for a division by zero, a root or a logarithm",
    ),
}


def _told(record: Mapping[str, Any], *causes: str) -> Iterator[Finding]:
    """What is not finite, if it is for one of these causes."""
    found = record.get("not_finite") or {}
    if (what := found.get("what")) in causes:
        name, so, advice = _NOT_FINITE[what]
        yield Finding(name, True, f"{so}: {found['sentence']}", advice)


def detached(record: Mapping[str, Any]) -> Iterator[Finding]:
    """States through which nothing goes back."""
    if record.get("detached"):
        yield Finding(
            "detached states",
            True,
            "no gradient gets from a state to the one before it: the step detaches it, or computes without "
            "gradients",
            "leave out detach(), .data and torch.no_grad() within a sequence: without them it learns over "
            "time",
        )
