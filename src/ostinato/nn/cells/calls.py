"""The forms in which a recurrent module may be called, brought into one; mistakes are refused as in torch.

Shapes: T time, B streams, I inputs, H hidden, L layers, D directions.
"""

from typing import Any, ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor

from ostinato.nn.cells.state import State, map_state
from ostinato.nn.kernels.projection import TOKEN_TYPES

_BINARY = (torch.uint8, torch.bool)


class Called(Protocol):
    """What a module says of its calls."""

    input_size: int
    batch_first: bool
    token_inputs: bool
    state_tensors: ClassVar[tuple[str, ...]]

    def _state_shapes(self, batch: int) -> list[tuple[int, int, int]]: ...
    def _own(self, name: str) -> Tensor: ...


class Call(NamedTuple):
    """A call in standard form: time first, and a dimension of streams."""

    input: Tensor  # (T, B, I), or tokens (T, B)
    state: State | None  # (L D, B, H)
    starts: Tensor | None  # (T, B)
    unbatched: bool


def standard_form(module: Called, input: Tensor, hx: State | None, starts: Tensor | None) -> Call:
    """The call of a module in standard form.

    Raises:
        ValueError, RuntimeError: for the wrong number of dimensions, sizes or types; where `torch.nn` has an
            error for it, that one.
    """
    # A short call takes a few microseconds a check, so what is not given is not looked at.
    tokens, has_sizes = _is_tokens(module, input), not torch.jit.is_tracing()
    dims, batched = input.dim(), 2 if tokens else 3
    if dims not in (batched, batched - 1):
        raise _wrong_dims(module, input, tokens)
    if has_sizes and not tokens and input.shape[-1] != module.input_size:
        raise _wrong_width(module, input)
    unbatched = dims < batched
    if hx is not None:
        check_state_dims(module, hx, unbatched)
    if unbatched:
        input = input.unsqueeze(1)
        hx = None if hx is None else map_state(lambda x: x.unsqueeze(1), hx)
        starts = None if starts is None else starts.unsqueeze(1)
    elif module.batch_first:
        input = input.transpose(0, 1)
        starts = None if starts is None else starts.transpose(0, 1)
    if has_sizes:
        if input.shape[0] == 0:
            raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
        if hx is not None:
            check_state_sizes(module, hx, input.shape[1])
        if starts is not None:
            _check_starts(starts, input)
    return Call(input, hx, starts, unbatched)


def check_packed(module: Called, data: Tensor) -> None:
    """The data (N, I) of a packed sequence, or tokens (N,)."""
    tokens = _is_tokens(module, data)
    if data.dim() != 2 - tokens:
        raise RuntimeError(f"input must have {2 - tokens} dimensions, got {data.dim()}")
    if not tokens and data.shape[-1] != module.input_size:
        raise _wrong_width(module, data)


def _is_tokens(module: Called, input: Tensor) -> bool:
    """Whether the input is token ids; an error where it is of a type that does not go with the weights."""
    dtype = input.dtype
    if dtype in TOKEN_TYPES:
        return True
    if module.token_inputs:
        raise ValueError(f"expected token ids as int64 or int32, got {dtype}")
    own = module._own("weight_hh_l0").dtype
    if dtype is not own and dtype not in _BINARY and not torch.is_autocast_enabled(input.device.type):
        raise ValueError(
            f"RNN input dtype ({dtype}) does not match weight dtype ({own}). Convert input: "
            f"input.to({own}), or convert model: model.to({dtype})"
        )
    return False


def _wrong_dims(module: Called, input: Tensor, tokens: bool) -> ValueError:
    if tokens:
        return ValueError(
            f"expected token ids (T, B) or (T,), got {input.dtype} of shape {tuple(input.shape)}; whole "
            "numbers are token ids here, so convert frames to floating point"
        )
    name = type(module).__name__
    tensor = " tensor" if name == "RNN" else ""
    return ValueError(f"{name}: Expected input to be 2D or 3D, got {input.dim()}D{tensor} instead")


def _wrong_width(module: Called, input: Tensor) -> RuntimeError:
    return RuntimeError(
        f"input.size(-1) must be equal to input_size. Expected {module.input_size}, got {input.shape[-1]}"
    )


def check_state_dims(module: Called, hx: Any, unbatched: bool) -> None:
    """A state of the kind that this module has, with a dimension of streams where the input has one."""
    names, wanted = module.state_tensors, 2 if unbatched else 3
    if hx is None or (len(names) == 1 and type(hx) is Tensor and hx.dim() == wanted):
        return
    if len(names) == 1:
        if not isinstance(hx, Tensor):
            raise ValueError(f"expected an initial state as one tensor, got a {type(hx).__name__}")
        dims, of = (hx.dim(),), "hx should"
        got = f"{hx.dim()}-D tensor"
    else:
        if isinstance(hx, Tensor) or len(hx) != len(names):
            found = "one tensor" if isinstance(hx, Tensor) else f"{len(hx)} of them"
            raise ValueError(f"expected an initial state of tensors ({', '.join(names)}), got {found}")
        dims, of = tuple(x.dim() for x in hx), "hx and cx should"
        got = f"({', '.join(f'{n}-D' for n in dims)}) tensors"
    kind = "unbatched 2-D" if unbatched else "batched 3-D"
    if any(n != wanted for n in dims):
        raise RuntimeError(f"For {kind} input, {of} also be {wanted}-D but got {got}")


def check_state_sizes(module: Called, hx: State | None, batch: int) -> None:
    """A state (L D, B, H) in which every tensor has its shape."""
    if hx is None:
        return
    parts = (hx,) if isinstance(hx, Tensor) else hx
    for place, (part, shape) in enumerate(zip(parts, module._state_shapes(batch), strict=True)):
        if tuple(part.shape) != shape:
            which = "hidden" if len(parts) == 1 else f"hidden[{place}]"
            raise RuntimeError(f"Expected {which} size {shape}, got {list(part.shape)}")


def _check_starts(starts: Tensor | None, input: Tensor) -> None:
    if starts is None:
        return
    if starts.dtype != torch.bool:
        raise ValueError(f"starts must be boolean, got {starts.dtype}")
    if starts.shape != input.shape[:2]:
        raise ValueError(
            f"starts must have shape {tuple(input.shape[:2])} to go with the input, got {tuple(starts.shape)}"
        )
