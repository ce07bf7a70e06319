"""What `diagnose` is given, checked, and with the time first.

Shapes: T time, N streams, I inputs, H units, S numbers in a flat state.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ostinato.diagnostics.finding import TRAINING
from ostinato.diagnostics.networks import Network
from ostinato.diagnostics.trajectory import Trajectory
from ostinato.errors import UserError, argument
from ostinato.nn.cells.state import State

#: Of outputs, as the cell returns them, each step's own loss, or any tensor that adds up to all of them.
StepLoss = Callable[[Tensor], Tensor]


def checked(
    net: Network, inputs: Tensor, hx: State | None, starts: Tensor | None, mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """Inputs (T, N, I), states (N, S), starts and mask (T, N), of those given in the network's own layout.

    Raises:
        UserError: they do not go together, or with the network.
    """
    if not isinstance(inputs, Tensor) or inputs.dim() < 2 or 0 in inputs.shape[:2]:
        found = (
            tuple(inputs.shape)
            if isinstance(inputs, Tensor)
            else f"a {type(inputs).__module__}.{type(inputs).__name__}"
        )
        raise UserError(
            f"expected {argument('inputs')} as a tensor of at least one step and one stream, found {found}"
        )
    drive = net.time_first(inputs)
    marks, counts = (
        None if x is None else net.time_first(_marks(name, x, inputs))
        for name, x in (("starts", starts), ("mask", mask))
    )
    states = net.beginning(drive.shape[1]) if hx is None else net.flow.flat(hx)
    if states.shape[0] != drive.shape[1]:
        raise UserError(
            f"expected a state for each of {drive.shape[1]} streams in {argument('hx')}, found "
            f"{states.shape[0]}"
        )
    net.check(states, drive)
    return drive, states, marks, counts


def check_training(given: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """What is told of a training; a UserError for a name that means nothing here."""
    unknown = sorted(set(given or {}) - TRAINING.keys())
    if unknown:
        raise UserError(
            f"expected {argument('training')} of {', '.join(TRAINING)}, found {', '.join(unknown)}"
        )
    return given or {}


def _marks(name: str, marks: Tensor, inputs: Tensor) -> Tensor:
    """Booleans of every step and stream, in the layout of the inputs."""
    if isinstance(marks, Tensor) and marks.dtype is torch.bool and marks.shape == inputs.shape[:2]:
        return marks
    found = (
        f"{marks.dtype} of shape {tuple(marks.shape)}"
        if isinstance(marks, Tensor)
        else f"a {type(marks).__name__}"
    )
    raise UserError(f"expected boolean {argument(name)} of shape {tuple(inputs.shape[:2])}, found {found}")


def gradient_of(loss: StepLoss, net: Network, run: Trajectory) -> tuple[Tensor, bool]:
    """The gradient of a loss by the last layer's outputs, time first; and whether the loss is finite."""
    leaf = net.time_first(run.outputs[-1]).detach().requires_grad_()
    with torch.enable_grad():
        total = loss(leaf)
        if not isinstance(total, Tensor) or not total.requires_grad:
            found = "one that does not" if isinstance(total, Tensor) else f"a {type(total).__name__}"
            raise UserError(
                f"expected {argument('loss')} to make a tensor that depends on the outputs, found {found}"
            )
        (own,) = torch.autograd.grad(total.sum(), leaf)
    return net.time_first(own), bool(total.isfinite().all())
