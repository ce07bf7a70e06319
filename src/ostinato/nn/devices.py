"""Where a model computes, and random draws that are the same wherever that is.

A generator belongs to one device. Those of a run are generators of the CPU, whatever device its model is
on: what they draw is then moved, so that a seed means the same initial weights, the same order of data and
the same draws everywhere.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ostinato.errors import UserError, argument

CPU = torch.device("cpu")


def find_device(name: str | torch.device = "cpu") -> torch.device:
    """The device of a name: "cpu", "cuda", "cuda:1", or "auto": a GPU where there is one, else the CPU.

    Raises:
        UserError: it is none of these, or PyTorch finds no such GPU.

    Example:
        >>> find_device("cpu")
        device(type='cpu')
        >>> find_device("gpu")
        Traceback (most recent call last):
        ...
        ostinato.errors.UserError: expected device to be cpu, cuda, cuda:NUMBER or auto, found 'gpu'
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda", 0) if gpus else CPU
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda") or (device.type == "cpu" and device.index):
        raise UserError(
            f"expected {argument('device')} to be cpu, cuda, cuda:NUMBER or auto, found {str(name)!r}"
        )
    if device.type == "cpu":
        return CPU
    if gpus == 0:
        build = "a build for the CPU alone" if torch.version.cuda is None else f"CUDA {torch.version.cuda}"
        raise UserError(
            f"expected a GPU for {argument('device')} {name}, found none that PyTorch {torch.__version__} "
            f"can use ({build}); use cpu, or auto, which takes a GPU only where there is one"
        )
    index = torch.cuda.current_device() if device.index is None else device.index
    if index >= gpus:
        raise UserError(
            f"expected a GPU of number 0 to {gpus - 1}, found {argument('device')} {name}; use one of these"
        )
    return torch.device("cuda", index)


def device_of(predictor: Any) -> torch.device:
    """Where a predictor reads its inputs: its parameters' device, the CPU where it has none, as a baseline.

    Example:
        >>> device_of(nn.Linear(2, 1)), device_of(lambda inputs: inputs)
        (device(type='cpu'), device(type='cpu'))
    """
    first = next(predictor.parameters(), None) if isinstance(predictor, nn.Module) else None
    return CPU if first is None else first.device


def uniform(shape: Sequence[int], like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Numbers uniform in [0, 1) of the type and on the device of `like`, drawn where the generator is.

    Example:
        >>> drawn = uniform((2,), torch.zeros(1, dtype=torch.float64), torch.Generator().manual_seed(0))
        >>> drawn.shape, drawn.dtype
        (torch.Size([2]), torch.float64)
    """
    place = like.device if generator is None else generator.device
    return torch.rand(shape, generator=generator, dtype=like.dtype, device=place).to(like.device)


def normal(shape: Sequence[int], like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Standard normal numbers of the type and on the device of `like`, drawn where the generator is."""
    place = like.device if generator is None else generator.device
    return torch.randn(shape, generator=generator, dtype=like.dtype, device=place).to(like.device)


def multinomial(weights: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
    """`count` indices for each row of weights (..., K), with replacement, drawn where the generator is."""
    place = weights.device if generator is None else generator.device
    drawn = torch.multinomial(weights.to(place), count, replacement=True, generator=generator)
    return drawn.to(weights.device)


def permutation(count: int, device: torch.device, generator: torch.Generator | None) -> Tensor:
    """The numbers 0 ... count - 1 in random order, on a device, drawn where the generator is."""
    place = device if generator is None else generator.device
    return torch.randperm(count, generator=generator, device=place).to(device)
