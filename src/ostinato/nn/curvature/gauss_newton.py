"""The operator that Hessian-free optimisation asks for, of a `SequenceModel`, from its kernels.

Shapes: P parameters, T time, B streams, N frames that count, H hidden.
"""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from ostinato.nn.cells.dropping import acting
from ostinato.nn.cells.state import State, map_state, select
from ostinato.nn.curvature.outputs import LinearizedOutput
from ostinato.nn.model import SequenceModel


class GaussNewton:
    """Loss and gradient of a minibatch of streams, and Gauss-Newton products on it or on some of its streams.

        f   = 1/N sum_n -log p(v_n | h_n) + l1/N sum |h| + l2/2 ||W||^2
        G v = 1/N J^T H J v + l2 P v + structural * 1/N sum_l D_l^T diag(phi'(z_l)) D_l v

    P leaves the elements that belong to weight matrices and sets those of biases to zero.
    J is the derivative of the output's natural parameters (logits) by all parameters and H the Hessian of
    -log p there. D_l is the derivative of layer l's pre-activations z_l, before the leak: for tanh and
    sigmoid units phi' is the curvature of the cross-entropy between the unit now and after the step (tanh
    mapped to (1 + h) / 2), for rectifiers and linear units that of half the squared change of phi. For cells
    with gates it is 1, and D_l the derivative of layer l's outputs.

    The L1 penalty is in loss and gradient; it has no curvature, being piecewise linear in h. States carried
    in from before the minibatch are constants. States, slopes and the output's curvature are computed once,
    at the first product after `gradient`, and kept for all further ones.

    Sources: Schraudolph 2002; Martens 2010; Martens & Sutskever 2011, section 3 (structural damping).

    Args:
        model: the model; its trained parameters, in order, are the vectors' elements.
        inputs, targets, states, starts, mask: a segment, as in `SequenceModel.loss`.
        curvature_streams: indices of the streams that curvature is taken on; all by default.

    Example:
        >>> from ostinato.nn import RNN
        >>> from ostinato.nn.outputs import Bernoulli
        >>> model = SequenceModel(RNN(3, 4), Bernoulli(4, 3))
        >>> frames = torch.zeros(5, 2, 3, dtype=torch.uint8)
        >>> operator = GaussNewton(model, frames, frames)
        >>> gradient = operator.gradient()
        >>> operator.curvature(gradient).shape == gradient.shape
        True
    """

    def __init__(
        self,
        model: SequenceModel,
        inputs: Tensor,
        targets: Tensor,
        states: State | None = None,
        starts: Tensor | None = None,
        mask: Tensor | None = None,
        *,
        curvature_streams: Tensor | None = None,
    ) -> None:
        if not hasattr(model.output, "linearize"):
            raise ValueError(f"{type(model.output).__name__} has no curvature (no method `linearize`)")
        if type(model).loss is not SequenceModel.loss:
            raise ValueError(f"{type(model).__name__} has a loss of its own, whose curvature is not known")
        if model.training and acting(model.rnn):
            raise ValueError("Hessian-free needs the same loss every time: no dropout in training mode")
        self.model = model
        self._segment = (inputs, targets, states, starts, mask)
        self._chosen = curvature_streams
        self._point: _Point | None = None
        self.last_nll = self.frames = 0.0
        self.last_states: State | None = None

    def parameters(self) -> list[Tensor]:
        """The model's trained parameters, in the order of the vectors."""
        return [p for p in self.model.parameters() if p.requires_grad]

    def loss(self) -> float:
        """The objective at the parameters as they are now."""
        with torch.no_grad():
            return float(self.model.loss(*self._segment).objective)

    def gradient(self) -> Tensor:
        """The objective's gradient (P,); products belong to these parameters from now on.

        Leaves the summed -log p in `last_nll`, the frames counted in `frames` and the states after the
        segment in `last_states`.
        """
        self._point = None
        with torch.enable_grad():
            loss = self.model.loss(*self._segment)
            gradients = torch.autograd.grad(loss.objective, self.parameters(), materialize_grads=True)
        self.last_nll, self.frames, self.last_states = float(loss.nll), loss.frames, loss.states
        return _flat(gradients)

    def curvature(self, vector: Tensor, structural: float = 0.0) -> Tensor:
        """G v + structural * S v, shape (P,); call it with the parameters as they were at `gradient`."""
        if self._point is None:
            self._point = _Point(self.model, *self._curvature_segment())
        parameters = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        parts = vector.detach().split([p.numel() for p in parameters.values()])
        tangents = {
            name: part.view(p.shape) for (name, p), part in zip(parameters.items(), parts, strict=True)
        }
        with torch.no_grad():
            back = self._point.product(tangents, structural)
        total = torch.cat(
            [
                back[name].reshape(-1) if name in back else vector.new_zeros(p.numel())
                for name, p in parameters.items()
            ]
        ).mul_(1 / self._point.frames)
        if self.model.l2 > 0:
            for part, of_total, p in zip(
                parts, total.split([len(x) for x in parts]), parameters.values(), strict=True
            ):
                if p.dim() > 1:
                    of_total.add_(part, alpha=self.model.l2)
        return total

    def squared_gradient(self) -> Tensor:
        """Sum over the curvature's streams b of g_b^2, with sum_b g_b their gradient; shape (P,)."""
        inputs, targets, states, starts, mask = self._curvature_segment()
        parameters = self.parameters()
        total = torch.zeros(sum(p.numel() for p in parameters)).to(parameters[0])
        everything = targets.shape[0] * targets.shape[1] if mask is None else int(mask.sum())

        def of(x: Tensor | None, b: int) -> Tensor | None:
            return None if x is None else x[:, b : b + 1]

        for b in range(targets.shape[1]):
            own = None if states is None else map_state(lambda x, b=b: x[:, b : b + 1], states)
            with torch.enable_grad():
                loss = self.model.loss(
                    inputs[:, b : b + 1], targets[:, b : b + 1], own, of(starts, b), of(mask, b)
                )
                gradients = torch.autograd.grad(loss.objective, parameters, materialize_grads=True)
            flat = _flat(gradients)
            total.addcmul_(flat, flat, value=(loss.frames / max(everything, 1)) ** 2)
        return total

    def _curvature_segment(self) -> tuple[Tensor, Tensor, State | None, Tensor | None, Tensor | None]:
        inputs, targets, states, starts, mask = self._segment
        chosen = self._chosen
        if chosen is None:
            return inputs, targets, states, starts, mask
        few = [None if x is None else x.index_select(1, chosen) for x in (starts, mask)]
        own = None if states is None else select(states, chosen)
        return inputs.index_select(1, chosen), targets.index_select(1, chosen), own, few[0], few[1]


class _Point:
    """A model at one point: its linearised recurrence and output, and which frames count."""

    def __init__(
        self,
        model: SequenceModel,
        inputs: Tensor,
        targets: Tensor,
        states: State | None,
        starts: Tensor | None,
        mask: Tensor | None,
    ) -> None:
        self.mask = None if mask is None or bool(mask.all()) else mask
        self.chosen = None if self.mask is None else self.mask.flatten().nonzero().squeeze(1)
        with torch.no_grad():
            self.rnn = model.rnn.linearize(inputs, states, starts)
            hidden, values = self._frames(model.told(self.rnn.outputs, inputs)), self._frames(targets)
            output: LinearizedOutput = model.output.linearize(hidden, values)  # type: ignore[attr-defined]
        self.output, self.frames = output, max(len(values), 1)

    def _frames(self, x: Tensor) -> Tensor:
        """The frames that count, (N, ...)."""
        flat = x.flatten(0, 1)
        return flat if self.chosen is None else flat.index_select(0, self.chosen)

    def product(self, tangents: Mapping[str, Tensor], structural: float) -> dict[str, Tensor]:
        """Down through the layers, across the output's curvature, and back up: sums over the frames."""
        of_rnn, of_output = _under("rnn.", tangents), _under("output.", tangents)
        changes = self.rnn.tangent(of_rnn)
        grad, back = self.output.product(self._frames(changes[-1]), of_output)
        if self.chosen is not None:
            whole = grad.new_zeros(self.rnn.outputs.flatten(0, 1).shape)
            grad = whole.index_copy_(0, self.chosen, grad)
        inner = self.rnn.structural(changes, of_rnn, structural, self.mask) if structural else None
        result = {f"output.{name}": x for name, x in back.items()}
        through = self.rnn.adjoint(grad.view_as(self.rnn.outputs), inner, of_rnn)
        return result | {f"rnn.{name}": x for name, x in through.items()}


def _flat(gradients: Iterable[Tensor]) -> Tensor:
    """Gradients in one vector; those of an embedding are sparse."""
    return torch.cat([(g.to_dense() if g.is_sparse else g).reshape(-1) for g in gradients])


def _under(prefix: str, tangents: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tangents.items() if k.startswith(prefix)}
