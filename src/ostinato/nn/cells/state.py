"""The state of a recurrence: one tensor, or a tuple of them, whose second dimension counts the streams.

An RNN and a GRU carry one tensor (L, B, H), an LSTM two of them, (h, c). Whoever carries a state from one
call to the next, reorders its streams, or writes it to a checkpoint does so by these functions and never asks
which of the two it has. Shapes: L layers, B streams, H hidden.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

# A state holds states: mypy would need a recursive type here, whose checks in callers say nothing useful.
#: What a layer carries from step to step: a tensor, or several.
State = Tensor | tuple[Any, ...]


def map_state(function: Callable[..., Tensor], *states: State) -> State:
    """`function` of the tensors at each place of the states, which are built alike.

    Example:
        >>> map_state(torch.add, (torch.ones(1), torch.zeros(1)), (torch.ones(1), torch.ones(1)))
        (tensor([2.]), tensor([1.]))
    """
    first = states[0]
    if isinstance(first, Tensor):
        return function(*states)
    return tuple(map_state(function, *parts) for parts in zip(*states, strict=True))


def detached(state: State) -> State:
    """The state as a constant: no gradient passes through it."""
    return map_state(Tensor.detach, state)


def zeros_like(state: State) -> State:
    """The state before a sequence that has the shapes of this one."""
    return map_state(torch.zeros_like, state)


def finite(state: State) -> State:
    """The state with zeros where it is not finite.

    Example:
        >>> finite(torch.tensor([1.0, float("nan"), float("inf")]))
        tensor([1., 0., 0.])
    """
    return map_state(lambda x: torch.nan_to_num(x, nan=0.0, posinf=0.0, neginf=0.0), state)


def select(state: State, streams: Tensor) -> State:
    """The states of some streams, in the order of the indices (K,), each as often as it is named.

    Example:
        >>> select((torch.tensor([[[1.0], [2.0]]]), torch.tensor([[[3.0], [4.0]]])), torch.tensor([1, 1]))
        (tensor([[[2.],
                 [2.]]]), tensor([[[4.],
                 [4.]]]))
    """
    return map_state(lambda x: x.index_select(1, streams), state)


def repeat(state: State, count: int) -> State:
    """The state of a single stream for `count` of them.

    Example:
        >>> repeat(torch.zeros(2, 1, 5), 3).shape
        torch.Size([2, 3, 5])
    """
    return map_state(lambda x: x.expand(-1, count, *x.shape[2:]).contiguous(), state)


def concatenate(states: Sequence[State]) -> State:
    """States of some streams each, as one state of all of them.

    Example:
        >>> concatenate([torch.zeros(2, 1, 5), torch.zeros(2, 3, 5)]).shape
        torch.Size([2, 4, 5])
    """
    return map_state(lambda *parts: torch.cat(parts, 1), *states)


def with_last(state: State, row: Tensor) -> State:
    """The state with one more row (1, B, H): the last of a tensor, or an element of its own in a tuple.

    Example:
        >>> with_last(torch.zeros(2, 3, 5), torch.zeros(1, 3, 5)).shape
        torch.Size([3, 3, 5])
    """
    return torch.cat([state, row]) if isinstance(state, Tensor) else (*state, row)


def without_last(state: State) -> tuple[State, Tensor]:
    """What `with_last` was given.

    Example:
        >>> state, row = without_last((torch.zeros(2, 3, 5), torch.zeros(2, 3, 5), torch.ones(1, 3, 5)))
        >>> len(state), row.shape
        (2, torch.Size([1, 3, 5]))
    """
    return state[:-1], state[-1:] if isinstance(state, Tensor) else state[-1]


def named_tensors(state: State, name: str) -> dict[str, Tensor]:
    """The state for a checkpoint: its only tensor under the name, or each of its tensors under name.0, ...

    Example:
        >>> sorted(named_tensors((torch.zeros(1), torch.zeros(1)), "carried"))
        ['carried.0', 'carried.1']
    """
    if isinstance(state, Tensor):
        return {name: state}
    return {k: x for i, part in enumerate(state) for k, x in named_tensors(part, f"{name}.{i}").items()}


def from_named_tensors(tensors: Mapping[str, Tensor], name: str) -> State | None:
    """The state that `named_tensors` gave; None where there is nothing of that name.

    Example:
        >>> from_named_tensors({"carried.0": torch.zeros(1), "carried.1": torch.ones(1)}, "carried")
        (tensor([0.]), tensor([1.]))
    """
    if name in tensors:
        return tensors[name]
    if not any(key.startswith(f"{name}.") for key in tensors):
        return None
    parts: list[State] = []
    while (part := from_named_tensors(tensors, f"{name}.{len(parts)}")) is not None:
        parts.append(part)
    return tuple(parts)
