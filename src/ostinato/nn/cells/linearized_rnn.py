"""An RNN at one point, ready for many products: how its states change, and what they pass back.

One layer's change is one tangent scan and large products, its transpose one adjoint scan and large
products; no graph is built. Shapes: T time, B streams, N = T*B frames, I inputs, H hidden, L layers.
"""

from dataclasses import dataclass
from types import ModuleType

import torch
from torch import Tensor

from ostinato.nn.cells.leak import LEARNED, slope
from ostinato.nn.cells.protocol import Tangents
from ostinato.nn.cells.stack import RecurrentStack
from ostinato.nn.kernels import layer_cpu, select
from ostinato.nn.kernels.definition import previous_states
from ostinato.nn.kernels.plain import plain
from ostinato.nn.kernels.projection import TOKEN_TYPES, embed, project
from ostinato.nn.scan.functions import weight_gradient


@dataclass(frozen=True)
class LinearizedLayer:
    """One layer: its inputs, the states it started each step from, its states and its slopes (T, B, H).

    `input_name` is its input weights' parameter: "embedding", (I, H), holds them transposed. The native
    kernels take `as_layer`, if it is there: a layer that reads numbers, most of them zeros where that pays.
    """

    index: int
    input_name: str
    inputs: Tensor
    previous: Tensor
    states: Tensor
    slopes: Tensor
    weight_ih: Tensor
    weight_hh: Tensor
    leak: Tensor | None
    starts: Tensor | None
    kernel: ModuleType
    as_layer: layer_cpu.Layer | None

    def tangent(self, below: Tensor | None, tangents: Tangents) -> Tensor:
        """How the states (T, B, H) change with the parameters and the states below.

        s_t = a s_{t-1} + d_t dz_t + da (hp_t - h_t) / (1 - a); dz is the change of the pre-activation, d
        the slope.
        """
        if below is None and (native := self._native_tangent(tangents)) is not None:
            return native
        inner = self._drive_tangent(below, tangents)
        if (name := f"weight_hh_l{self.index}") in tangents:
            inner.addmm_(self.previous.flatten(0, 1), tangents[name].T)
        force = inner.view_as(self.slopes).mul_(self.slopes)
        if (by_leak := self._by_leak(tangents)) is not None:
            force = force + by_leak
        start = torch.zeros_like(self.slopes[0])
        return self.kernel.tangent(force, self.slopes, self.weight_hh, self.leak, start, self.starts)

    def _by_leak(self, tangents: Tangents) -> Tensor | None:
        """da (hp_t - h_t) / (1 - a), if the leak changes."""
        if self.leak is None or "leak" not in tangents:
            return None
        return (self.previous - self.states) * (tangents["leak"] / (1 - self.leak))

    def _native_tangent(self, tangents: Tangents) -> Tensor | None:
        """The change of the states in one call; None where the kernels do not do it, or the leak changes."""
        if self.as_layer is None or self.input_name not in tangents or "leak" in tangents:
            return None
        names = (f"{name}_l{self.index}" for name in ("weight_hh", "bias_ih", "bias_hh"))
        others = [tangents.get(name) for name in names]
        if not plain(tangents[self.input_name], *others):
            return None
        return layer_cpu.tangent(self.as_layer, self.states, self.slopes, tangents[self.input_name], *others)

    def activation_tangent(self, change: Tensor, tangents: Tangents) -> Tensor:
        """d dz (T, B, H), recovered from the change of the states without another product."""
        if self.leak is None:
            return change
        previous = previous_states(change, torch.zeros_like(change[0]), self.starts)
        by_leak = self._by_leak(tangents)
        active = change - self.leak * previous
        return active if by_leak is None else active - by_leak

    def _drive_tangent(self, below: Tensor | None, tangents: Tangents) -> Tensor:
        """The change of `U x + b`, a new tensor (N, H)."""
        frames = self.slopes.shape[0] * self.slopes.shape[1]
        biases = [tangents[name] for k in ("ih", "hh") if (name := f"bias_{k}_l{self.index}") in tangents]
        bias = sum(biases[1:], biases[0]) if biases else None
        if self.input_name in tangents:
            change = tangents[self.input_name]
            through = embed if self.input_name == "embedding" else project
            drive = through(self.inputs, change, bias).reshape(frames, -1)
        else:
            drive = self.slopes.new_zeros(frames, self.slopes.shape[-1])
            drive = drive if bias is None else drive.add_(bias)
        return drive if below is None else drive.addmm_(below.flatten(0, 1), self.weight_ih.T)

    def adjoint(
        self, grad_states: Tensor, grad_inner: Tensor | None, tangents: Tangents, *, below: bool
    ) -> tuple[Tensor | None, dict[str, Tensor]]:
        """The transpose of `tangent`: what G at the states and c at the pre-activations pass back.

        c joins delta in every step. As the scan is linear, what c passes to the step before, m c W, is
        added to G beforehand, in one large product.

        Returns:
            What the layer below gets, (T, B, I), if asked for, and what each parameter in `tangents` gets.
        """
        if self.as_layer is not None and grad_inner is None and "leak" not in tangents:
            return self._native_adjoint(self.as_layer, grad_states, tangents, below=below)
        if grad_inner is not None:
            passed = grad_inner @ self.weight_hh
            if self.starts is not None:
                passed.masked_fill_(self.starts.unsqueeze(-1), 0)
            grad_states = grad_states.clone()
            grad_states[:-1] += passed[1:]
        want_leak = self.leak is not None and "leak" in tangents
        delta, _, total = self.kernel.adjoint(
            grad_states, self.slopes, self.weight_hh, self.leak, self.starts, want_adjoint_states=want_leak
        )
        if grad_inner is not None:
            delta = delta + grad_inner
        back = self._parameter_cotangents(delta, tangents)
        if want_leak and self.leak is not None:
            back["leak"] = (total * (self.previous - self.states)).sum((0, 1)) / (1 - self.leak)
        return delta @ self.weight_ih if below else None, back

    def _native_adjoint(
        self, layer: layer_cpu.Layer, grad_states: Tensor, tangents: Tangents, *, below: bool
    ) -> tuple[Tensor | None, dict[str, Tensor]]:
        """`adjoint` in one call."""
        bias, second, weight = (f"{name}_l{self.index}" for name in ("bias_ih", "bias_hh", "weight_hh"))
        wanted = (
            self.input_name in tangents,
            bias in tangents,
            second in tangents,
            weight in tangents,
        )
        grad = layer_cpu.backward(layer, self.states, self.slopes, not below, grad_states, wanted, below)
        made = {
            self.input_name: grad.weight_ih,
            bias: grad.bias,
            second: grad.second_bias,
            weight: grad.weight_hh,
        }
        back = {name: x for name, x in made.items() if x is not None}
        return None if grad.delta is None else grad.delta @ self.weight_ih, back

    def _parameter_cotangents(self, delta: Tensor, tangents: Tangents) -> dict[str, Tensor]:
        back = {}
        if (name := f"weight_hh_l{self.index}") in tangents:
            back[name] = weight_gradient(delta, self.previous)
        if self.input_name in tangents:
            back[self.input_name] = self._input_weight_cotangent(delta)
        names = [name for k in ("ih", "hh") if (name := f"bias_{k}_l{self.index}") in tangents]
        if names:
            total = delta.sum((0, 1))
            back |= dict.fromkeys(names, total)
        return back

    def _input_weight_cotangent(self, delta: Tensor) -> Tensor:
        if self.inputs.dtype in TOKEN_TYPES:
            rows = delta.new_zeros(self.weight_ih.shape[::-1])
            rows.index_add_(0, self.inputs.flatten(), delta.flatten(0, 1))
            return rows if self.input_name == "embedding" else rows.T
        return weight_gradient(delta, self.inputs)


class LinearizedRNN:
    """An RNN at its present parameters and these inputs.

    The states before the first step are constants. Dropout is not applied: a Gauss-Newton product needs the
    same network every time.

    Args:
        rnn: the network, an `RNN`, time first.
        inputs: (T, B, I), binary as uint8 or bool, or token ids (T, B).
        states: before the first step, (L, B, H); zero by default.
        starts: boolean (T, B), where a new sequence starts.
        kernel: as for `leaky_scan`.

    Example:
        >>> from ostinato.nn import RNN
        >>> rnn = RNN(1, 1, nonlinearity="identity", generator=torch.Generator().manual_seed(0))
        >>> point = LinearizedRNN(rnn, torch.ones(2, 1, 1))
        >>> point.tangent({"bias_ih_l0": torch.ones(1)})[0].flatten()[0]
        tensor(1.)
    """

    def __init__(
        self,
        rnn: RecurrentStack,
        inputs: Tensor,
        states: Tensor | None = None,
        starts: Tensor | None = None,
        *,
        kernel: str | None = None,
    ) -> None:
        if rnn.batch_first:
            raise ValueError("expected an RNN that takes time first, found batch_first=True")
        binary = inputs.dtype in (torch.uint8, torch.bool)
        below = inputs.to(rnn.weight_hh_l0.dtype) if binary else inputs
        self._leak_slope = slope(getattr(rnn, LEARNED).detach()) if rnn.learned_leak else None
        self.layers: list[LinearizedLayer] = []
        with torch.no_grad():
            for index in range(rnn.num_layers):
                h0 = None if states is None else states[index]
                read = inputs if index == 0 else below
                self.layers.append(_linearized(rnn, index, below, read, h0, starts, kernel))
                below = self.outputs

    @property
    def outputs(self) -> Tensor:
        """The states of the last layer, (T, B, H)."""
        return self.layers[-1].states

    def tangent(self, tangents: Tangents) -> list[Tensor]:
        """How the states (T, B, H) of each layer change with the parameters."""
        changes: list[Tensor] = []
        tangents = self._of_leak(tangents)
        for layer in self.layers:
            changes.append(layer.tangent(changes[-1] if changes else None, tangents))
        return changes

    def _of_leak(self, tangents: Tangents) -> Tangents:
        """The tangents, with that of a learned leak in place of its parameter's."""
        if self._leak_slope is None or LEARNED not in tangents:
            return tangents
        return {**tangents, "leak": self._leak_slope * tangents[LEARNED]}

    def structural(
        self, changes: list[Tensor], tangents: Tangents, weight: float, mask: Tensor | None
    ) -> list[Tensor]:
        """weight * phi'(z) dz for every layer, in the frames that count: d dz without the leak's (1 - a)."""
        terms = []
        tangents = self._of_leak(tangents)
        for layer, change in zip(self.layers, changes, strict=True):
            keep = 1 if layer.leak is None else 1 - layer.leak
            term = layer.activation_tangent(change, tangents) * (weight / keep)
            terms.append(term if mask is None else term.masked_fill_(~mask.unsqueeze(-1), 0))
        return terms

    def adjoint(
        self, grad_outputs: Tensor, structural: list[Tensor] | None, tangents: Tangents
    ) -> dict[str, Tensor]:
        """What G at the last states, and c at every layer's pre-activations, pass to the parameters."""
        back: dict[str, Tensor] = {}
        tangents, grad = self._of_leak(tangents), grad_outputs
        for layer in reversed(self.layers):
            inner = None if structural is None else structural[layer.index]
            passed, own = layer.adjoint(grad, inner, tangents, below=layer.index > 0)
            # the layers share one leak
            back |= {name: back[name] + x if name in back else x for name, x in own.items()}
            grad = grad if passed is None else passed
        if self._leak_slope is not None and "leak" in back:
            back[LEARNED] = self._leak_slope * back.pop("leak")
        return back


def _linearized(
    rnn: RecurrentStack,
    index: int,
    below: Tensor,
    read: Tensor,
    h0: Tensor | None,
    starts: Tensor | None,
    kernel: str | None,
) -> LinearizedLayer:
    """A layer at the RNN's present parameters, by a run over its inputs: `below`, as they were `read`."""
    embedded = rnn.token_inputs and index == 0
    name = "embedding" if embedded else f"weight_ih_l{index}"
    weight_ih = getattr(rnn, name).detach()
    weight_ih = weight_ih.T if embedded else weight_ih
    weight_hh = getattr(rnn, f"weight_hh_l{index}").detach()
    leak = None if rnn.leak is None else rnn.leak.detach()
    bias = second_bias = None
    if rnn.bias:
        bias, second_bias = (getattr(rnn, f"bias_{k}_l{index}").detach() for k in ("ih", "hh"))
    drive = project(below, weight_ih, bias, second_bias)
    chosen = select.kernel_for(drive, kernel)
    start = torch.zeros_like(drive[0]) if h0 is None else h0
    out, slopes = chosen.forward(drive, weight_hh, leak, start, starts, str(rnn.nonlinearity))
    previous = previous_states(out, start, starts)
    layer = None
    if chosen.__name__ == layer_cpu.cpu.__name__ and below.dtype is weight_hh.dtype and out.numel():
        layer = layer_cpu.Layer(read, weight_ih, bias, second_bias, weight_hh, leak, h0, starts)
    return LinearizedLayer(
        index, name, below, previous, out, slopes, weight_ih, weight_hh, leak, starts, chosen, layer
    )
