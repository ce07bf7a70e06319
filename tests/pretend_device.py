"""A device that is not there: it computes on the CPU, and refuses what a GPU would refuse.

A tensor on it holds one of the CPU and says that it is elsewhere ("meta", a device that every build of
PyTorch knows and that ostinato has no use for). An operation that meets tensors of both devices, or a
generator of the other one, raises, as on a GPU; so does reading such a tensor by NumPy or by address. What it
computes are the CPU's numbers, so that they can be compared with those of an ordinary run.

It cannot show what only a real GPU does: other rounding, its limits, its speed.
"""

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map_only

ELSEWHERE = torch.device("meta")

# What takes a tensor from one device to another.
CROSSING = {"aten::_to_copy", "aten::copy_"}


class MixedDevices(RuntimeError):
    """An operation met tensors, or a generator, of two devices."""


class ThereTensor(Tensor):
    """A tensor of the device that is not there."""

    @staticmethod
    def __new__(cls, real: Tensor) -> "ThereTensor":
        """One that holds a tensor of the CPU."""
        made: Any = Tensor._make_wrapper_subclass(
            cls,
            real.shape,
            strides=None if real.layout is torch.sparse_coo else real.stride(),
            storage_offset=None if real.layout is torch.sparse_coo else real.storage_offset(),
            dtype=real.dtype,
            layout=real.layout,
            device=ELSEWHERE,
        )
        made.held = real
        return made

    def __repr__(self, *_: Any, **__: Any) -> str:
        return f"ThereTensor({self.held})"

    is_meta = False  # tensors of the real device "meta" have no numbers to copy

    def tolist(self) -> Any:
        """Its numbers, read as from a GPU; PyTorch leaves this to subclasses."""
        return self.held.tolist()

    def data_ptr(self) -> int:
        """A native kernel that asks would read another device's memory."""
        raise MixedDevices("the address of a tensor elsewhere was asked for")

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Outside of the mode there is nothing to do with one."""
        with PretendDevice():
            return func(*args, **(kwargs or {}))


class _NewTensors(TorchFunctionMode):
    """`torch.tensor` makes what it is asked for without an operation that a dispatch mode would see."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Make it on the CPU, then take it there."""
        kwargs = dict(kwargs or {})
        if func is torch.tensor and kwargs.get("device") == ELSEWHERE:
            return there(func(*args, **kwargs | {"device": "cpu"}))
        return func(*args, **kwargs)


class PretendDevice(TorchDispatchMode):
    """While it is on, `ELSEWHERE` is such a device; `operations` counts what was computed there."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0
        self._new_tensors = _NewTensors()

    def __enter__(self) -> "PretendDevice":
        self._new_tensors.__enter__()
        return super().__enter__()  # type: ignore[no-any-return]

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._new_tensors.__exit__(*error)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Check the devices, compute on the CPU, wrap what comes out."""
        kwargs = dict(kwargs or {})
        tensors = [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, Tensor)]
        there = [x for x in tensors if isinstance(x, ThereTensor)]
        asked = kwargs.get("device")
        name = func._schema.name
        goes_there = asked.type == ELSEWHERE.type if asked is not None else bool(there)
        if there and name not in CROSSING:
            # the CPU's numbers, of no dimension, may meet tensors of a GPU
            _refuse(func, [x for x in tensors if not isinstance(x, ThereTensor) and x.dim() > 0])
        if goes_there and kwargs.get("generator") is not None:
            raise MixedDevices(f"{func} asks a generator of the CPU for numbers elsewhere")
        if not there and not goes_there:
            return func(*args, **kwargs)
        self.operations += 1
        inner = {k: torch.device("cpu") if k == "device" and v is not None else v for k, v in kwargs.items()}
        inner_args, inner = tree_map_only(ThereTensor, lambda x: x.held, (args, inner))
        out = func(*inner_args, **inner)
        if name == "aten::copy_":
            return args[0]
        if name == "aten::_to_copy":
            # on the CPU this may be no copy at all
            return ThereTensor(out.clone()) if goes_there else out.clone()
        if not goes_there:
            return out
        wrapped = tree_map_only(Tensor, ThereTensor, out)
        if not there or any(
            x.layout is torch.sparse_coo for x in tree_flatten(out)[0] if isinstance(x, Tensor)
        ):
            return wrapped
        return return_and_correct_aliasing(func, args, kwargs, wrapped)


def _refuse(func: Any, here: list[Tensor]) -> None:
    if here:
        shapes = ", ".join(str(tuple(x.shape)) for x in here)
        raise MixedDevices(f"{func} met tensors elsewhere and on the CPU (the latter of shape {shapes})")


def there(tensor: Tensor) -> Tensor:
    """The tensor on the device that is not there."""
    return tensor.to(ELSEWHERE)
