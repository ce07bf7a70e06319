"""Windows of a table, which begin anywhere in it and may overlap: read, and changed in place.

Shapes: M table, n rows, O windows of a row, W width of a window.
"""

import functools
import importlib
from typing import Any

import torch
from torch import Tensor

from ostinato.nn.kernels.plain import plain

#: Windows that begin within so many numbers of a table share the cell that says when one was used.
GRAIN = 16


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


def decay_windows_(table: Tensor, places: Tensor, width: int, cells: Tensor, now: int, rate: float) -> Tensor:
    """table[places_io ... places_io + W) *= exp(-rate (now - cells[places_io // GRAIN])), in place.

    Of windows that share a cell the first alone decays, and `now` stands in the cell thereafter: so what
    comes again at the same time does not decay again.

    Args:
        table: (M,).
        places: int64 (n, O), each in [0, M - W].
        width: W.
        cells: int64, one for each GRAIN numbers of the table and of what is left of it.
        now: the time, which never goes back.
        rate: of decay by unit of time.

    Example:
        >>> cells = torch.zeros(1, dtype=torch.int64)
        >>> decay_windows_(torch.ones(3), torch.tensor([[0], [0]]), 2, cells, 2, 0.6931471805599453), cells
        (tensor([0.2500, 0.2500, 1.0000]), tensor([2]))
    """
    if not (_serves_table(table, places) and plain(cells) and cells.is_contiguous()):
        _check(places, width, len(table))
        flat = places.flatten()
        which, inverse = torch.unique(flat // GRAIN, return_inverse=True)
        order = torch.arange(len(flat), device=flat.device)
        first = torch.full_like(which, len(flat)).scatter_reduce_(0, inverse, order, "amin")
        index = (flat[first].unsqueeze(-1) + torch.arange(width, device=table.device)).flatten()
        numbers, inverse = torch.unique(index, return_inverse=True)
        steps = ((now - cells[which]).double() * -rate).repeat_interleave(width)
        table[numbers] *= steps.new_zeros(len(numbers)).index_add_(0, inverse, steps).exp().to(table.dtype)
        cells[which] = now
        return table
    places = places.contiguous()
    wide, sizes = table.dtype is torch.float64, (places.numel(), width)
    known = _native().decay(
        wide, table.data_ptr(), len(table), places.data_ptr(), *sizes, cells.data_ptr(), now, rate
    )
    if not known:
        _check(places, width, len(table))
    return table


def _serves_table(table: Tensor, places: Tensor) -> bool:
    """Whether the native functions may have this table."""
    kinds = table.dtype in (torch.float32, torch.float64) and places.dtype is torch.int64
    return kinds and table.is_contiguous() and _native() is not None and plain(table, places)


def _serves(rows: Tensor, table: Tensor, places: Tensor) -> bool:
    """Whether the native functions may have these tensors."""
    whole = rows.is_contiguous() and rows.dtype is table.dtype and len(rows) == len(places)
    return whole and plain(rows) and _serves_table(table, places)


def _check(places: Tensor, width: int, size: int) -> None:
    if places.numel() and (int(places.min()) < 0 or int(places.max()) > size - width):
        raise ValueError(f"expected windows of {width} inside a table of {size}, got places outside of it")
