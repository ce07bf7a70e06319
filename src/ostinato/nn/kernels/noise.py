"""Standard normal numbers that are a function of a key and of their place: nothing needs to keep them.

Philox-4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", SC'11) and the transform of
Box and Muller. Number 16 w + j of the k-th 64 numbers of row b at step t comes from word w of

    philox(counter (16 k + j, b, t, 0), key)

and two words, those of w = 0 and 1 or of w = 2 and 3, make two numbers r cos(a) and r sin(a) by

    r^2 = -2 log((floor(first / 2) + 1/2) / 2^31),     a = 2 pi second / 2^32

so none is beyond 6.67, and those of float32 and float64 are the same but for rounding. The native code makes
them where they are needed (`native/simd/noise.hpp`); this is the definition, and what runs without it.

Shapes: T time, B streams, H hidden.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from ostinato.nn.kernels import cpu

_LOW = 0xFFFFFFFF
_ROUNDS = 10
_BLOCK, _COUNTERS = 64, 16  # numbers, and the counters that they come from
_AT_ONCE = 1 << 16  # counters: what is made of them stays in a core's caches


def normal(key: int, size: tuple[int, int, int], dtype: torch.dtype) -> Tensor:
    """Numbers (T, B, H) of a key from 0 to 2^64 - 1, on the CPU.

    Example:
        >>> whole = normal(7, (3, 2, 100), torch.float64)
        >>> bool((normal(7, (2, 2, 30), torch.float64) == whole[:2, :, :30]).all())
        True
    """
    out = torch.empty(size, dtype=dtype)
    if not out.numel():
        return out
    if dtype in (torch.float32, torch.float64) and cpu.has_noise():
        cpu.extension().noise(dtype is torch.float64, size, key, out.data_ptr(), torch.get_num_threads())
        return out
    steps, streams, hidden = size
    blocks = -(-hidden // _BLOCK)
    for first, last in _pieces(steps, streams * blocks * _COUNTERS):
        words = _words(key, range(first, last), streams, blocks * _COUNTERS)
        made = (*_box_muller(*words[:2]), *_box_muller(*words[2:]))
        by_word = torch.stack([x.unflatten(-1, (blocks, _COUNTERS)) for x in made], -2)
        out[first:last] = by_word.flatten(-3)[..., :hidden]
    return out


def _pieces(steps: int, counters: int) -> Iterator[tuple[int, int]]:
    length = max(1, _AT_ONCE // counters)
    return ((first, min(first + length, steps)) for first in range(0, steps, length))


def _words(key: int, steps: range, streams: int, columns: int) -> tuple[Tensor, ...]:
    """The four words of every counter, (T, B, columns) each, in int64."""
    shape = (len(steps), streams, columns)
    x = torch.arange(columns).expand(shape)
    y = torch.arange(streams).unsqueeze(1).expand(shape)
    z = torch.arange(steps.start, steps.stop).view(-1, 1, 1).expand(shape)
    return philox(x, y, z, torch.zeros(shape, dtype=torch.int64), key)


def philox(x: Tensor, y: Tensor, z: Tensor, w: Tensor, key: int) -> tuple[Tensor, ...]:
    """Four words of a counter's four words: Philox-4x32-10. Words are int64 from 0 to 2^32 - 1.

    Example:
        >>> zero = torch.tensor(0)
        >>> [hex(int(word)) for word in philox(zero, zero, zero, zero, 0)]
        ['0x6627e8d5', '0xe169c58d', '0xbc57ac4c', '0x9b00dbd8']
    """
    first, second = key & _LOW, key >> 32
    for _ in range(_ROUNDS):
        p, q = x * 0xD2511F53, z * 0xCD9E8D57
        x, y = (q >> 32).bitwise_and_(_LOW).bitwise_xor_(y).bitwise_xor_(first), q.bitwise_and_(_LOW)
        z, w = (p >> 32).bitwise_and_(_LOW).bitwise_xor_(w).bitwise_xor_(second), p.bitwise_and_(_LOW)
        first, second = (first + 0x9E3779B9) & _LOW, (second + 0xBB67AE85) & _LOW
    return x, y, z, w


def _box_muller(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    radius = ((first >> 1).double() + 0.5).mul_(2.0**-31).log_().mul_(-2).sqrt_()
    angle = second.double().mul_(2 * math.pi / 2.0**32)
    return radius * angle.cos(), radius * angle.sin()
