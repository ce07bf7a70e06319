"""Windows of a table, which begin anywhere in it and may overlap: read, and changed in place.

Shapes: M table, n rows, O windows of a row, W width of a window.
"""

import functools
import importlib
from typing import Any

import torch
from torch import Tensor

from ostinato.nn.kernels.plain import plain


@functools.cache
def _native() -> Any:
    """The native functions, or None where they were not built."""
    try:
        return importlib.import_module("ostinato.nn.kernels._ngrams")
    except ImportError:
        return None


def add_windows_(out: Tensor, table: Tensor, places: Tensor) -> Tensor:
    """out_i += sum_o table[places_io ... places_io + W), in place.

    Args:
        out: (n, W).
        table: (M,) of its type.
        places: int64 (n, O), each in [0, M - W].

    Example:
        >>> add_windows_(torch.zeros(1, 2), torch.tensor([1.0, 10.0, 100.0]), torch.tensor([[0, 1]]))
        tensor([[ 11., 110.]])
    """
    if not _serves(out, table, places):
        _check(places, out.shape[1], len(table))
        return out.add_(table.unfold(0, out.shape[1], 1)[places].sum(1))
    wide, places = table.dtype is torch.float64, places.contiguous()
    sizes = (*places.shape, out.shape[1])
    known = _native().add(wide, table.data_ptr(), len(table), places.data_ptr(), *sizes, out.data_ptr())
    if not known:
        _check(places, out.shape[1], len(table))
    return out


def learn_windows_(table: Tensor, places: Tensor, residual: Tensor, rate: float) -> Tensor:
    """table[places_io ... places_io + W) -= rate residual_i for every i and o, in place.

    Args:
        table: (M,).
        places: int64 (n, O), each in [0, M - W].
        residual: (n, W) of the table's type.
        rate: the step's size.

    Example:
        >>> learn_windows_(torch.zeros(3), torch.tensor([[0, 1]]), torch.tensor([[1.0, 2.0]]), 1.0)
        tensor([-1., -3., -2.])
    """
    if not _serves(residual, table, places):
        width, contexts = residual.shape[1], places.shape[1]
        _check(places, width, len(table))
        index = (places.unsqueeze(-1) + torch.arange(width, device=table.device)).flatten()
        steps = (residual * -rate).unsqueeze(1).expand(-1, contexts, -1)
        return table.index_add_(0, index, steps.reshape(-1))
    wide, places = table.dtype is torch.float64, places.contiguous()
    sizes = (*places.shape, residual.shape[1])
    known = _native().learn(
        wide, table.data_ptr(), len(table), places.data_ptr(), *sizes, residual.data_ptr(), rate
    )
    if not known:
        _check(places, residual.shape[1], len(table))
    return table


def _serves(rows: Tensor, table: Tensor, places: Tensor) -> bool:
    """Whether the native functions may have these tensors."""
    kinds = table.dtype in (torch.float32, torch.float64) and rows.dtype is table.dtype
    whole = rows.is_contiguous() and table.is_contiguous() and places.dtype is torch.int64
    there = whole and len(rows) == len(places) and _native() is not None
    return kinds and there and plain(rows, table, places)


def _check(places: Tensor, width: int, size: int) -> None:
    if places.numel() and (int(places.min()) < 0 or int(places.max()) > size - width):
        raise ValueError(f"expected windows of {width} inside a table of {size}, got places outside of it")
