"""Products of Jacobians over lags: how much a gradient can grow or shrink on its way, whatever it is.

    sigma_i(J_{t+k} ... J_{t+1}),  i = 1 ... R

by subspace iteration through tangent and adjoint scans: no matrix is formed. A gradient is carried back by
the transpose of such a product, so the first singular value bounds how it grows, and where even that one is
far below 1 nothing is carried over k steps. Pascanu, Mikolov & Bengio 2013 (arXiv 1211.5063), section 2.1.

Shapes: T time, N streams, S numbers in a flat state, R singular values, K lags.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ostinato.diagnostics.networks import Network
from ostinato.dynamics.jacobians import jacobians_at, pulled, pushed
from ostinato.errors import UserError, argument


@torch.no_grad()
def singular_values(
    network: Network,
    inputs: Tensor,
    states: Tensor,
    lags: Sequence[int],
    number: int = 4,
    *,
    iterations: int = 30,
    tolerance: float = 1e-3,
    generator: torch.Generator | None = None,
) -> Tensor:
    """The largest singular values of the product of the Jacobians of the first k steps, for each lag k.

    Args:
        network: the network.
        inputs: (T, N, I), or tokens (T, N), time first; no sequence starts after the first step.
        states: before the first step, (N, S).
        lags: each from 1 to T.
        number: R, how many; at most S.
        iterations: at most as many.
        tolerance: it ends where no value changes by more than this share of itself.
        generator: of the first vectors.

    Returns:
        (K, N, R), the largest first.

    Example:
        >>> from ostinato.diagnostics import network
        >>> from ostinato.nn import RNN
        >>> cell = RNN(1, 3, nonlinearity="identity", dtype=torch.float64)
        >>> cell.weight_hh_l0.data = torch.diag(torch.tensor([0.9, 0.5, 0.1], dtype=torch.float64))
        >>> inputs = torch.zeros(4, 1, 1, dtype=torch.float64)
        >>> states = torch.zeros(1, 3, dtype=torch.float64)
        >>> singular_values(network(cell), inputs, states, [1, 2], 2, tolerance=1e-9).squeeze(1)
        tensor([[0.9000, 0.5000],
                [0.8100, 0.2500]], dtype=torch.float64)
    """
    size = states.shape[1]
    if not 1 <= number <= size:
        raise UserError(
            f"expected {argument('number')} from 1 to {size}, the numbers in a state, found {number}"
        )
    if not lags or min(lags) < 1 or max(lags) > inputs.shape[0]:
        raise UserError(
            f"expected {argument('lags')} from 1 to {inputs.shape[0]}, the steps, found {[*lags]}"
        )
    start = torch.empty(states.shape[0], size, number, dtype=states.dtype, device=states.device)
    start = torch.linalg.qr(start.normal_(generator=generator)).Q
    found = []
    for lag in lags:
        directions, values = start, states.new_zeros(states.shape[0], number)
        for _ in range(iterations):
            image = pushed(network.flow, states, inputs, lag, directions)[1]
            left, upper = torch.linalg.qr(image)
            before, values = values, torch.linalg.svdvals(upper)
            close = (values - before).abs() <= tolerance * values.amax(1, keepdim=True).clamp(
                min=torch.finfo(values.dtype).tiny
            )
            if bool(close.all()) or not bool(values.isfinite().all()):
                break
            back = pulled(network.flow, states, inputs, lag, left)[1]
            directions = torch.linalg.qr(back).Q
        found.append(values)
    return torch.stack(found)


@torch.no_grad()
def spectral_radii(network: Network, inputs: Tensor, states: Tensor) -> dict[str, Any]:
    """Largest absolute eigenvalues: of the recurrent weights, of the leaky map, of the step's own Jacobian.

    Args:
        network: the network.
        inputs: of a step, (N, I), or tokens (N,).
        states: before it, (N, S).

    Returns:
        "weights", by the parameter's name, for each square block of it; "leaky_map", of
        diag(a) + (1 - a) W, which is the Jacobian where every slope is 1, where units leak; "jacobian", the
        median over the N states.

    Example:
        >>> from ostinato.diagnostics import network
        >>> from ostinato.nn import RNN
        >>> cell = RNN(1, 2, leak=0.5, dtype=torch.float64)
        >>> cell.weight_hh_l0.data = torch.diag(torch.tensor([0.8, 0.4], dtype=torch.float64))
        >>> made = network(cell)
        >>> found = spectral_radii(made, torch.zeros(1, 1).double(), made.beginning(1))
        >>> found["weights"], round(found["leaky_map"]["weight_hh_l0"], 6)
        ({'weight_hh_l0': [0.8]}, 0.9)
    """
    weights: dict[str, list[float]] = {}
    leaky: dict[str, float] = {}
    leak = network.leak
    for name, matrix in network.weights().items():
        if matrix.shape[0] % matrix.shape[1]:
            continue
        blocks = matrix.split(matrix.shape[1])
        weights[name] = [_radius(block) for block in blocks]
        if leak is not None and len(blocks) == 1:
            own = leak[: matrix.shape[1]].unsqueeze(1)
            eye = torch.eye(matrix.shape[1], dtype=matrix.dtype, device=matrix.device)
            leaky[name] = _radius(own * eye + (1 - own) * blocks[0])
    jacobians = jacobians_at(network.flow, states, inputs)
    jacobians = jacobians[jacobians.isfinite().flatten(1).all(1)]
    own_radii = sorted(_radius(each) for each in jacobians)
    middle = own_radii[len(own_radii) // 2] if own_radii else None
    return {"weights": weights, "leaky_map": leaky, "jacobian": middle}


def _radius(matrix: Tensor) -> float:
    if not bool(matrix.isfinite().all()):
        return float("nan")
    return float(torch.linalg.eigvals(matrix).abs().max())
