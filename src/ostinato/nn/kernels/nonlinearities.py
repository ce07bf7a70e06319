"""The element-wise nonlinearities of the recurrence and their slopes, as functions of the value.

Every slope used here is a function of phi(z) alone, which is why the recurrence never keeps z.
"""

import torch
from torch import Tensor

NONLINEARITIES = ("tanh", "relu", "sigmoid", "identity")


def check(nonlinearity: str) -> None:
    """Raise ValueError unless `nonlinearity` is one of `NONLINEARITIES`."""
    if nonlinearity not in NONLINEARITIES:
        raise ValueError(f"nonlinearity must be one of {', '.join(NONLINEARITIES)}, got {nonlinearity!r}")


def value(nonlinearity: str, z: Tensor) -> Tensor:
    """phi(z), element-wise.

    Example:
        >>> value("relu", torch.tensor([-1.0, 2.0]))
        tensor([0., 2.])
    """
    match nonlinearity:
        case "tanh":
            return torch.tanh(z)
        case "relu":
            return torch.relu(z)
        case "sigmoid":
            return torch.sigmoid(z)
        case _:
            return z.clone()


def value_(nonlinearity: str, z: Tensor) -> Tensor:
    """phi(z), written over z."""
    match nonlinearity:
        case "tanh":
            return z.tanh_()
        case "relu":
            return z.relu_()
        case "sigmoid":
            return z.sigmoid_()
        case _:
            return z


def slope(nonlinearity: str, phi: Tensor) -> Tensor:
    """phi'(z) from phi(z); the rectifier's slope at its kink is 0, as in PyTorch.

    Example:
        >>> slope("sigmoid", torch.tensor([0.5]))
        tensor([0.2500])
    """
    match nonlinearity:
        case "tanh":
            return 1 - phi * phi
        case "relu":
            return (phi > 0).to(phi.dtype)
        case "sigmoid":
            return phi - phi * phi
        case _:
            return torch.ones_like(phi)
