"""Native kernels on arrays beside pages that may not be touched: an access out of bounds ends the process.

Every array that goes in, comes out or is scratch ends where such a page begins, or begins where one ends; the
results are those without such pages, to the bit.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import mmap
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ostinato.nn.kernels import cpu, layer_cpu, nade_cpu, rates_cpu
from torture.trials import RIGHT, SILENT, Found, each

_PAGE = mmap.PAGESIZE
_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.mmap.restype = ctypes.c_void_p
_LIBC.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *(ctypes.c_int,) * 3, ctypes.c_long)
_LIBC.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_LIBC.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_READ_WRITE, _PRIVATE_ANONYMOUS = 3, 0x22

OPERATIONS = (
    *("scan", "adjoint", "tangent", "layer", "layer gradient", "layer tangent"),
    *("rates", "rates gradient", "sparse layer", "sparse rates"),
    *("nade", "nade gradient", "nade curvature", "nade sample"),
)


@dataclass(frozen=True)
class Call:
    """A call of a kernel; the text is the seed of its arguments.

    Args:
        operation: of those above.
        number: which.
    """

    operation: str
    number: int

    def __str__(self) -> str:
        return f"{self.operation}:{self.number}"


class Guarded:
    """Memory between pages that may not be touched, as long as this lives.

    Args:
        at_the_end: arrays end at the page behind them; otherwise they begin at that before them.
        protected: False: the pages may be touched, and arrays lie as they would between others.
    """

    def __init__(self, at_the_end: bool, protected: bool = True) -> None:
        self.at_the_end, self.protected = at_the_end, protected
        self._mapped: list[tuple[int, int]] = []

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """A tensor of bytes 0xA5, which no result may depend on."""
        count = functools.reduce(lambda a, b: a * b, shape, 1)
        size = count * dtype.itemsize
        if size == 0:
            return torch.frombuffer(bytearray(8), dtype=torch.uint8)[:0].view(dtype).reshape(shape)
        pages = -(-size // _PAGE)
        whole = (pages + 2) * _PAGE
        start = _LIBC.mmap(None, whole, _READ_WRITE, _PRIVATE_ANONYMOUS, -1, 0)
        if start in (None, ctypes.c_void_p(-1).value):
            raise MemoryError("mmap")
        self._mapped.append((start, whole))
        for page in (start, start + (pages + 1) * _PAGE) if self.protected else ():
            if _LIBC.mprotect(page, _PAGE, 0):
                raise OSError(ctypes.get_errno(), "mprotect")
        ctypes.memset(start + _PAGE, 0xA5, pages * _PAGE)
        place = start + _PAGE + (pages * _PAGE - size if self.at_the_end else 0)
        buffer = (ctypes.c_char * size).from_address(place)
        return torch.frombuffer(buffer, dtype=dtype, count=count).reshape(shape)

    def copy(self, tensor: Tensor | None) -> Tensor | None:
        """The same numbers there."""
        if tensor is None:
            return None
        made = self.empty(tuple(tensor.shape), tensor.dtype)
        made.copy_(tensor)
        return made

    def free(self) -> None:
        for start, size in self._mapped:
            _LIBC.munmap(start, size)
        self._mapped.clear()


class _Allocating(TorchDispatchMode):
    """What is allocated inside lies in guarded memory."""

    def __init__(self, memory: Guarded) -> None:
        super().__init__()
        self._memory = memory
        ops = torch.ops.aten
        self._fresh = {
            ops.empty.memory_format, ops.new_empty.default, ops.empty_like.default, ops.zeros_like.default,
            ops.new_zeros.default, ops.clone.default,
        }  # fmt: skip

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        made = function(*arguments, **(options or {}))
        return self._memory.copy(made) if function in self._fresh else made


@contextlib.contextmanager
def guarded(at_the_end: bool, protected: bool = True) -> Iterator[Guarded]:
    """Guarded memory, from which kernels take their outputs and scratch inside."""
    memory = Guarded(at_the_end, protected)
    scratch = cpu.scratch
    cpu.scratch = lambda numbers, dtype: memory.empty((numbers,), dtype)
    try:
        with _Allocating(memory):
            yield memory
    finally:
        cpu.scratch = scratch
        memory.free()


Same = Callable[[Tensor | None], Tensor | None]


def calls(operation: str, seed: str) -> Callable[[Same], list[Tensor | None]]:
    """A function that calls a kernel with arguments that went through its own argument, for the results."""
    draw = random.Random(seed)
    generator = torch.Generator().manual_seed(draw.randrange(1 << 30))
    dtype = draw.choice((torch.float32, torch.float64))
    kernel = cpu.Kernel(draw.choice(cpu.instruction_sets()))
    t, b = draw.choice((1, 2, 3, 9)), draw.choice((1, 2, 3, 5, 17))
    h, i = draw.choice((1, 2, 3, 7, 16, 33, 65)), draw.choice((1, 5, 88))

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=dtype, generator=generator)

    def likely(share: float, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator) < share

    def perhaps(tensor: Tensor) -> Tensor | None:
        return tensor if draw.random() < 0.5 else None

    nonlinearity = draw.choice(("tanh", "relu", "sigmoid", "identity"))
    weight, leak = normal(h, h) / h**0.5, perhaps(normal(h).sigmoid())
    starts, h0 = perhaps(likely(0.3, t, b)), normal(b, h)
    if operation in ("scan", "adjoint", "tangent"):
        first, second = normal(t, b, h), normal(t, b, h).tanh()

        def scan(at: Same) -> list[Tensor | None]:
            if operation == "scan":
                given = (at(first), at(weight), at(leak), at(h0), at(starts), nonlinearity)
                return list(kernel.forward(*given))
            if operation == "adjoint":
                given = (at(first), at(second), at(weight), at(leak), at(starts))
                return list(kernel.adjoint(*given, want_adjoint_states=True))
            return [kernel.tangent(at(first), at(second), at(weight), at(leak), at(h0), at(starts))]

        return scan
    if "rates" in operation or operation == "sparse layer":
        return _layers(operation, seed, kernel, dtype)
    if operation.startswith("layer"):
        x = normal(t, b, i) * likely(draw.random(), t, b, i)
        if draw.random() < 0.5:
            x = (x != 0).to(draw.choice((torch.uint8, torch.bool)))
        parts = (x, normal(h, i), perhaps(normal(h)), perhaps(normal(h)), weight, leak, perhaps(h0), starts)
        change, bias, upstream = (normal(h, i), normal(h, h)), normal(h), normal(t, b, h)

        def layer(at: Same) -> list[Tensor | None]:
            native, own = kernel.native, layer_cpu.Layer(*(at(part) for part in parts))  # type: ignore[arg-type]
            made = layer_cpu.forward(own, "tanh" if operation == "layer tangent" else nonlinearity, native)
            if operation == "layer":
                return [made.states, made.last]
            if operation == "layer tangent":
                changes = (at(change[0]), at(change[1]), at(bias), None)
                return [layer_cpu.tangent(own, made.states, made.slopes, *changes, native)]
            rest = (made.slopes, made.sparse, at(upstream), (True,) * 4, True, native)
            return list(layer_cpu.backward(own, made.states, *rest))

        return layer
    v, n = draw.choice((1, 3, 17, 88)), draw.choice((1, 2, 9, 40))
    values = likely(0.3, n, v).to(torch.uint8)
    point = (normal(n, v + h), normal(v, h), normal(v, h))
    weights, uniform = normal(n).sigmoid(), normal(n, v).sigmoid()
    changes, fixed = [normal(*x.shape) for x in point], perhaps(likely(0.5, n, v))

    def nade(at: Same) -> list[Tensor | None]:
        there = [at(x) for x in point]
        if operation == "nade sample":
            return list(nade_cpu.sample(*there, at(uniform), at(fixed), at(values), kernel.native))  # type: ignore
        if operation == "nade curvature":
            change = nade_cpu.Gradients(*(at(x) for x in changes))  # type: ignore[arg-type]
            return list(nade_cpu.curvature(at(values), *there, at(uniform), change, kernel.native))  # type: ignore
        wanted = operation == "nade gradient"
        given = (at(values), *there, at(weights) if wanted else None)
        found, made = nade_cpu.likelihood(*given, gradients=wanted, extension=kernel.native)  # type: ignore
        return [found, *(made or ())]

    return nade


def _layers(
    operation: str, seed: str, kernel: cpu.Kernel, dtype: torch.dtype
) -> Callable[[Same], list[Tensor | None]]:
    """A rate network's layer, there and back, or a layer whose recurrent weights are sparse."""
    draw = random.Random(f"{seed} layers")
    generator = torch.Generator().manual_seed(draw.randrange(1 << 30))
    sparse = operation.startswith("sparse")
    t, b, i = draw.choice((1, 2, 9)), draw.choice((1, 3, 5, 17, 70)), draw.choice((1, 3, 16, 17))
    h = draw.choice((64, 65, 97, 130)) if sparse else draw.choice((1, 3, 16, 33, 65, 130))

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=dtype, generator=generator)

    def perhaps(tensor: Tensor) -> Tensor | None:
        return tensor if draw.random() < 0.5 else None

    weight = normal(h, h) / h**0.5
    if sparse:
        weight = weight * (torch.rand(h, h, generator=generator) < draw.choice((0.0, 0.02, 0.1)))
    options = {"may_be_sparse": sparse}
    leak, h0, starts = normal(h).sigmoid(), normal(b, h), perhaps(torch.rand(t, b, generator=generator) < 0.3)
    x, own, upstream = normal(t, b, i), (normal(h, i), perhaps(normal(h)), None), normal(t, b, h)
    keyed, driven, fed_back = (draw.random() < 0.5 for _ in range(3))
    key, draws, phi = torch.tensor(draw.randrange(2**63)), normal(t, b, h), draw.choice(("tanh", "elu(0.5)"))
    keeps, at_state = operation != "sparse layer" or draw.random() < 0.5, draw.random() < 0.5

    def layer(at: Same) -> list[Tensor | None]:
        given: Any = (at(x), *(at(part) for part in own), at(weight), at(leak), at(h0), at(starts))
        held, native = layer_cpu.Layer(*given), kernel.native
        made = layer_cpu.forward(held, "tanh", native, keep_slopes=keeps, **options)
        if made.slopes is None:
            return [made.states, made.last]
        rest = (made.slopes, made.sparse, at(upstream), (True,) * 4, True, native)
        return [made.states, *layer_cpu.backward(held, made.states, *rest, **options)]

    def rates(at: Same) -> list[Tensor | None]:
        inputs: Any = (None,) * 4 if driven else (at(x), *(at(part) for part in own))
        noise: Any = (at(normal_scale), None if keyed else at(draws), key if keyed else None)
        rest: Any = (at(weight), at(leak), *noise, at(h0), at(h0.tanh()) if fed_back else None, at(starts))
        held, native = rates_cpu.RateLayer(*inputs, at(upstream) if driven else None, *rest), kernel.native
        made = rates_cpu.forward(held, phi, at_state and not fed_back, native, **options)
        if operation == "rates" or made.slopes is None:
            return [made.rates, made.last]
        back = (made.rates, made.slopes, at(upstream), (True,) * 4, True, native)
        return [made.rates, made.last, *rates_cpu.backward(held, *back, **options)]

    normal_scale = normal(h)
    return layer if operation == "sparse layer" else rates


def trial(case: Call) -> tuple[str, str]:
    """With pages behind and before every array, and without them.

    Both at the same places in a page: the matrix product that PyTorch makes of dense inputs takes other ways,
    which round otherwise, where an array lies otherwise.
    """
    torch.set_num_threads(2 if case.number % 8 == 0 else 1)
    call = calls(case.operation, str(case))
    for at_the_end in (True, False):
        results = []
        for protected in (False, True):
            with guarded(at_the_end, protected) as memory:
                made = call(memory.copy)
                results.append([None if x is None else x.detach().numpy().tobytes() for x in made])
        if results[0] != results[1]:
            return SILENT, f"another result in guarded memory, {'end' if at_the_end else 'begin'}"
    return RIGHT, ""


def cases(count: int) -> Iterator[Call]:
    """So many, over all operations in turn."""
    return (Call(OPERATIONS[n % len(OPERATIONS)], n // len(OPERATIONS)) for n in range(count))


def run(count: int) -> Iterator[tuple[Call, Found]]:
    """What came of so many calls."""
    return each(cases(count), trial, batch=400)
