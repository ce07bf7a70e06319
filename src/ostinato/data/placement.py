"""Segments of data on the device where a model reads them."""

import dataclasses
from typing import Any, TypeVar

import torch
from torch import Tensor

S = TypeVar("S")


def moved(segment: S, device: torch.device) -> S:
    """A segment of any kind of data with its tensors on a device; the segment itself where they are there.

    Example:
        >>> from ostinato.domains.delays.symbols import TemporalOrder
        >>> import numpy as np
        >>> segment = TemporalOrder(20).generate(2, np.random.default_rng(0))
        >>> moved(segment, torch.device("cpu")) is segment
        True
    """
    fields: dict[str, Any] = {f.name: getattr(segment, f.name) for f in dataclasses.fields(segment)}  # type: ignore[arg-type]
    tensors = {name: value for name, value in fields.items() if isinstance(value, Tensor)}
    if all(value.device == device for value in tensors.values()):
        return segment
    there = {name: value.to(device) for name, value in tensors.items()}
    return dataclasses.replace(segment, **there)  # type: ignore[type-var]
