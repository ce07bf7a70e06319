"""A regulariser against vanishing gradients: the norm of what goes back through time is to stay the same.

    Omega = mean_t ( ||(dC/dh_{t+1}) (dh_{t+1}/dh_t)||^2 / ||dC/dh_{t+1}||^2 - 1 )^2

over the steps and streams with a gradient that is not zero. Its derivative by W_hh is the "immediate" one:
states h and gradients dC/dh are taken as they are, and dh_{t+1}/dh_t as a function of W_hh alone. With leaky
units dh_{t+1}/dh_t has the leak on its diagonal; of several layers each one's gradients go back within it.

Source: Pascanu, Mikolov & Bengio 2013 (arXiv 1211.5063), equations 9 and 10.

Shapes: T time, B streams, N frames, H hidden.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ostinato.nn.cells.linearized_rnn import LinearizedLayer
from ostinato.nn.cells.state import State
from ostinato.nn.model import SequenceModel, check_frames
from ostinato.nn.outputs.base import Objective

# Squared norms below are of no gradient at all, such as before the last step that counts: the source's bound.
_NOTHING = 1e-20


@dataclass(frozen=True)
class VanishingPenalty:
    """Omega at a point, and its immediate derivatives.

    Arguments:
        omega: the sum over layers.
        gradients: by the recurrent weights of each layer, (H, H).
        ratio: the mean over steps of ||dC/dh_t|| / ||dC/dh_{t+1}||, of each layer: below 1 where gradients
            vanish.
    """

    omega: float
    gradients: tuple[Tensor, ...]
    ratio: tuple[float, ...]


def vanishing_penalty(
    model: SequenceModel,
    inputs: Tensor,
    targets: Tensor,
    states: State | None = None,
    starts: Tensor | None = None,
    mask: Tensor | None = None,
    objective: Objective | None = None,
) -> VanishingPenalty:
    """Omega of a segment, C being the mean over its frames of what the objective lowers, without penalties.

    Args:
        model: its recurrence is an `RNN`.
        inputs, targets, states, starts, mask, objective: as of `SequenceModel.loss`.

    Raises:
        TypeError: the recurrence is another one.
        ValueError: targets or mask are of other frames.

    Example:
        >>> from ostinato.nn import RNN
        >>> from ostinato.nn.outputs import Bernoulli
        >>> model = SequenceModel(RNN(88, 10), Bernoulli(10, 88))
        >>> frames = torch.ones(7, 2, 88, dtype=torch.uint8)
        >>> found = vanishing_penalty(model, frames, frames)
        >>> [tuple(gradient.shape) for gradient in found.gradients], 0 < found.ratio[0] < 1
        ([(10, 10)], True)
    """
    layers = _layers(model, inputs, None if states is None else model.recurrent(states), starts)
    check_frames(layers[-1].states, targets, mask)
    beside = model.beside(inputs, states, starts)
    grad, omega = _of_outputs(model, layers[-1].states, beside, inputs, targets, mask, objective), 0.0
    gradients: list[Tensor] = []
    ratios: list[float] = []
    for layer in reversed(layers):
        delta, _, total = layer.kernel.adjoint(
            grad, layer.slopes, layer.weight_hh, layer.leak, layer.starts, want_adjoint_states=True
        )
        value, gradient, ratio = _of_layer(layer, delta, total)
        omega += value
        gradients.insert(0, gradient)
        ratios.insert(0, ratio)
        grad = delta @ layer.weight_ih
    return VanishingPenalty(omega, tuple(gradients), tuple(ratios))


def recurrent_weights(model: SequenceModel) -> list[nn.Parameter]:
    """W_hh of each layer, in the order of `VanishingPenalty.gradients`."""
    rnn = model.rnn
    return [getattr(rnn, f"weight_hh_l{k}") for k in range(rnn.num_layers)]


def _layers(
    model: SequenceModel, inputs: Tensor, states: State | None, starts: Tensor | None
) -> list[LinearizedLayer]:
    linearize = getattr(model.rnn, "linearize", None)
    layers = None if linearize is None else getattr(linearize(inputs, states, starts), "layers", None)
    if layers is None:
        raise TypeError(f"expected a model whose recurrence is an RNN, found {type(model.rnn).__name__}")
    found: list[LinearizedLayer] = layers
    return found


def _of_outputs(
    model: SequenceModel,
    hidden: Tensor,
    beside: tuple[Tensor, ...],
    inputs: Tensor,
    targets: Tensor,
    mask: Tensor | None,
    objective: Objective | None,
) -> Tensor:
    """What the frames' own costs pass to the last layer's states, (T, B, H)."""
    with torch.enable_grad():
        leaf = hidden.detach().requires_grad_()
        read, values = model.told(leaf, inputs).flatten(0, 1), targets.flatten(0, 1)
        more = tuple(x.flatten(0, 1) for x in beside)
        if mask is not None:
            chosen = mask.flatten().nonzero().squeeze(1)
            read, values = read.index_select(0, chosen), values.index_select(0, chosen)
            more = tuple(x.index_select(0, chosen) for x in more)
        # a copy: what an objective draws is not drawn from training's own generator
        generator = None if model.generator is None else model.generator.clone_state()
        cost = model.cost(read, more, values, objective, generator) / max(len(values), 1)
        (grad,) = torch.autograd.grad(cost, leaf)
    return grad


def _of_layer(layer: LinearizedLayer, delta: Tensor, total: Tensor) -> tuple[float, Tensor, float]:
    """Omega of one layer, its gradient (H, H) and the mean ratio of norms.

    Args:
        layer: the layer.
        delta: dC/dz (T, B, H).
        total: dC/dh (T, B, H).
    """
    after = delta[1:]
    passed = after @ layer.weight_hh
    if layer.leak is not None:
        passed = passed + layer.leak * total[1:]
    size = total[1:].square().sum(-1)
    counts = size >= _NOTHING
    if layer.starts is not None:
        counts &= ~layer.starts[1:]
    number = int(counts.sum())
    if not number:
        return 0.0, torch.zeros_like(layer.weight_hh), float("nan")
    size = torch.where(counts, size, torch.ones_like(size))
    ratio = passed.square().sum(-1) / size
    excess = torch.where(counts, ratio - 1, torch.zeros_like(ratio))
    weighted = passed * (4 / number * excess / size).unsqueeze(-1)
    gradient = after.flatten(0, 1).T @ weighted.flatten(0, 1)
    mean = float(ratio[counts].sqrt().mean())
    return float(excess.square().sum() / number), gradient, mean
