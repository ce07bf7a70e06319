"""Which tensors native code may be handed: those that are numbers in the CPU's memory and nothing else.

Native code gets addresses. What PyTorch does between a call and the numbers, it cannot do there: record a
graph for a tracer, stand in for shapes without numbers (`FakeTensorMode`), spread a tensor over processes
(`DTensor`), batch it (`torch.vmap`), negate it lazily, cast it (`torch.autocast`). Whoever wants to hand an
address out asks `plain` first, and calls an operator that PyTorch knows where the answer is no.
"""

import torch
from torch import Tensor
from torch._C import DispatchKey, DispatchKeySet
from torch.nn import Parameter

_Keys = DispatchKeySet


def _bits(*keys: DispatchKey) -> int:
    found = _Keys(keys[0])
    for key in keys[1:]:
        found = found | _Keys(key)
    return found.raw_repr()


# Of a thread: what its calls go through before they reach a tensor's own kernels; the second under
# `torch.inference_mode`. Transforms, tracers, and modes of fake tensors or of profiling add to it.
_NO_MODES = frozenset(
    (_bits(DispatchKey.BackendSelect, DispatchKey.ADInplaceOrView), _bits(DispatchKey.BackendSelect))
)

# Of a tensor: what its calls go through. Subclasses, batches, fake and sparse tensors, other devices, lazy
# negation, and zeros without memory all differ.
_DENSE = frozenset(
    (
        _bits(DispatchKey.CPU, DispatchKey.ADInplaceOrView, DispatchKey.AutogradCPU, DispatchKey.AutocastCPU),
        _bits(DispatchKey.CPU, DispatchKey.AutocastCPU),
    )
)

_keys, _modes = torch._C._dispatch_keys, torch._C._dispatch_tls_local_include_set
_compiling, _casting = torch.compiler.is_compiling, torch._C._is_any_autocast_enabled


def plain(*tensors: Tensor | None) -> bool:
    """Whether native code may be handed the addresses of all these tensors just now; None counts as plain.

    It may where nothing comes between a call and the tensors' memory (`unwatched`), and every one is a
    `torch.Tensor` or a parameter, no subclass, and lies in the memory of the CPU (`dense`).

    Example:
        >>> plain(torch.ones(2), None), plain(torch.ones(2, device="meta"))
        (True, False)
        >>> torch.vmap(lambda row: row + plain(row))(torch.zeros(2, 1)).flatten()
        tensor([0., 0.])
    """
    if _compiling() or _modes().raw_repr() not in _NO_MODES or _casting():
        return False
    # Written out, as every pass pays for it: a function for each tensor would cost half as much again.
    for tensor in tensors:
        if tensor is not None and (
            (type(tensor) is not Tensor and type(tensor) is not Parameter)
            or _keys(tensor).raw_repr() not in _DENSE
            or not (tensor.untyped_storage().nbytes() or tensor.numel() == 0)
        ):
            return False
    return True


def still_plain(*tensors: Tensor | None) -> bool:
    """Whether tensors that were plain still are: between two passes their memory may have been freed.

    Example:
        >>> x = torch.ones(2)
        >>> plain(x), still_plain(x), x.untyped_storage().resize_(0) is None, still_plain(x)
        (True, True, False, False)
    """
    for tensor in tensors:
        if tensor is not None and (
            (type(tensor) is not Tensor and type(tensor) is not Parameter)
            or not (tensor.untyped_storage().nbytes() or tensor.numel() == 0)
        ):
            return False
    return True


def unwatched() -> bool:
    """Whether a call goes straight to the tensors' own kernels: no transform, no mode, no tracer, no casts.

    Example:
        >>> unwatched()
        True
        >>> with torch.autocast("cpu"):
        ...     unwatched()
        False
    """
    return plain()


def dense(*tensors: Tensor | None) -> bool:
    """Whether all these tensors are strided ones of the CPU with memory, whatever a call goes through.

    For kernels of registered operators, which are reached when that lies behind them.

    Example:
        >>> freed = torch.ones(2)
        >>> dense(freed)
        True
        >>> _ = freed.untyped_storage().resize_(0)
        >>> dense(freed), dense(torch.eye(2).to_sparse())
        (False, False)
    """
    return all(
        tensor is None
        or (
            _keys(tensor).raw_repr() in _DENSE
            and (tensor.untyped_storage().nbytes() > 0 or tensor.numel() == 0)
        )
        for tensor in tensors
    )


def check_memory(*tensors: Tensor | None) -> None:
    """Refuse tensors whose memory was freed, which some of PyTorch's own operations would read all the same.

    Raises:
        RuntimeError: one has numbers and a storage of no bytes.

    Example:
        >>> freed = torch.ones(2, 3)
        >>> _ = freed.untyped_storage().resize_(0)
        >>> check_memory(torch.ones(1), freed)
        Traceback (most recent call last):
        RuntimeError: expected tensors with memory, got shape (2, 3) in a storage that was freed
    """
    for tensor in tensors:
        if tensor is not None and _is_freed(tensor):
            raise RuntimeError(
                f"expected tensors with memory, got shape {tuple(tensor.shape)} in a storage that was freed"
            )


def _is_freed(tensor: Tensor) -> bool:
    # what is no ordinary tensor of the CPU may know the size of its memory as a symbol only, or have none
    ordinary = _keys(tensor).raw_repr() in _DENSE
    return ordinary and tensor.untyped_storage().nbytes() == 0 and tensor.numel() > 0
