"""A recurrence and a linear map of its outputs, which predicts, or runs on its own predictions.

Shapes: T time, B streams, I inputs, F features, K targets.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ostinato.errors import UserError, argument
from ostinato.nn.cells.state import State


class Readout(nn.Module):
    """y_t = W f_t + b of the features f_t of a recurrence; `fit_readout` makes it.

    An ordinary module: what a fit has begun, gradients may go on with.

    Attributes:
        cell: the recurrence.
        linear: W (K, F) and b, an `nn.Linear` in float64. Features are taken in its type, and predictions
            are of it: `readout.float()` makes all of it single.
        all_layers: whether the features are the outputs of every layer, or the last one's.
        direct: whether the inputs are features too, behind the outputs.
        ridge: the penalty that was chosen.
        errors: by penalty, the root mean squared error on the validation data; empty where none was needed.
        count: steps that were fitted.
    """

    def __init__(
        self, cell: Any, linear: nn.Linear, *, all_layers: bool = False, direct: bool = False
    ) -> None:
        super().__init__()
        self.cell, self.linear = cell, linear
        self.all_layers, self.direct = all_layers, direct
        self.ridge: float | None = None
        self.errors: Mapping[float, float] = {}
        self.count = 0

    def forward(
        self, inputs: Tensor, hx: State | None = None, starts: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Predictions of every step, and the state after the last.

        Args:
            inputs: (T, B, I), or tokens (T, B), as the cell takes them.
            hx: the state before the first step.
            starts: boolean (T, B), where a new sequence starts.

        Returns:
            (T, B, K), and the cell's state.
        """
        made, state = features(self.cell, inputs, hx, starts, all_layers=self.all_layers, direct=self.direct)
        return self.linear(made.to(self.linear.weight.dtype)), state

    @torch.no_grad()
    def free_run(
        self, steps: int, warm_up: Tensor, hx: State | None = None, *, further: Tensor | None = None
    ) -> Tensor:
        """What the network generates: each prediction is the input of the next step.

        Args:
            steps: T, how many predictions.
            warm_up: inputs (T', B, I) that are given before; the first prediction is that of its last step.
            hx: the state before the warm-up.
            further: (T, B, I - K), the inputs of each step behind those that are predicted; the last step's
                are not read. None where every input is predicted.

        Returns:
            Predictions (T, B, K).
        """
        self._check(steps, warm_up, further)
        made, state = self(warm_up, hx)
        y = made[-1:]
        predictions = [y]
        for step in range(steps - 1):
            x = y if further is None else torch.cat([y, further[step : step + 1].to(y.dtype)], -1)
            y, state = self(x.to(warm_up.dtype), state)
            predictions.append(y)
        return torch.cat(predictions)

    def _check(self, steps: int, warm_up: Tensor, further: Tensor | None) -> None:
        if steps < 1:
            raise UserError(f"expected {argument('steps')} of at least 1, found {steps}")
        if self.cell.batch_first or not warm_up.is_floating_point() or warm_up.dim() != 3:
            raise UserError(
                f"expected real {argument('warm_up')} (T, B, I) for a cell with the time first, found "
                f"{tuple(warm_up.shape)} of {warm_up.dtype}"
            )
        given = 0 if further is None else further.shape[-1]
        outputs, inputs = self.linear.out_features, self.cell.input_size
        if outputs + given != inputs:
            raise UserError(
                f"expected as many predictions and {argument('further')} inputs as the cell reads, {inputs}, "
                f"found {outputs} and {given}"
            )
        if further is not None and tuple(further.shape[:-1]) != (steps, warm_up.shape[1]):
            raise UserError(
                f"expected {argument('further')} inputs of {steps} steps and {warm_up.shape[1]} streams, "
                f"found {tuple(further.shape)}"
            )


def features(
    cell: Any, inputs: Tensor, hx: State | None, starts: Tensor | None, *, all_layers: bool, direct: bool
) -> tuple[Tensor, State]:
    """What is read of each step, (T, B, F), and the state after the last."""
    if all_layers:
        outputs, state = cell(inputs, hx, starts, all_layers=True)
    else:
        output, state = cell(inputs, hx, starts)
        outputs = [output]
    if direct:
        outputs = [*outputs, inputs.to(outputs[0].dtype)]
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs, -1), state
