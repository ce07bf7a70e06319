"""A checkpoint as bytes: one safetensors file that holds tensors and, in its metadata, the rest of the state.

One file, because two could disagree after a crash. The metadata's entries are `format`, `version`, `state`
(JSON) and `checksum`, the CRC-32 of the state and of every tensor. Nothing in it is code, and nothing is
unpickled.
"""

import json
import zlib
from collections.abc import Mapping
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from ostinato import foreign
from ostinato.errors import UserError

FORMAT, VERSION = "ostinato checkpoint", 1


class DamagedError(ValueError):
    """The bytes are no whole checkpoint."""


class NewerError(ValueError):
    """The checkpoint is of a format this version does not know."""


def encode(tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> bytes:
    """The bytes of a checkpoint.

    Args:
        tensors: Tensors of any type, shape and device, also views and tensors that share memory: each is
            stored by itself.
        state: JSON values with text as keys. NaN and infinities are allowed, written as Python's json
        writes them.

    Raises:
        TypeError: The state is not made of JSON values.

    Example:
        >>> tensors, state = decode(encode({"h": torch.zeros(2)}, {"epoch": 3}))
        >>> tensors, state
        ({'h': tensor([0., 0.])}, {'epoch': 3})
    """
    _check_keys(state)
    # A copy each: safetensors refuses views and shared memory.
    copies = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
    text = json.dumps(state)
    metadata = {"format": FORMAT, "version": str(VERSION), "state": text, "checksum": _checksum(copies, text)}
    return safetensors.torch.save(copies, metadata)


def decode(data: bytes, *, verified: bool = False) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the state of a checkpoint's bytes.

    Args:
        data: the bytes.
        verified: whether they are known to be what was written, so that the checksum is not needed.

    Raises:
        DamagedError: The bytes are cut short, changed, or something else.
        NewerError: A newer version wrote them.
    """
    metadata = _metadata(data)
    if metadata.get("format") != FORMAT:
        raise DamagedError(f"it is not marked as an {FORMAT}")
    if metadata.get("version") != str(VERSION):
        raise NewerError(f"format {metadata.get('version')}")
    try:
        tensors = safetensors.torch.load(data)
    except (safetensors.SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise DamagedError(str(error)) from error
    if not verified and metadata.get("checksum") != _checksum(tensors, metadata["state"]):
        raise DamagedError("its checksum is wrong")
    try:
        return tensors, foreign.of_json(metadata["state"])
    except UserError as error:
        raise DamagedError(f"its state: {error}") from None


def _metadata(data: bytes) -> dict[str, str]:
    # The layout of safetensors: the header's length (8 bytes, little-endian), the header (JSON), the tensors.
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 + length or length == 0:
        raise DamagedError("it is cut short")
    try:
        metadata = foreign.of_json(data[8 : 8 + length])["__metadata__"]
        return {"state": "", **metadata}
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedError("its header cannot be read") from error


def _checksum(tensors: Mapping[str, Tensor], state: str) -> str:
    crc = zlib.crc32(state.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        crc = zlib.crc32(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode(), crc)
        crc = zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy().data, crc)
    return f"{crc:08x}"


def _check_keys(value: Any) -> None:
    """JSON would turn the key 1 into "1" without a word."""
    if isinstance(value, Mapping):
        if odd := [key for key in value if not isinstance(key, str)]:
            raise TypeError(f"expected text as the keys of a checkpoint's state, found {odd[0]!r}")
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            _check_keys(item)
