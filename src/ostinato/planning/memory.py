"""How much memory the tensors take that a piece of work makes, at its peak."""

from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class PeakMemory(TorchDispatchMode):
    """While it is on, `peak` is the largest number of bytes that tensors made since then held together.

    Memory that PyTorch does not hand out, such as the native kernels' own, is not seen.

    Example:
        >>> with PeakMemory() as memory:
        ...     for _ in range(3):
        ...         x = torch.zeros(1000)
        ...         y = x + 1
        ...         del x, y
        >>> memory.peak
        8000
    """

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._held: dict[int, tuple[StorageWeakRef, int]] = {}
        self._before: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation, then count what is alive."""
        # what an operation is given, and did not come from one, was there before
        self._before.update(key for key in map(_storage, tree_leaves((args, kwargs))) if key is not None)
        self._before.difference_update(self._held)
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            key = _storage(leaf)
            if key is not None and key not in self._before:
                storage = leaf.untyped_storage()
                self._held[key] = (StorageWeakRef(storage), storage.nbytes())
        self._held = {key: kept for key, kept in self._held.items() if not kept[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self._held.values()))
        return out


def _storage(leaf: Any) -> int | None:
    """What tells a tensor's memory from that of others; None for what has none of its own."""
    if not isinstance(leaf, Tensor) or leaf.layout is not torch.strided:
        return None
    return int(leaf.untyped_storage()._cdata)
