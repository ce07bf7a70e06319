"""The class-factored softmax of a batch: by class where targets can be looked at, else of all tokens.

    log p(w | h) = log softmax(W_c h + b_c)_c(w) + log softmax(W h + b within class c(w))_w

Shapes: N tokens, H hidden, V vocabulary, K classes; class k has the tokens offsets[k] ... offsets[k + 1] - 1.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ostinato.nn.kernels.by_stream import no_second_derivative, recorder
from ostinato.nn.kernels.operator import eager, register
from ostinato.nn.outputs.direct import Features
from ostinato.nn.outputs.softmax import residual_of, softmax_residual


class ByClass:
    """A batch of targets sorted by class: `order` sorts, `counts` says how many of each class there are."""

    def __init__(self, targets: Tensor, class_of: Tensor, number: int) -> None:
        self.classes = class_of.index_select(0, targets)
        self.order = self.classes.argsort(stable=True)
        self.counts: list[int] = torch.bincount(self.classes, minlength=number).tolist()

    def rows(self) -> list[tuple[int, Tensor]]:
        """The classes that occur, each with the rows of its tokens."""
        split = self.order.split(self.counts)
        return [(k, rows) for k, rows in enumerate(split) if len(rows)]

    def ranges(self) -> list[tuple[int, slice]]:
        """The classes that occur, each with the range of its tokens among the sorted ones."""
        ends = np.cumsum(self.counts).tolist()
        pairs = enumerate(zip(self.counts, ends, strict=True))
        return [(k, slice(end - count, end)) for k, (count, end) in pairs if count]

    def back(self) -> Tensor:
        """The permutation that undoes the sorting."""
        back = torch.empty_like(self.order)
        back[self.order] = torch.arange(len(self.order), device=self.order.device)
        return back


def log_prob(
    hidden: Tensor,
    class_weight: Tensor,
    class_bias: Tensor,
    weight: Tensor,
    bias: Tensor,
    targets: Tensor,
    class_of: Tensor,
    offsets: Sequence[int],
    features: Features | None = None,
) -> Tensor:
    """Of every token, (N,): one product per class that occurs; differentiable to any order.

    Args:
        hidden: h, (N, H).
        class_weight, class_bias: W_c and b_c, (K, H) and (K,).
        weight, bias: W and b, (V, H) and (V,).
        targets: token ids (N,) int64.
        class_of: the class of every token, (V,) int64.
        offsets: K + 1 numbers.
        features: what n-grams add to the logits, of N predictions.
    """
    batch = ByClass(targets, class_of, len(class_bias))
    classes = F.linear(hidden, class_weight, class_bias)
    if features is not None:
        classes = classes + features(0, len(class_bias)).view_as(classes)
    of_class, parts = torch.log_softmax(classes, -1), []
    for k, rows in batch.rows():
        begin, end = offsets[k], offsets[k + 1]
        z = F.linear(hidden.index_select(0, rows), weight[begin:end], bias[begin:end])
        if features is not None:
            z = z + features(k + 1, end - begin, rows)
        within = (targets.index_select(0, rows) - begin).unsqueeze(1)
        parts.append(z.gather(1, within).squeeze(1) - z.logsumexp(1))
    words = torch.cat(parts).index_select(0, batch.back()) if parts else of_class.new_zeros(0)
    return of_class.gather(1, batch.classes.unsqueeze(1)).squeeze(1) + words


def gradients(
    weights: Tensor,
    hidden: Tensor,
    class_weight: Tensor,
    class_bias: Tensor,
    weight: Tensor,
    bias: Tensor,
    targets: Tensor,
    class_of: Tensor,
    offsets: Sequence[int],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Of sum_n weights_n log p_n, by states, weights and biases; differentiable to any order.

    Arguments as for `log_prob`, and the weights of the tokens (N,).
    """
    batch = ByClass(targets, class_of, len(class_bias))
    scale = -weights.unsqueeze(1)
    of_classes = residual_of(F.linear(hidden, class_weight, class_bias), batch.classes) * scale
    h, y, scale = (x.index_select(0, batch.order) for x in (hidden, targets, scale))
    ranges = dict(batch.ranges())
    of_states, of_weight, of_bias = [h[:0]], [], []
    for k in range(len(class_bias)):
        words, rows = slice(offsets[k], offsets[k + 1]), ranges.get(k)
        if rows is None:
            of_weight.append(torch.zeros_like(weight[words]))
            of_bias.append(torch.zeros_like(bias[words]))
            continue
        logits = F.linear(h[rows], weight[words], bias[words])
        residual = residual_of(logits, y[rows] - words.start) * scale[rows]
        of_states.append(residual @ weight[words])
        of_weight.append(residual.T @ h[rows])
        of_bias.append(residual.sum(0))
    back = torch.cat(of_states).index_select(0, batch.back())
    return (
        of_classes @ class_weight + back,
        of_classes.T @ hidden,
        of_classes.sum(0),
        torch.cat(of_weight),
        torch.cat(of_bias),
    )


def _unseen(
    hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, class_of: Tensor
) -> tuple[Tensor, Tensor]:
    """The classes of the tokens (N,), and the logits of all tokens (N, V), -inf outside of these classes."""
    classes = class_of[targets]
    logits = F.linear(hidden, weight, bias)
    return classes, logits.masked_fill(class_of != classes.unsqueeze(1), -torch.inf)


def unseen_log_prob(
    hidden: Tensor,
    class_weight: Tensor,
    class_bias: Tensor,
    weight: Tensor,
    bias: Tensor,
    targets: Tensor,
    class_of: Tensor,
    offsets: Sequence[int],
) -> Tensor:
    """`log_prob` without a look at the targets: from the logits of all tokens."""
    classes, within = _unseen(hidden, weight, bias, targets, class_of)
    of_class = torch.log_softmax(F.linear(hidden, class_weight, class_bias), 1)
    chosen = [x.gather(1, i.unsqueeze(1)).squeeze(1) for x, i in ((of_class, classes), (within, targets))]
    return chosen[0] + chosen[1] - within.logsumexp(1)


def unseen_gradients(
    weights: Tensor,
    hidden: Tensor,
    class_weight: Tensor,
    class_bias: Tensor,
    weight: Tensor,
    bias: Tensor,
    targets: Tensor,
    class_of: Tensor,
    offsets: Sequence[int],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """`gradients` without a look at the targets."""
    classes, within = _unseen(hidden, weight, bias, targets, class_of)
    scale = -weights.unsqueeze(1)
    of_classes = residual_of(F.linear(hidden, class_weight, class_bias), classes) * scale
    of_words = residual_of(within, targets) * scale
    of_states = of_classes @ class_weight + of_words @ weight
    return of_states, of_classes.T @ hidden, of_classes.sum(0), of_words.T @ hidden, of_words.sum(0)


_POINT = (
    "Tensor hidden, Tensor class_weight, Tensor class_bias, Tensor weight, Tensor bias, Tensor targets, "
    "Tensor class_of, int[] offsets"
)
GRADIENTS = register(
    f"class_softmax_gradients(Tensor weights, {_POINT}) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    gradients,
    unseen_gradients,
    fake=lambda weights, *point: tuple(x.new_empty(x.shape) for x in point[:5]),
)
LOG_PROB = register(
    f"class_softmax_log_prob({_POINT}) -> Tensor",
    log_prob,
    unseen_log_prob,
    fake=lambda hidden, *_: hidden.new_empty(hidden.shape[:1]),
    backward=lambda grad, *point: (*GRADIENTS(grad[0], *point), None, None, None),
)


def nll(
    hidden: Tensor,
    class_weight: Tensor,
    class_bias: Tensor,
    weight: Tensor,
    bias: Tensor,
    targets: Tensor,
    class_of: Tensor,
    offsets: Sequence[int],
    features: Features | None = None,
) -> Tensor:
    """Sum over tokens of -log p, its gradients in one pass with it; for reverse differentiation.

    Features, if there are any, learn apart: they are told of the residuals, and get no gradient.
    """
    point = (hidden, class_weight, class_bias, weight, bias, targets, class_of)
    return _NegativeLogLikelihood.apply(*point, offsets, features)


class _Told:
    """The features of a batch sorted by class, added to logits in place and told of their residuals.

    Within a class of one token nothing can be learned.
    """

    def __init__(self, features: Features, batch: ByClass) -> None:
        self.direct, self.of_classes = features.direct, features.places(0)
        self.within = features.places((batch.classes + 1).unsqueeze(1)).index_select(0, batch.order)

    def add_to_classes(self, logits: Tensor) -> None:
        self.direct.add_(logits, self.of_classes)

    def learn_of_classes(self, residual: Tensor) -> None:
        self.direct.remember(self.of_classes, residual)

    def add(self, logits: Tensor, rows: slice) -> None:
        if logits.shape[1] > 1:
            self.direct.add_(logits, self.within[rows])

    def learn(self, residual: Tensor, rows: slice) -> None:
        if residual.shape[1] > 1:
            self.direct.remember(self.within[rows], residual)


class _NegativeLogLikelihood(torch.autograd.Function):
    """Sum over tokens of -log p; the gradients of the logits are made in the same pass as the value."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        class_weight: Tensor,
        class_bias: Tensor,
        weight: Tensor,
        bias: Tensor,
        targets: Tensor,
        class_of: Tensor,
        offsets: Sequence[int],
        features: Features | None = None,
    ) -> Tensor:
        batch = ByClass(targets, class_of, len(class_bias))
        logits = torch.addmm(class_bias, hidden, class_weight.T)
        told = None if features is None else _Told(features, batch)
        if told is not None:
            told.add_to_classes(logits)
        nll, ctx.of_classes = softmax_residual(logits, batch.classes)
        if told is not None:
            told.learn_of_classes(ctx.of_classes)
        h, y = hidden.index_select(0, batch.order), targets.index_select(0, batch.order)
        ctx.residuals = []
        for k, rows in batch.ranges():
            words = slice(offsets[k], offsets[k + 1])
            inside = torch.addmm(bias[words], h[rows], weight[words].T)
            if told is not None:
                told.add(inside, rows)
            part, residual = softmax_residual(inside, y[rows] - words.start)
            if told is not None:
                told.learn(residual, rows)
            nll += part
            ctx.residuals.append(residual)
        ctx.batch, ctx.offsets, ctx.with_features = batch, offsets, features is not None
        ctx.parameters = class_weight, class_bias, weight, bias
        ctx.found = recorder(*ctx.parameters)
        ctx.save_for_backward(hidden, class_weight, class_bias, weight, bias, targets, class_of, h)
        return nll

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        hidden, class_weight, class_bias, weight, bias, targets, class_of, h = ctx.saved_tensors
        batch, offsets = ctx.batch, ctx.offsets
        if ctx.with_features and torch.is_grad_enabled():
            raise RuntimeError("n-grams that learn apart have no second derivative")
        if ctx.found is None and (torch.is_grad_enabled() or not eager(grad)):
            point = hidden, class_weight, class_bias, weight, bias, targets, class_of, offsets
            return *gradients(-grad.expand(len(h)), *point), None, None, None, None
        # The factor goes to the small residuals, not to the large weight gradients.
        of_classes = ctx.of_classes * grad
        if ctx.found is not None:
            return _recorded(ctx, hidden, h, of_classes, grad)
        grad_hidden, grad_class_weight = of_classes @ class_weight, of_classes.T @ hidden
        grad_class_bias = of_classes.sum(0)
        grad_h, grad_weight = torch.empty_like(h), torch.empty_like(weight)
        grad_bias = weight.new_zeros(len(weight))
        for k, count in enumerate(batch.counts):
            if count == 0:
                grad_weight[offsets[k] : offsets[k + 1]] = 0
        for (k, rows), part in zip(batch.ranges(), ctx.residuals, strict=True):
            words = slice(offsets[k], offsets[k + 1])
            residual = part * grad
            torch.mm(residual, weight[words], out=grad_h[rows])
            torch.mm(residual.T, h[rows], out=grad_weight[words])
            torch.sum(residual, 0, out=grad_bias[words])
        grad_hidden.index_add_(0, batch.order, grad_h)
        return grad_hidden, grad_class_weight, grad_class_bias, grad_weight, grad_bias, *[None] * 4


def _recorded(
    ctx: Any, hidden: Tensor, h: Tensor, of_classes: Tensor, grad: Tensor
) -> tuple[Tensor | None, ...]:
    """The states' gradient, and what the streams' own gradients are made from; see `kernels.by_stream`."""
    no_second_derivative()
    found, batch = ctx.found, ctx.batch
    class_weight, class_bias, weight, bias = ctx.parameters
    found.product(class_weight, of_classes, hidden)
    found.vector(class_bias, of_classes)
    streams = found.stream_of(len(hidden)).index_select(0, batch.order)
    grad_h, groups = torch.empty_like(h), []
    of_bias = weight.new_zeros(found.streams, len(weight))
    for (k, rows), part in zip(batch.ranges(), ctx.residuals, strict=True):
        words, residual = slice(ctx.offsets[k], ctx.offsets[k + 1]), part * grad
        torch.mm(residual, weight.detach()[words], out=grad_h[rows])
        groups.append((words, residual, h[rows], streams[rows]))
        of_bias[:, words].index_add_(0, streams[rows], residual)
    found.grouped(weight, groups)
    found.given(bias, of_bias)
    grad_hidden = (of_classes @ class_weight.detach()).index_add_(0, batch.order, grad_h)
    return (grad_hidden, *[None] * 9)
