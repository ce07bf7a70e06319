"""The element-wise nonlinearities of the recurrence and their slopes, as functions of the value.

Every slope used here is a function of phi(z) alone, which is why the recurrence never keeps z.

Some have a parameter, which stands in the name: "elu(0.5)" is phi(z) = z for z > 0, 0.5 (e^z - 1) else;
"leaky_relu(0.1)" has slope 0.1 below 0; "power(1.5)" is max(z, 0)^1.5. Without one they have PyTorch's 1 and
0.01, and the power 2. "softplus" is log(1 + e^z), and "retanh" the rectified tanh max(tanh z, 0).
"""

import functools
import math
import re

import torch
import torch.nn.functional as F
from torch import Tensor

# In the order of `enum class Nonlinearity` in native/simd/types.hpp.
NONLINEARITIES = (
    "tanh",
    "relu",
    "sigmoid",
    "identity",
    "softplus",
    "elu",
    "leaky_relu",
    "retanh",
    "power",
)
# The fused layer has these alone, and so do the scans of an extension that was built before the others came.
FUSED = NONLINEARITIES[:4]

# Of those that have a parameter: its value where none is said, and the range of what may be.
_PARAMETERS = {
    "elu": (1.0, "above 0", lambda x: x > 0),
    "leaky_relu": (0.01, "in [0, 1)", lambda x: 0 <= x < 1),
    "power": (2.0, "above 1", lambda x: x > 1),
}

# Those with a kink, on whose sides rounding could put a value that was recovered: the saved slopes say which.
KINKED = ("relu", "leaky_relu", "retanh", "power")

# Those that are not zero at zero.
_ABOVE_ZERO = ("sigmoid", "softplus")

_THRESHOLD = 40.0  # of the softplus: e^-40 is nothing beside 40 in float64


@functools.cache
def parse(nonlinearity: str) -> tuple[str, float]:
    """The name of a nonlinearity and its parameter, 0 where it has none.

    Raises:
        ValueError: there is no such nonlinearity, or its parameter is out of range.

    Example:
        >>> parse("power(1.5)"), parse("leaky_relu"), parse("tanh")
        (('power', 1.5), ('leaky_relu', 0.01), ('tanh', 0.0))
    """
    found = (
        re.fullmatch(r"([a-z_]+)(?:\(([^()]+)\))?", nonlinearity) if isinstance(nonlinearity, str) else None
    )
    name, given = found.groups() if found else ("", None)
    if name not in NONLINEARITIES:
        raise ValueError(f"nonlinearity must be one of {', '.join(NONLINEARITIES)}, got {nonlinearity!r}")
    if name not in _PARAMETERS:
        if given is not None:
            raise ValueError(f"nonlinearity {name} has no parameter, got {nonlinearity!r}")
        return name, 0.0
    default, wanted, holds = _PARAMETERS[name]
    try:
        parameter = default if given is None else float(given)
    except ValueError:
        parameter = math.nan
    if not (math.isfinite(parameter) and holds(parameter)):
        raise ValueError(
            f"the parameter of nonlinearity {name} must be a number {wanted}, got {nonlinearity!r}"
        )
    return name, parameter


def vanishes(nonlinearity: str) -> bool:
    """Whether phi(0) is zero.

    Example:
        >>> vanishes("power(1.5)"), vanishes("softplus")
        (True, False)
    """
    return parse(nonlinearity)[0] not in _ABOVE_ZERO


def check(nonlinearity: str) -> None:
    """Raise ValueError unless `nonlinearity` is one of `NONLINEARITIES`, with a parameter in its range."""
    parse(nonlinearity)


def value(nonlinearity: str, z: Tensor) -> Tensor:
    """phi(z), element-wise.

    Example:
        >>> value("relu", torch.tensor([-1.0, 2.0]))
        tensor([0., 2.])
        >>> value("power(3)", torch.tensor([-1.0, 2.0]))
        tensor([0., 8.])
    """
    name, parameter = parse(nonlinearity)
    match name:
        case "tanh":
            return torch.tanh(z)
        case "relu":
            return torch.relu(z)
        case "sigmoid":
            return torch.sigmoid(z)
        case "softplus":
            return F.softplus(z, threshold=_THRESHOLD)
        case "elu":
            return F.elu(z, parameter)
        case "leaky_relu":
            return F.leaky_relu(z, parameter)
        case "retanh":
            return torch.tanh(torch.relu(z))
        case "power":
            positive = z > 0  # 0 to a broken power has no second derivative
            # a NaN passes, as it passes a rectifier
            return torch.where(positive, torch.where(positive, z, 1.0) ** parameter, torch.relu(z))
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
        case "identity":
            return z
        case _:
            return z.copy_(value(nonlinearity, z))


def slope(nonlinearity: str, phi: Tensor) -> Tensor:
    """phi'(z) from phi(z); a rectifier's slope at its kink is 0, as in PyTorch.

    Example:
        >>> slope("sigmoid", torch.tensor([0.5]))
        tensor([0.2500])
        >>> slope("power(3)", torch.tensor([0.0, 8.0]))
        tensor([ 0., 12.])
    """
    name, parameter = parse(nonlinearity)
    match name:
        case "tanh":
            return 1 - phi * phi
        case "relu":
            return (phi > 0).to(phi.dtype)
        case "sigmoid":
            return phi - phi * phi
        case "softplus":
            return -torch.expm1(-phi)
        case "elu":
            return torch.where(phi > 0, torch.ones_like(phi), phi + parameter)
        case "leaky_relu":
            # not of two numbers, whose type would be float32
            return torch.where(phi > 0, torch.ones_like(phi), parameter)
        case "retanh":
            return torch.where(phi > 0, 1 - phi * phi, 0.0)
        case "power":
            return _slope_of_power(parameter, phi, phi > 0)
        case _:
            return torch.ones_like(phi)


def slope_again(nonlinearity: str, phi: Tensor, saved: Tensor) -> Tensor:
    """phi'(z), differentiable, from a phi(z) that was computed again, and the slope that was found before.

    Of `saved`, which has any positive factor, only the side of the kink is taken: rounding in phi could turn
    an exact zero into a small positive number.
    """
    name, parameter = parse(nonlinearity)
    match name:
        case "relu":
            return (saved > 0).to(phi.dtype)
        case "retanh":
            return torch.where(saved > 0, 1 - phi * phi, 0.0)
        case "power":
            return _slope_of_power(parameter, phi, saved > 0)
        case _:
            return slope(nonlinearity, phi)


def _slope_of_power(exponent: float, phi: Tensor, positive: Tensor) -> Tensor:
    tiny = torch.finfo(phi.dtype).tiny
    kept = torch.where(positive, phi, 1.0).clamp_min(tiny)
    return torch.where(positive, exponent * kept ** ((exponent - 1) / exponent), 0.0)
