"""The gradient of a parameter, taken apart into short-term and long-term parts, exactly.

    d L / d theta = sum_t sum_k  (d L_t / d s_{t-k}) (d+ s_{t-k} / d theta)

where d+ is the immediate derivative, of one step. The terms of lag k are what a use of the parameters k steps
before a loss contributed to it; a span adds up those of its lags. Lag 0 is the step of the loss itself.
Pascanu, Mikolov & Bengio 2013 (arXiv 1211.5063), equations 3 to 5.

Shapes: T time, N streams, H units, S numbers in a flat state.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from ostinato.diagnostics.trajectory import Trajectory, swept
from ostinato.errors import UserError, argument


@dataclass(frozen=True)
class Span:
    """The part of a gradient that comes from some lags.

    Attributes:
        first: the smallest of them.
        last: the largest of them.
        gradients: by the parameter's name, in its shape.
    """

    first: int
    last: int
    gradients: dict[str, Tensor]

    @property
    def norm(self) -> float:
        """Of all parameters together."""
        return float(_dot(self.gradients, self.gradients) ** 0.5)


def _dot(a: dict[str, Tensor], b: dict[str, Tensor]) -> Tensor:
    return torch.stack([(a[name].double() * b[name].double()).sum() for name in a]).sum()


def doubling(steps: int) -> list[int]:
    """Where spans begin: 0, 1, 2, 4, 8, ... below the steps.

    Example:
        >>> doubling(10)
        [0, 1, 2, 4, 8]
    """
    found = [0]
    while max(1, 2 * found[-1]) < steps:
        found.append(max(1, 2 * found[-1]))
    return found


def gradient_by_span(
    run: Trajectory, on_outputs: Sequence[Tensor], begins: Sequence[int] | None = None
) -> list[Span]:
    """The gradient of the sum of all steps' losses by the network's parameters, span by span.

    Args:
        run: the run.
        on_outputs: the gradient of every step's own loss by the outputs of each layer, (T, N, H) each.
        begins: the smallest lag of each span, rising from 0; 0, 1, 2, 4, 8, ... if None.

    Returns:
        The spans, whose gradients add up to that of backpropagation through the whole run.

    Raises:
        UserError: the spans do not rise from 0, or there are no parameters.

    Example:
        >>> from ostinato.diagnostics import network
        >>> from ostinato.diagnostics.trajectory import trajectory
        >>> from ostinato.nn import RNN
        >>> cell, inputs = RNN(2, 3, dtype=torch.float64), torch.randn(9, 1, 2, dtype=torch.float64)
        >>> run = trajectory(network(cell), inputs)
        >>> spans = gradient_by_span(run, [torch.ones(9, 1, 3, dtype=torch.float64)])
        >>> [(span.first, span.last) for span in spans]
        [(0, 0), (1, 1), (2, 3), (4, 7), (8, 8)]
        >>> cell(inputs)[0].sum().backward()
        >>> total = sum(span.gradients["weight_hh_l0"] for span in spans)
        >>> torch.allclose(total, cell.weight_hh_l0.grad, rtol=0, atol=1e-10)
        True
    """
    begins = [*(doubling(run.steps) if begins is None else begins)]
    if not begins or begins[0] != 0 or any(a >= b for a, b in pairwise(begins)):
        raise UserError(f"expected {argument('begins')} that rise from 0, found {begins}")
    if not run.network.parameters:
        raise UserError(f"expected a network with {argument('parameters')}, found none")
    edges = torch.tensor(begins)
    # of each span, what is at the states after each step
    cotangents = run.before.new_zeros(len(begins), run.steps, *run.before.shape[1:])
    for here in swept(run, range(run.steps), on_outputs):
        if here.step == 0:
            break
        lags = here.times - here.step + 1
        which = (torch.searchsorted(edges, lags, right=True) - 1).to(cotangents.device)
        cotangents[:, here.step - 1].index_add_(0, which, here.gradients)
    none = [torch.zeros_like(own) for own in on_outputs]
    ends = [*(b - 1 for b in begins[1:]), run.steps - 1]
    return [
        Span(first, last, _parameter_gradients(run, cotangents[k], on_outputs if first == 0 else none))
        for k, (first, last) in enumerate(zip(begins, ends, strict=True))
        if first < run.steps
    ]


def _parameter_gradients(
    run: Trajectory, on_states: Tensor, on_outputs: Sequence[Tensor]
) -> dict[str, Tensor]:
    """What gradients at the states after each step, and at its outputs, give the parameters in that step."""
    wanted = {name: p for name, p in run.network.parameters.items() if p.requires_grad}
    total = {name: torch.zeros_like(p) for name, p in wanted.items()}
    for t in range(run.steps):
        with torch.enable_grad():
            outputs, following = run.again(t, run.before[t])
            roots = [following, *outputs]
            given = [on_states[t], *(own[t] for own in on_outputs)]
            kept = [(r, g) for r, g in zip(roots, given, strict=True) if r.requires_grad]
            if not kept:  # computed without gradients
                continue
            found = torch.autograd.grad(
                [r for r, _ in kept], [*wanted.values()], [g for _, g in kept], allow_unused=True
            )
        for name, gradient in zip(wanted, found, strict=True):
            if gradient is not None:
                total[name] += gradient  # a sparse one too
    return total


def shares(spans: Sequence[Span]) -> list[dict[str, Any]]:
    """Of each span the norm, the cosine with the whole gradient, and the share of it along itself.

    The shares, <g_span, g> / <g, g>, add up to 1; one below 0 works against the whole.
    """
    names = spans[0].gradients
    whole = {name: torch.stack([span.gradients[name] for span in spans]).sum(0) for name in names}
    square = float(_dot(whole, whole))
    listed = []
    for span in spans:
        along = float(_dot(span.gradients, whole))
        length = span.norm * square**0.5
        listed.append(
            {
                "first_lag": span.first,
                "last_lag": span.last,
                "norm": span.norm,
                "cosine": along / length if length > 0 else 0.0,
                "share": along / square if square > 0 else 0.0,
            }
        )
    return listed
