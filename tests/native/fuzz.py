"""Calls every native operation with random arguments under AddressSanitizer and UBSan; checks its numbers.

    python tests/native/fuzz.py [--calls 200] [--seed 0] [--build FOLDER]

builds the extension with both (it needs CMake, a compiler and nanobind), runs itself again with their runtime
loaded first, and says how many calls of each operation were right. Tensors are of random sizes, types and
strides, whole or parts of others; every tenth call is given something that must be refused. Every instruction
set that the machine runs has its share. Reference: the definitions in PyTorch, in float64.
"""

import argparse
import importlib.util
import os
import random
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
NAME = "ostinato.nn.kernels._native"


def build(folder: Path) -> Path:
    """The extension with sanitizers, in `folder`."""
    options = ("-DOSTINATO_SANITIZE_EXTENSION=ON", f"-DPython_EXECUTABLE={sys.executable}")
    subprocess.run(("cmake", "-S", ROOT, "-B", folder, *options), check=True, stdout=subprocess.DEVNULL)
    subprocess.run(("cmake", "--build", folder), check=True, stdout=subprocess.DEVNULL)
    return next(folder.glob(f"_native*{sysconfig.get_config_var('SHLIB_SUFFIX')}"))


def run_with_sanitizers(extension: Path, arguments: list[str]) -> int:
    """This program's own exit code in a process that loads the sanitizers' runtime first."""
    compiler = os.environ.get("CXX", "c++")
    asked = (
        subprocess.check_output((compiler, f"-print-file-name=lib{x}.so"), text=True)
        for x in ("asan", "ubsan")
    )
    environment = os.environ | {
        "LD_PRELOAD": " ".join(line.strip() for line in asked),
        # Python and torch keep what they allocate until the end: that is no leak of ours
        "ASAN_OPTIONS": "detect_leaks=0:halt_on_error=1:alloc_dealloc_mismatch=0",
        "PYTHONPATH": str(ROOT / "src"),
        "OMP_NUM_THREADS": "2",
    }
    return subprocess.call(
        (sys.executable, __file__, "--extension", str(extension), *arguments), env=environment
    )


class Fuzzer:
    """Random problems, and one method for each native operation, which returns pairs to compare."""

    def __init__(self, seed: int) -> None:
        import torch

        from ostinato.nn.kernels import cpu

        self.torch, self.draw = torch, random.Random(seed)
        torch.manual_seed(seed)
        self.kernels = [cpu.Kernel(name) for name in cpu.instruction_sets()]

    def new_problem(self) -> None:
        """Sizes, a type, and whether there are a leak, starts and an initial state."""
        draw, torch = self.draw, self.torch
        self.steps, self.streams = draw.choice((1, 2, 3, 9, 30)), draw.choice((1, 2, 3, 5, 17))
        self.hidden, self.inputs = draw.choice((1, 2, 3, 7, 16, 33, 65, 130)), draw.choice((1, 5, 88))
        self.dtype = draw.choice((torch.float32, torch.float64))
        self.kernel = draw.choice(self.kernels)
        self.nonlinearity = draw.choice(("tanh", "relu", "sigmoid", "identity"))
        self.leak = torch.rand(self.hidden, dtype=self.dtype) * 0.9 if draw.random() < 0.5 else None
        self.starts = torch.rand(self.steps, self.streams) < 0.3 if draw.random() < 0.5 else None
        self.weight = self.normal(self.hidden, self.hidden) / self.hidden**0.5
        self.may_be_sparse = draw.random() < 0.7
        if draw.random() < 0.5:
            kept = torch.rand(self.hidden, self.hidden) < draw.choice((0.0, 0.02, 0.1))
            self.weight = 3 * self.weight * kept

    def normal(self, *shape: int) -> Any:
        """Numbers in one of several layouts."""
        whole = self.torch.randn(*(n + 2 for n in shape), dtype=self.dtype)
        match self.draw.randrange(4):
            case 0:
                return whole[tuple(slice(1, n + 1) for n in shape)]
            case 1:
                return self.torch.randn(*shape[::-1], dtype=self.dtype).permute(*range(len(shape))[::-1])
            case 2:
                return self.torch.randn(*shape[:-1], 1, dtype=self.dtype).expand(*shape)
            case _:
                return self.torch.randn(*shape, dtype=self.dtype)

    def frames(self, size: int) -> Any:
        """(T, B, size)."""
        return self.normal(self.steps, self.streams, size)

    def reference(self, function: Callable[..., Any], *given: Any, **others: Any) -> list[Any]:
        """What the definition makes of it in float64."""
        wide = [x.double() if self._is_number(x) else x for x in given]
        made = function(*wide, **others)
        return list(made) if isinstance(made, tuple) else [made]

    def _is_number(self, x: Any) -> bool:
        return isinstance(x, self.torch.Tensor) and x.is_floating_point()

    def scan(self) -> list[tuple[Any, Any]]:
        """Forward: states and slopes."""
        from ostinato.nn.kernels import definition

        given = (self.frames(self.hidden), self.weight, self.leak, self.normal(self.streams, self.hidden))
        given = (*given, self.starts, self.nonlinearity)
        states, slopes = self.kernel.forward(*given)
        expected, expected_slopes = self.reference(definition.forward, *given)
        if self.nonlinearity == "relu":  # at its kink the last bit decides
            return [(states, expected)]
        return [(states, expected), (slopes, expected_slopes)]

    def adjoint(self) -> list[tuple[Any, Any]]:
        """delta, dL/dh0 and g."""
        from ostinato.nn.kernels import definition

        given = (
            self.frames(self.hidden),
            self.frames(self.hidden).tanh(),
            self.weight,
            self.leak,
            self.starts,
        )
        made = self.kernel.adjoint(*given, want_adjoint_states=True)
        return list(
            zip(made, self.reference(definition.adjoint, *given, want_adjoint_states=True), strict=True)
        )

    def tangent(self) -> list[tuple[Any, Any]]:
        """The states' tangents."""
        from ostinato.nn.kernels import definition

        start = self.normal(self.streams, self.hidden)
        slopes = self.frames(self.hidden).tanh()
        given = (self.frames(self.hidden), slopes, self.weight, self.leak, start, self.starts)
        return [(self.kernel.tangent(*given), self.reference(definition.tangent, *given)[0])]

    def layer(self, keep_slopes: bool = True) -> tuple[Any, Any, Any]:
        """A layer's arguments, what it makes of them, and its drive in float64."""
        from ostinato.nn.kernels import layer_cpu

        torch = self.torch
        x = self.frames(self.inputs) * (
            torch.rand(self.steps, self.streams, self.inputs) < self.draw.random()
        )
        if self.draw.random() < 0.4:
            x = (x != 0).to(self.draw.choice((torch.uint8, torch.bool)))
        biases = (self.normal(self.hidden) if self.draw.random() < 0.7 else None for _ in range(2))
        h0 = self.normal(self.streams, self.hidden) if self.draw.random() < 0.5 else None
        weight_ih = self.normal(self.hidden, self.inputs) / self.inputs**0.5
        given = layer_cpu.Layer(x, weight_ih, *biases, self.weight, self.leak, h0, self.starts)
        drive = x.double() @ weight_ih.double().T
        drive = sum((b.double() for b in given[2:4] if b is not None), drive)
        options = {"keep_slopes": keep_slopes, "may_be_sparse": self.may_be_sparse}
        return given, layer_cpu.forward(given, self.nonlinearity, self.kernel.native, **options), drive

    def layer_forward(self) -> list[tuple[Any, Any]]:
        """States and the last of them."""
        given, made, drive = self.layer(keep_slopes=self.draw.random() < 0.5)
        expected = self._states(given, drive)[0]
        return [(made.states, expected), (made.last, expected[-1:])]

    def layer_backward(self) -> list[tuple[Any, Any]]:
        """All gradients."""
        from ostinato.nn.kernels import definition, layer_cpu

        self.nonlinearity = "tanh"
        given, made, drive = self.layer()
        upstream = self.frames(self.hidden)
        grad = layer_cpu.backward(
            *(given, made.states, made.slopes, made.sparse, upstream, (True,) * 4, True),
            self.kernel.native,
            may_be_sparse=self.may_be_sparse,
        )
        states, slopes, start = self._states(given, drive)
        rest = (given.weight_hh, given.leak, self.starts)
        delta, grad_h0, _ = self.reference(definition.adjoint, upstream, slopes, *rest)
        previous, flat = definition.previous_states(states, start, self.starts), delta.flatten(0, 1)
        pairs = [
            (grad.delta, delta),
            (grad.weight_ih, flat.T @ given.inputs.double().flatten(0, 1)),
            (grad.weight_hh, flat.T @ previous.flatten(0, 1)),
            (grad.h0, grad_h0),
        ]
        biases = (x for x in (grad.bias, grad.second_bias) if x is not None)
        return pairs + [(x, flat.sum(0)) for x in biases]

    def layer_tangent(self) -> list[tuple[Any, Any]]:
        """The states' change with the weights; nothing where the inputs are too dense for it."""
        from ostinato.nn.kernels import definition, layer_cpu

        self.nonlinearity = "tanh"
        given, made, drive = self.layer()
        change_ih, change_hh = self.normal(self.hidden, self.inputs), self.normal(self.hidden, self.hidden)
        changes = (change_ih, change_hh, self.normal(self.hidden), None)
        tangents = layer_cpu.tangent(given, made.states, made.slopes, *changes, self.kernel.native)
        if tangents is None:
            return []
        states, slopes, start = self._states(given, drive)
        previous = definition.previous_states(states, start, self.starts)
        inner = given.inputs.double() @ change_ih.double().T + previous @ change_hh.double().T
        force = slopes * (inner + changes[2].double())
        weight, leak = given.weight_hh.double(), None if self.leak is None else self.leak.double()
        return [(tangents, definition.tangent(force, slopes, weight, leak, 0 * start, self.starts))]

    def rate_scans(self) -> list[tuple[Any, Any]]:
        """The scan with a push, and the one whose rates are fed back with its adjoint."""
        from ostinato.nn.kernels import rates

        drive, push = self.frames(self.hidden), self.frames(self.hidden)
        leak = self.torch.rand(self.hidden, dtype=self.dtype) * 0.9
        h0, r0 = self.normal(self.streams, self.hidden), self.normal(self.streams, self.hidden)
        phi = self.draw.choice(("tanh", "softplus", "elu(0.5)", "identity"))
        pushed = (drive, self.weight, leak, push, h0, self.starts, phi)
        fed = (drive, self.weight, leak, h0, r0, self.starts, phi)
        pairs = [
            *zip(self.kernel.pushed(*pushed), self.reference(rates.pushed, *pushed), strict=True),
            *zip(self.kernel.fed_back(*fed), self.reference(rates.fed_back, *fed), strict=True),
        ]
        upstream, slopes = self.frames(self.hidden), self.frames(self.hidden).tanh()
        total = self.kernel.fed_back_adjoint(upstream, None, slopes, self.weight, leak, self.starts)
        return [*pairs, (total, self._fed_back_adjoint(upstream, slopes, leak))]

    def _fed_back_adjoint(self, upstream: Any, slopes: Any, leak: Any) -> Any:
        """g_t = d_t (G_t + m g_{t+1} W) + m a g_{t+1}, in float64."""
        weight, later, made = self.weight.double(), self.torch.zeros(1, dtype=self.torch.float64), []
        for t in reversed(range(self.steps)):
            if self.starts is not None and t + 1 < self.steps:
                later = later.masked_fill(self.starts[t + 1].unsqueeze(-1), 0)
            carried = later @ weight if later.dim() == 2 else later
            later = slopes[t].double() * (upstream[t].double() + carried) + leak.double() * later
            made.append(later)
        return self.torch.stack(made[::-1])

    def rate_layer(self) -> list[tuple[Any, Any]]:
        """A rate network's layer in one call, and the way back."""
        from ostinato.nn.kernels import definition, noise, rates, rates_cpu

        torch, draw = self.torch, self.draw
        driven, keyed, feeds_back = (draw.random() < 0.5 for _ in range(3))
        x, weight_ih = self.frames(self.inputs), self.normal(self.hidden, self.inputs) / self.inputs**0.5
        biases = [self.normal(self.hidden) if draw.random() < 0.7 else None for _ in range(2)]
        drive = self.frames(self.hidden)
        scale = self.normal(self.hidden) if draw.random() < 0.8 else None
        key = torch.tensor(draw.randrange(2**63))
        draws = self.frames(self.hidden)
        leak = torch.rand(self.hidden, dtype=self.dtype) * 0.9
        h0, r0 = self.normal(self.streams, self.hidden), self.normal(self.streams, self.hidden)
        layer = rates_cpu.RateLayer(
            None if driven else x,
            None if driven else weight_ih,
            *((None, None) if driven else biases),
            drive if driven else None,
            self.weight,
            leak,
            scale,
            None if keyed or scale is None else draws,
            key if keyed and scale is not None else None,
            h0,
            r0 if feeds_back else None,
            self.starts,
        )
        at_state = not feeds_back and draw.random() < 0.5
        sparse = {"may_be_sparse": self.may_be_sparse}
        made = rates_cpu.forward(layer, "tanh", at_state, self.kernel.native, **sparse)
        unkept = rates_cpu.forward(layer, "tanh", at_state, self.kernel.native, keep_slopes=False, **sparse)
        total = drive.double()
        if not driven:
            total = x.double() @ weight_ih.double().T
            total = sum((b.double() for b in biases if b is not None), total)
        size = (self.steps, self.streams, self.hidden)
        xi = noise.normal(int(key), size, torch.float64) if keyed else draws.double()
        push = torch.zeros_like(total)
        if scale is not None:
            push, total = (xi * scale, total) if at_state else (push, total + xi * scale)
        upstream = self.frames(self.hidden)
        grad = rates_cpu.backward(
            layer, made.rates, made.slopes, upstream, (True,) * 4, True, self.kernel.native, **sparse
        )
        wide = [t.double() for t in (self.weight, leak, h0)]
        if feeds_back:
            given = (total, *wide, r0.double(), self.starts, "tanh")
            expected, states, slopes = rates.fed_back(*given)
            start, g = r0, self._fed_back_adjoint(upstream, slopes, leak)
            first = g[0] if self.starts is None else g[0].masked_fill(self.starts[0].unsqueeze(-1), 0)
            starts = [(grad.h0, wide[1] * first), (grad.r0, first @ wide[0])]
        else:
            states, slopes = rates.pushed(total, *wide[:2], push, wide[2], self.starts, "tanh")
            expected, start = states, h0
            g, first, _ = definition.adjoint(upstream.double(), slopes, *wide[:2], self.starts)
            starts = [(grad.h0, first)]
        flat = g.flatten(0, 1)
        previous = definition.previous_states(expected, start.double(), self.starts)
        pairs = [
            (made.rates, expected),
            (unkept.rates, expected),
            (made.last, states[-1:]),
            (grad.drive, g),
            (grad.weight_hh, flat.T @ previous.flatten(0, 1)),
            *starts,
        ]
        if driven:
            return pairs
        pairs += [(b, flat.sum(0)) for b in (grad.bias, grad.second_bias) if b is not None]
        return [*pairs, (grad.weight_ih, flat.T @ x.double().flatten(0, 1))]

    def _states(self, given: Any, drive: Any) -> tuple[Any, Any, Any]:
        from ostinato.nn.kernels import definition

        start = drive.new_zeros(drive.shape[1:]) if given.h0 is None else given.h0.double()
        rest = (given.weight_hh, given.leak, start, self.starts, self.nonlinearity)
        return (*self.reference(definition.forward, drive, *rest), start)

    def _gates(self) -> tuple[Any, Any, list[Any]]:
        """The kernels of a cell with gates, its name, and arguments of its forward scan."""
        from ostinato.nn.kernels import gated_cells, gated_cpu

        name = self.draw.choice(tuple(gated_cells.CELLS))
        cell = gated_cells.CELLS[name]
        given = [
            self.frames(cell.drives * self.hidden),
            self.normal(cell.gates * self.hidden, self.hidden) / self.hidden**0.5,
            self.normal(cell.gates * self.hidden) if self.draw.random() < 0.5 else None,
            self.leak,
            self.normal(self.streams, self.hidden),
            self.normal(self.streams, self.hidden)[:, : self.hidden if cell.has_cell else 0],
            self.starts,
            name,
        ]
        return gated_cpu.Kernel(self.kernel.native), cell, given

    def gated_forward(self) -> list[tuple[Any, Any]]:
        """States, cells and what is saved, of a GRU or an LSTM."""
        from ostinato.nn.kernels import gated

        kernel, _, given = self._gates()
        return list(zip(kernel.forward(*given), self.reference(gated.forward, *given), strict=True))

    def gated_backward(self) -> list[tuple[Any, Any]]:
        """All that training asks for, and the adjoint and tangent scans of the same step."""
        from ostinato.nn.kernels import gated

        kernel, cell, given = self._gates()
        _, weight, _, leak, h0, c0, starts, name = given
        made = kernel.forward(*given)
        up, up_c = self.frames(self.hidden), self.frames(self.hidden)[..., : c0.shape[1]]
        leaves = [
            x.detach().double().clone().requires_grad_() if self._is_number(x) else x for x in given[:3]
        ]
        rest = [x.double() if self._is_number(x) else x for x in given[3:]]
        states, cells, saved = gated.forward(*leaves, *rest)
        wanted = [x for x in leaves if x is not None]
        loss = (states * up.double()).sum() + (cells * up_c.double()).sum()
        expected = self.torch.autograd.grad(loss, wanted)
        found = kernel.backward(
            *(up, up_c, weight, leak, h0, c0, starts, *made, name),
            want_weight=True,
            want_bias=given[2] is not None,
        )
        of_drive = cell.drive_deltas(found.deltas).flatten(2)
        pairs = list(
            zip([x for x in (of_drive, found.weight, found.bias) if x is not None], expected, strict=True)
        )
        by = self.torch.rand(*saved.shape[:2], cell.coefficients, self.hidden, dtype=self.dtype)
        linear = (up, up_c, by, weight, starts, name)
        pairs += zip(kernel.adjoint(*linear), self.reference(gated.adjoint, *linear), strict=True)
        linear = (up, up_c, by, weight, h0, c0, starts, name)
        return pairs + list(zip(kernel.tangent(*linear), self.reference(gated.tangent, *linear), strict=True))

    def _nade(self) -> tuple[Any, ...]:
        visible, frames = self.draw.choice((1, 3, 17, 88)), self.draw.choice((1, 2, 9, 40))
        values = (self.torch.rand(frames, visible) < 0.3).to(self.torch.uint8)
        encoder, decoder = (self.normal(visible, self.hidden) for _ in range(2))
        return values, self.normal(frames, visible + self.hidden), encoder, decoder

    def nade(self) -> list[tuple[Any, Any]]:
        """log p and its gradients."""
        from ostinato.nn.kernels import nade_cpu, nade_torch

        values, *point = self._nade()
        weights = self.torch.rand(len(values), dtype=self.dtype)
        extension = self.kernel.native
        found, made = nade_cpu.likelihood(values, *point, weights, gradients=True, extension=extension)
        leaves = [x.detach().double().clone().requires_grad_() for x in point]
        expected = nade_torch.definition(values, *leaves)
        gradients = self.torch.autograd.grad(
            -(weights.double() * expected).sum(), leaves, materialize_grads=True
        )
        return [(found, expected.detach()), *zip(made, gradients, strict=True)]

    def nade_curvature(self) -> list[tuple[Any, Any]]:
        """The Gauss-Newton product, as it is linear: that of twice a change is twice its."""
        from ostinato.nn.kernels import nade_cpu

        values, *point = self._nade()
        variance = self.torch.rand(values.shape, dtype=self.dtype)
        change = nade_cpu.Gradients(*(self.normal(*x.shape) for x in point))
        twice = nade_cpu.Gradients(*(2 * x for x in change))
        once, double = (
            nade_cpu.curvature(values, *point, variance, c, self.kernel.native) for c in (change, twice)
        )
        return [(b, 2 * a.double()) for a, b in zip(once, double, strict=True)]

    def nade_sample(self) -> list[tuple[Any, Any]]:
        """Frames of a fixed half, whose weight is the likelihood where all are fixed."""
        from ostinato.nn.kernels import nade_cpu, nade_torch

        values, *point = self._nade()
        uniform = self.torch.rand(values.shape, dtype=self.dtype)
        fixed = self.torch.ones(values.shape, dtype=self.torch.bool)
        kept, weight, _ = nade_cpu.sample(*point, uniform, fixed, values, self.kernel.native)
        nade_cpu.sample(*point, uniform, self.torch.rand(values.shape) < 0.5, values, self.kernel.native)
        expected = nade_torch.definition(values, *(x.double() for x in point))
        return [(kept.double(), values.double()), (weight, expected)]

    def refused(self) -> None:
        """Something that does not go with the rest must be an error."""
        wrong = self.torch.zeros(self.hidden + 1, self.hidden, dtype=self.dtype)
        calls: tuple[Callable[[], Any], ...] = (
            lambda: self.kernel.forward(
                self.frames(self.hidden), wrong, None, self.frames(1)[0], None, "tanh"
            ),
            lambda: self.kernel.adjoint(
                self.frames(self.hidden), self.frames(self.hidden), wrong, None, None
            ),
            lambda: self.kernel.forward(
                self.frames(self.hidden).long(), self.weight, None, self.frames(self.hidden)[0], None, "tanh"
            ),
        )
        try:
            self.draw.choice(calls)()
        except ValueError:
            return
        raise AssertionError("something wrong was taken")


OPERATIONS = (
    *("scan", "adjoint", "tangent", "layer_forward", "layer_backward", "layer_tangent"),
    *("rate_scans", "rate_layer"),
    *("gated_forward", "gated_backward"),
    *("nade", "nade_curvature", "nade_sample"),
)


def fuzz(calls: int, seed: int) -> None:
    """So many calls of each operation; raises at the first wrong number."""
    fuzzer = Fuzzer(seed)
    torch = fuzzer.torch
    for operation in OPERATIONS:
        compared = 0
        for call in range(calls):
            fuzzer.new_problem()
            if call % 10 == 9:
                fuzzer.refused()
            for found, expected in getattr(fuzzer, operation)():
                compared += 1
                bound = {torch.float32: 2e-3, torch.float64: 1e-9}[fuzzer.dtype]
                size = float(expected.abs().max()) if expected.numel() else 0.0
                torch.testing.assert_close(
                    found.double(), expected.double(), rtol=bound, atol=bound * (size + 1)
                )
        print(f"{operation}: {calls} calls, {compared} arrays right", flush=True)


def main() -> int:
    """Build, then run again under the sanitizers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=200, help="of each operation")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--build", type=Path, help="folder of the build, kept; a temporary one by default")
    parser.add_argument("--extension", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.extension is None:
        arguments = ["--calls", str(options.calls), "--seed", str(options.seed)]
        with tempfile.TemporaryDirectory() as folder:
            return run_with_sanitizers(build(options.build or Path(folder)), arguments)
    spec = importlib.util.spec_from_file_location(NAME, options.extension)
    assert spec is not None and spec.loader is not None  # noqa: PT018
    import torch  # noqa: F401 -- its thread pool, before the extension looks for it

    module = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = module
    spec.loader.exec_module(module)
    import ostinato.nn.kernels

    ostinato.nn.kernels._native = module
    fuzz(options.calls, options.seed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
