"""The state of any optimizer as named tensors and JSON values: what a checkpoint can hold without pickling.

`torch.optim.Optimizer.load_state_dict` turns tensors into the parameter's type, which would round some of
them; here every bit comes back, so training goes on as if it had not stopped.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


def flat_state(
    optimizer: torch.optim.Optimizer, parameters: Sequence[Tensor]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Copies of all tensors, as "PARAMETER.ENTRY", and everything else as JSON values.

    Args:
        optimizer: any whose state is tensors and JSON values by parameter.
        parameters: all of its parameters; their places in this order are their names.

    Raises:
        TypeError: the state holds something else.

    Example:
        >>> weight = torch.zeros(2, requires_grad=True)
        >>> weight.grad = torch.ones(2)
        >>> optimizer = torch.optim.SGD([weight], lr=0.5, momentum=0.9)
        >>> optimizer.step()
        >>> tensors, state = flat_state(optimizer, [weight])
        >>> tensors, state["groups"][0]["lr"]
        ({'0.momentum_buffer': tensor([1., 1.])}, 0.5)
    """
    tensors: dict[str, Tensor] = {}
    values: dict[str, Any] = {}
    elsewhere = []
    for index, parameter in enumerate(parameters):
        for key, value in optimizer.state.get(parameter, {}).items():
            name = f"{index}.{key}"
            if isinstance(value, Tensor):
                tensors[name] = value.detach().clone()
                if value.device != parameter.device:
                    elsewhere.append(name)
            else:
                values[name] = _checked(value, name)
    groups = [
        {k: _checked(v, k) for k, v in group.items() if k != "params"} for group in optimizer.param_groups
    ]
    # torch counts some steps on the CPU, whatever the parameter's device is
    return tensors, {"groups": groups, "values": values, "elsewhere": elsewhere}


def load_flat_state(
    optimizer: torch.optim.Optimizer,
    parameters: Sequence[Tensor],
    tensors: Mapping[str, Tensor],
    state: Mapping[str, Any],
) -> None:
    """Take up what `flat_state` gave, in an optimizer made with the same settings.

    Entries of the groups that `state` lacks, being of an older version, stay as the optimizer has them.

    Raises:
        ValueError: the state is that of an optimizer with another number of groups or parameters.
    """
    groups = state["groups"]
    if len(groups) != len(optimizer.param_groups):
        raise ValueError(
            f"expected the state of {len(optimizer.param_groups)} groups of parameters, got {len(groups)}"
        )
    entries: dict[str, Any] = dict(tensors) | state.get("values", {})
    elsewhere = set(state.get("elsewhere", ()))
    if any(int(name.partition(".")[0]) >= len(parameters) for name in entries):
        raise ValueError(f"expected the state of {len(parameters)} parameters, got that of more")
    for group, saved in zip(optimizer.param_groups, groups, strict=True):
        for key, value in saved.items():
            group[key] = tuple(value) if isinstance(group.get(key), tuple) else value
    optimizer.state.clear()
    for name, value in entries.items():
        index, _, key = name.partition(".")
        parameter = parameters[int(index)]
        own = value
        if isinstance(value, Tensor):
            own = value.clone() if name in elsewhere else value.to(parameter.device, copy=True)
        optimizer.state[parameter][key] = own


def _checked(value: Any, name: str) -> Any:
    """The value as JSON gives it back; a TypeError where JSON cannot hold it."""
    try:
        again = json.loads(json.dumps(value))
    except TypeError:
        again = None
    if (list(value) if isinstance(value, tuple) else value) != again:
        raise TypeError(f"an optimizer's {name} is {value!r}, which a checkpoint cannot hold")
    return again
