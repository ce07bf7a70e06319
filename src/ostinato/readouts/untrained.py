"""Reservoirs: untrained leaky networks with an echo of their inputs (Jaeger 2001, GMD report 148)."""

import torch
from torch import Tensor

from ostinato.errors import UserError, argument
from ostinato.nn.cells.leaky import RNN


def reservoir(
    input_size: int,
    hidden_size: int,
    *,
    spectral_radius: float = 0.9,
    leak: float | Tensor | None = None,
    connectivity: float = 0.1,
    input_scaling: float | Tensor = 1.0,
    input_connectivity: float = 1.0,
    bias_scaling: float = 0.0,
    nonlinearity: str = "tanh",
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> RNN:
    """An echo-state network's reservoir: an `RNN` of one layer, its weights drawn and scaled.

        h_t = a h_{t-1} + (1 - a) phi(W_in x_t + b + W h_{t-1})

    W has normal weights at a share of its places, drawn one by one, and is scaled to the spectral radius.
    W_in and b are uniform in [-1, 1] times their scales. It is read by `fit_readout`, and trained by gradient
    as any other network. Lukosevicius 2012, "A practical guide to applying echo state networks".

    Args:
        input_size: I.
        hidden_size: H.
        spectral_radius: largest absolute eigenvalue of W. The leak does not change W.
        leak: a, the share of the OLD state that is kept: one minus the "leak rate" of the literature.
        connectivity: share of the weights of W that are not zero, in (0, 1].
        input_scaling: of W_in: a number, or one for each input (I,).
        input_connectivity: share of the weights of W_in that are not zero, in (0, 1].
        bias_scaling: of b.
        nonlinearity: phi, as in `RNN`.
        generator: the source of the draws.
        device, dtype: of the weights.

    Raises:
        UserError: a share outside (0, 1], or no spectrum to scale: too few weights that are not zero.

    Example:
        >>> net = reservoir(1, 200, spectral_radius=0.8, leak=0.7, generator=torch.Generator().manual_seed(0))
        >>> round(torch.linalg.eigvals(net.weight_hh_l0).abs().max().item(), 4)
        0.8
        >>> round((net.weight_hh_l0 != 0).float().mean().item(), 2)
        0.1
    """
    for name, share in (("connectivity", connectivity), ("input_connectivity", input_connectivity)):
        if not 0 < share <= 1:
            raise UserError(f"expected {argument(name)} above 0 and at most 1, found {share}")
    if not spectral_radius > 0:
        raise UserError(f"expected {argument('spectral_radius')} above 0, found {spectral_radius}")
    scales = torch.as_tensor(input_scaling, dtype=torch.float64)
    if scales.dim() and tuple(scales.shape) != (input_size,):
        raise UserError(
            f"expected {argument('input_scaling')} as a number or ({input_size},), found "
            f"{tuple(scales.shape)}"
        )
    cell = RNN(
        input_size,
        hidden_size,
        nonlinearity=nonlinearity,
        leak=leak,
        generator=generator,
        device=device,
        dtype=dtype,
    )
    place = generator.device if generator is not None else torch.device("cpu")
    drawn = _sparse((hidden_size, hidden_size), connectivity, generator, place, normal=True)
    radius = torch.linalg.eigvals(drawn).abs().max().item()
    if radius < 1e-8:  # nilpotent, but for rounding
        raise UserError(
            f"expected a reservoir with a spectral radius to scale, found none among {hidden_size} units at "
            f"{argument('connectivity')} {connectivity}; ask for more of either"
        )
    own = dict(cell.named_parameters())
    with torch.no_grad():
        own["weight_hh_l0"].copy_(drawn * (spectral_radius / radius))
        weights = _sparse((hidden_size, input_size), input_connectivity, generator, place, normal=False)
        own["weight_ih_l0"].copy_(weights * scales.to(place))
        bias = _sparse((hidden_size,), 1.0, generator, place, normal=False)
        own["bias_ih_l0"].copy_(bias * bias_scaling)
        own["bias_hh_l0"].zero_()
    return cell


def _sparse(
    shape: tuple[int, ...],
    share: float,
    generator: torch.Generator | None,
    place: torch.device,
    *,
    normal: bool,
) -> Tensor:
    """Normal or uniform numbers in float64, of which only a share is not zero."""
    values = torch.empty(shape, dtype=torch.float64, device=place)
    values = values.normal_(generator=generator) if normal else values.uniform_(-1, 1, generator=generator)
    kept = torch.empty(shape, dtype=torch.float64, device=place).uniform_(generator=generator) < share
    return values * kept
