"""The noise of rate networks: how it is asked for, and the operator that makes all of it.

    ostinato::noise(key, size, double) -> xi

xi (T, B, H) is standard normal, of float32 or float64, and a function of the key and of its place
(`ostinato.nn.kernels.noise`).

Shapes: T time, B streams, H hidden.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ostinato.nn.kernels import noise
from ostinato.nn.scan.operators import LIBRARY

LIBRARY.define("noise(Tensor key, SymInt[] size, bool double) -> Tensor", tags=(torch.Tag.pt2_compliant_tag,))
NOISE = torch.ops.ostinato.noise.default


@dataclass(frozen=True)
class Noise:
    """Numbers xi: given, or those of a key, which a scan can make where it needs them."""

    draws: Tensor | None = None  # (T, B, H)
    key: Tensor | None = None  # int64 ()

    def drawn(self, size: Sequence[int], dtype: torch.dtype) -> Tensor:
        """All of them, (T, B, H)."""
        if self.draws is not None:
            return self.draws
        assert self.key is not None
        made: Tensor = NOISE(self.key, list(size), dtype is torch.float64)
        return made


def new_key(generator: torch.Generator | None) -> Tensor:
    """A key, int64 (), by one draw of a generator on the CPU; of PyTorch's own one if None.

    Example:
        >>> keys = [new_key(torch.Generator().manual_seed(1)) for _ in range(2)]
        >>> bool(keys[0] == keys[1]), Noise(key=keys[0]).drawn((2, 1, 3), torch.float32).shape
        (True, torch.Size([2, 1, 3]))
    """
    return torch.randint(2**63 - 1, (), generator=generator, dtype=torch.int64, device="cpu")


def _noise(key: Tensor, size: Sequence[int], double: bool) -> Tensor:
    steps, streams, hidden = size
    return noise.normal(int(key), (steps, streams, hidden), _type(double))


def _noise_shapes(key: Tensor, size: Sequence[int], double: bool) -> Tensor:
    return key.new_empty(size, dtype=_type(double))


def _type(double: bool) -> torch.dtype:
    return torch.float64 if double else torch.float32


def _of_models(info: Any, dims: Any, key: Tensor, size: Sequence[int], double: bool) -> tuple[Tensor, int]:
    return torch.stack([NOISE(one, list(size), double) for one in key.unbind(dims[0])]), 0


LIBRARY.impl("noise", _noise, "CompositeExplicitAutograd")
torch.library.register_fake(NOISE, _noise_shapes, lib=LIBRARY)
torch.library.register_vmap(NOISE, _of_models, lib=LIBRARY)
