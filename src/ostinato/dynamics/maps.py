"""A recurrence, or a function of one's own, as one map of flat states: what this package's functions work on.

    h_t = F(h_{t-1}, x_t)

Shapes: T time, N points or streams, I inputs, L layers, H hidden, S the numbers in a state: L H for an RNN
or a GRU, 2 L H for an LSTM, whose state is h of all layers and then c of all layers.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ostinato.errors import UserError, argument, check_not_negative
from ostinato.nn.cells.dropping import acting
from ostinato.nn.cells.protocol import Recurrence
from ostinato.nn.cells.state import State, map_state

#: One's own step: f(states (N, S), inputs (N, I) or None) -> the next states (N, S).
Function = Callable[[Tensor, Any], Tensor]


class StepMap(ABC):
    """A map of flat states (N, S), driven by inputs or not; `step_map` makes it."""

    @abstractmethod
    def step(self, states: Tensor, input: Tensor | None) -> Tensor:
        """The states (N, S) after a step on an input (N, I), on tokens (N,), or on none."""

    def last(self, states: Tensor, inputs: Tensor | None, steps: int) -> Tensor:
        """The states (N, S) after several steps on inputs (T, N, I), on tokens (T, N), or on none."""
        for t in range(steps):
            states = self.step(states, None if inputs is None else inputs[t])
        return states

    def trajectory(self, states: Tensor, inputs: Tensor | None, steps: int) -> Tensor:
        """All states (T, N, S) after each of several steps."""
        made = []
        for t in range(steps):
            states = self.step(states, None if inputs is None else inputs[t])
            made.append(states)
        return torch.stack(made)

    @abstractmethod
    def flat(self, state: State) -> Tensor:
        """A state as the cell returns it, or a flat one (N, S) or (S,), as a flat one (N, S)."""

    def formed(self, states: Tensor) -> State:
        """Flat states (N, S) as the cell takes them: the inverse of `flat`."""
        return states

    def beginning(self, streams: int) -> Tensor:
        """The flat states (N, S) before a sequence."""
        raise UserError(f"expected {argument('hx')}, the states in which a function starts, found None")

    def time_first(self, inputs: Tensor | None) -> Tensor | None:
        """Inputs in the cell's own layout, with the time first: (T, N, I), or tokens (T, N)."""
        return inputs


def step_map(cell: Any) -> StepMap:
    """A recurrence, or a function f(state, input), as a map of flat states.

    Args:
        cell: a recurrence of ours; or f, which takes states (N, S) and inputs (N, I), or None where there
            are none, and returns the next states (N, S), each row by itself, in operations of PyTorch.

    Raises:
        UserError: it is no such map: it runs in both directions, drops units, draws noise, or is another
            library's.

    Example:
        >>> from ostinato.nn import LSTM
        >>> step_map(LSTM(3, 5, num_layers=2)).beginning(1).shape
        torch.Size([1, 20])
    """
    if isinstance(cell, StepMap):
        return cell
    if isinstance(cell, nn.RNNBase):
        name = type(cell).__name__
        raise UserError(
            f"expected {argument('cell')} as a recurrence such as ostinato.nn.{name}, or a function f(state, "
            f"input), found torch.nn.{name}; its state dict loads into ostinato.nn.{name}"
        )
    if isinstance(cell, Recurrence):
        return _CellMap(cell)
    if callable(cell):
        return _FunctionMap(cell)
    raise UserError(
        f"expected {argument('cell')} as a recurrence such as ostinato.nn.RNN, or a function f(state, "
        f"input), found a {type(cell).__name__}"
    )


class _CellMap(StepMap):
    """A recurrence's map."""

    def __init__(self, cell: Recurrence) -> None:
        if getattr(cell, "bidirectional", False):
            raise UserError(
                f"expected {argument('cell')} as a map from step to step, found one that reads in both "
                "directions"
            )
        for name, value in acting(cell).items():
            raise UserError(
                f"expected {argument('cell')} without chance, found {name}={value} while training; "
                "call its eval() first"
            )
        if getattr(cell, "is_noisy", False) and (cell.training or getattr(cell, "noise_in_eval", False)):
            raise UserError(
                f"expected {argument('cell')} without chance, found noise; call its eval() first, and "
                "make it with noise_in_eval=False"
            )
        self._cell = cell
        self._form = cell.initial_state(1)
        self._shapes = [(part.shape[0], part.shape[2]) for part in _parts(self._form)]
        self._sizes = [layers * units for layers, units in self._shapes]

    def step(self, states: Tensor, input: Tensor | None) -> Tensor:
        return self.last(states, None if input is None else input.unsqueeze(0), 1)

    def last(self, states: Tensor, inputs: Tensor | None, steps: int) -> Tensor:
        if inputs is None:
            inputs = states.new_zeros(steps, states.shape[0], self._cell.input_size)
        inputs = inputs[:steps]
        own = inputs.transpose(0, 1) if self._cell.batch_first else inputs
        return self.flat(self._cell(own, self.formed(states))[1])

    def flat(self, state: State) -> Tensor:
        size = sum(self._sizes)
        self._check_type(state)
        if isinstance(state, Tensor) and state.dim() in (1, 2):
            if state.shape[-1] != size:
                raise UserError(
                    f"expected flat states (N, {size}), or a state as the cell returns it, found shape "
                    f"{tuple(state.shape)}"
                )
            return state.unsqueeze(0) if state.dim() == 1 else state
        parts = list(_parts(state))
        found = [(part.shape[0], part.shape[-1]) for part in parts]
        if any(part.dim() != 3 for part in parts) or found != self._shapes:
            wanted = ", ".join(f"({layers}, N, {units})" for layers, units in self._shapes)
            shapes = ", ".join(str(tuple(part.shape)) for part in parts)
            raise UserError(f"expected a state of shapes {wanted}, or flat ones (N, {size}), found {shapes}")
        return torch.cat([part.transpose(0, 1).flatten(1) for part in parts], -1)

    def _check_type(self, state: State) -> None:
        parts = [state] if isinstance(state, Tensor) or not isinstance(state, tuple | list) else [*state]
        wanted = next(_parts(self._form)).dtype
        for part in parts:
            if not isinstance(part, Tensor):
                raise UserError(
                    f"expected states as tensors, found {type(part).__module__}.{type(part).__name__}"
                )
            if part.dtype is not wanted:
                raise UserError(
                    f"expected states of the cell's own type {wanted}, found {part.dtype}; convert either, "
                    "as by cell.double()"
                )

    def formed(self, states: Tensor) -> State:
        parts = zip(states.split(self._sizes, -1), self._shapes, strict=True)
        made = iter([part.unflatten(-1, shape).transpose(0, 1).contiguous() for part, shape in parts])
        return map_state(lambda _: next(made), self._form)

    def beginning(self, streams: int) -> Tensor:
        return self.flat(self._cell.initial_state(streams)).detach()

    def time_first(self, inputs: Tensor | None) -> Tensor | None:
        if inputs is None:
            if self._cell.token_inputs:
                raise UserError(f"expected {argument('inputs')} for a cell that reads tokens, found None")
            return None
        return inputs.transpose(0, 1) if self._cell.batch_first else inputs


class _FunctionMap(StepMap):
    """A function's map."""

    def __init__(self, function: Function) -> None:
        self._function = function

    def step(self, states: Tensor, input: Tensor | None) -> Tensor:
        following = self._function(states, input)
        if following.shape != states.shape:
            raise UserError(
                f"expected f to return states of shape {tuple(states.shape)}, found {tuple(following.shape)}"
            )
        return following

    def flat(self, state: State) -> Tensor:
        if not isinstance(state, Tensor) or state.dim() not in (1, 2):
            found = tuple(state.shape) if isinstance(state, Tensor) else f"a {type(state).__name__}"
            raise UserError(f"expected states (N, S) or (S,) of a function, found {found}")
        return state.unsqueeze(0) if state.dim() == 1 else state


def _parts(state: State) -> Iterator[Tensor]:
    """The tensors of a state, in order."""
    if isinstance(state, Tensor):
        yield state
    else:
        for part in state:
            yield from _parts(part)


def driven(
    flow: StepMap, inputs: Tensor | None, hx: State | None, steps: int | None
) -> tuple[Tensor, Any, int]:
    """States (N, S), inputs with the time first or None, and the number of steps, which go together.

    Raises:
        UserError: they do not, or neither inputs nor steps are given.
    """
    drive = flow.time_first(inputs)
    if drive is None:
        if steps is None or steps < 1:
            raise UserError(
                f"expected {argument('steps')} of at least 1 where there are no {argument('inputs')}, found "
                f"{steps}"
            )
        states = flow.beginning(1) if hx is None else flow.flat(hx)
        return states, None, steps
    if drive.dim() < 2 or drive.shape[0] < 1:
        raise UserError(
            f"expected {argument('inputs')} (T, N, I), or tokens (T, N), of at least one step, found "
            f"{tuple(drive.shape)}"
        )
    if steps is not None and steps != drive.shape[0]:
        raise UserError(
            f"expected no {argument('steps')} beside inputs of {drive.shape[0]} steps, found {steps}"
        )
    states = flow.beginning(drive.shape[1]) if hx is None else flow.flat(hx)
    if states.shape[0] != drive.shape[1]:
        raise UserError(
            f"expected a state for each of {drive.shape[1]} streams in {argument('hx')}, found "
            f"{states.shape[0]}"
        )
    return states, drive, drive.shape[0]


@torch.no_grad()
def sample_states(
    cell: Any,
    inputs: Tensor | None = None,
    count: int = 256,
    *,
    hx: State | None = None,
    steps: int | None = None,
    noise: float = 0.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """States that a network visits, drawn at random: where a search for fixed points starts.

    Args:
        cell: as in `step_map`.
        inputs: (T, N, I), or tokens (T, N), in the cell's own layout; None for `steps` without.
        count: how many states to draw, each visited one as likely as another, with replacement.
        hx: the states before the first step; those before a sequence if None.
        steps: how many, where there are no inputs.
        noise: standard deviation of what is added to each number.
        generator: the source of the draws.

    Returns:
        Flat states, (count, S).

    Example:
        >>> from ostinato.nn import GRU
        >>> sample_states(GRU(3, 5), torch.randn(20, 4, 3), 100, noise=0.1).shape
        torch.Size([100, 5])
    """
    if count < 1:
        raise UserError(f"expected {argument('count')} of at least 1, found {count}")
    check_not_negative("noise", noise)
    flow = step_map(cell)
    states, drive, steps = driven(flow, inputs, hx, steps)
    visited = flow.trajectory(states, drive, steps).flatten(0, 1)
    chosen = torch.randint(visited.shape[0], (count,), generator=generator, device=visited.device)
    drawn = visited[chosen]
    if noise:
        drawn = drawn + noise * torch.empty_like(drawn).normal_(generator=generator)
    return drawn
