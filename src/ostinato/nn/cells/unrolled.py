"""What the gated cells' scans over time share: when a hand-written derivative serves, and what serves else.

A scan is written twice: step by step, in differentiable operations, and as an `autograd.Function` whose
backward is written by hand, several times as fast. Both run the same steps, so both give the same bits.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from ostinato.nn.kernels.plain import unwatched


def hand_written_serves(tensors: Sequence[Tensor | None], constants: Sequence[Tensor | None]) -> bool:
    """Whether the hand-written derivative gives all that is asked for.

    It does for plain reverse differentiation by `tensors`. `torch.func` transforms, forward mode,
    `torch.compile` and tracers, a gradient for one of the constants, and runs without gradients take the
    steps.
    """
    return (
        torch.is_grad_enabled()
        and any(x is not None and x.requires_grad for x in tensors)
        and not any(x is not None and x.requires_grad for x in constants)
        and unwatched()
        and forward_ad._current_level < 0
    )


def gradients_by_steps(
    function: Callable[..., Any],
    inputs: Sequence[Tensor | None],
    wanted: Sequence[bool],
    cotangents: Sequence[Tensor | None],
) -> tuple[Tensor | None, ...]:
    """The gradients of a scan with a graph of their own, for derivatives of higher order.

    Args:
        function: the scan step by step; gives as many tensors as there are cotangents.
        inputs: its arguments.
        wanted: of which of them.
        cotangents: of its outputs; None counts as zero.
    """
    # Aliases cut off whatever one input owes to another upstream.
    aliases: list[Any] = [None if x is None else x.view_as(x) for x in inputs]
    given = [(y, g) for y, g in zip(function(*aliases), cotangents, strict=True) if g is not None]
    chosen = [i for i, need in enumerate(wanted) if need]
    result: list[Tensor | None] = [None] * len(inputs)
    if given:
        outputs, upstream = zip(*given, strict=True)
        found = torch.autograd.grad(
            outputs, [aliases[i] for i in chosen], upstream, create_graph=True, allow_unused=True
        )
        for i, gradient in zip(chosen, found, strict=True):
            result[i] = gradient
    return tuple(result)


def reset(state: Tensor, starts: Tensor | None) -> Tensor:
    """The state (B, H) a step starts from: zero where a sequence starts, (B,)."""
    return state if starts is None else state.masked_fill(starts.unsqueeze(-1), 0)
