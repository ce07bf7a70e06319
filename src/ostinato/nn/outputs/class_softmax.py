"""The class-factored softmax: first the class of the next token, then the token within its class.

    p(w | h) = p(c(w) | h) p(w | c(w), h)

Both factors are softmaxes of affine functions of h, so this is a proper distribution over the vocabulary; a
token costs K + |class| products instead of V. Tokens are numbered so that a class is a range of ids, and a
batch is sorted by class: one product per class.

Shapes: N tokens (any leading shape), H hidden, V vocabulary, K classes.
Source: Goodman 2001, "Classes for fast maximum entropy training"; Mikolov et al. 2011, "Extensions of
recurrent neural network language model".
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ostinato.nn.curvature.outputs import AffineCurvature, ClassCurvature, ClassPart, softmax_hessian
from ostinato.nn.kernels.by_stream import recorder
from ostinato.nn.outputs.base import OutputSpec
from ostinato.nn.outputs.direct import Features
from ostinato.nn.outputs.softmax import Tokens, softmax_residual


def balanced_classes(counts: np.ndarray, classes: int) -> list[int]:
    """Sizes of at most K classes of nearly equal frequency, for tokens in the order of their ids.

    Each token goes to class k; then k advances by one, never more, if the cumulative frequency has passed
    (k + 1) / K. So no class is empty, and where a few tokens hold most of the mass there are fewer than K.

    Args:
        counts: how often each token occurs, shape (V,), the most frequent first.
        classes: K, the classes wanted.

    Example:
        >>> balanced_classes(np.array([5, 2, 2, 1, 1, 1]), classes=3)
        [1, 2, 3]
    """
    if classes < 1:
        raise ValueError(f"expected at least one class, got {classes}")
    passed = np.cumsum(counts, dtype=np.float64) / max(float(np.sum(counts)), 1.0)
    sizes = [0]
    for mass in passed:
        sizes[-1] += 1
        if len(sizes) < classes and mass > len(sizes) / classes:
            sizes.append(0)
    return sizes if sizes[-1] else sizes[:-1]


class ClassTokens(Tokens):
    """A distribution over V tokens in K classes; `log_prob` works on the classes it needs only.

    Args:
        hidden: h, shape (..., H).
        output: the layer whose weights make the distribution.
        features: n-gram features of the same shape (...).
    """

    def __init__(self, hidden: Tensor, output: "ClassSoftmax", features: Features | None = None) -> None:
        self._hidden, self._output, self._features = hidden, output, features
        torch.distributions.Distribution.__init__(self, hidden.shape[:-1], validate_args=False)

    @property
    def vocabulary_size(self) -> int:
        """V."""
        return self._output.vocabulary_size

    @property
    def logits(self) -> Tensor:  # type: ignore[override]
        """Log-probabilities of the whole vocabulary, shape (..., V)."""
        return self.log_probs

    @property
    def log_probs(self) -> Tensor:
        """Log-probabilities of the whole vocabulary, shape (..., V)."""
        output, hidden, features = self._output, self._hidden, self._features
        classes = F.linear(hidden, output.class_weight, output.class_bias)
        words = F.linear(hidden, output.weight, output.bias).split(output.sizes, -1)
        if features is not None:
            classes = classes + features(0, output.classes)
            words = tuple(z + features(k, z.shape[-1]) for k, z in enumerate(words, 1))
        of_class = torch.log_softmax(classes, -1)
        parts = [torch.log_softmax(z, -1) + of_class[..., k : k + 1] for k, z in enumerate(words)]
        return torch.cat(parts, -1)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-probability of token ids (...) in nats, shape (...)."""
        output = self._output
        shape = torch.broadcast_shapes(value.shape, self._hidden.shape[:-1])
        hidden = self._hidden.expand(*shape, -1).reshape(-1, self._hidden.shape[-1])
        targets = value.expand(shape).reshape(-1).long()
        batch, features = output.sorted_by_class(targets), self._features
        classes = F.linear(hidden, output.class_weight, output.class_bias)
        if features is not None:
            classes = classes + features(0, output.classes).view_as(classes)
        of_class, parts = torch.log_softmax(classes, -1), []
        for k, rows in batch.rows():
            begin, end = output.offsets[k], output.offsets[k + 1]
            z = F.linear(hidden.index_select(0, rows), output.weight[begin:end], output.bias[begin:end])
            if features is not None:
                z = z + features(k + 1, end - begin, rows)
            within = (targets.index_select(0, rows) - begin).unsqueeze(1)
            parts.append(z.gather(1, within).squeeze(1) - z.logsumexp(1))
        words = torch.cat(parts).index_select(0, batch.back()) if parts else of_class.new_zeros(0)
        return (of_class.gather(1, batch.classes.unsqueeze(1)).squeeze(1) + words).reshape(shape)


class _ByClass:
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
        batch: _ByClass,
        offsets: Sequence[int],
    ) -> Tensor:
        logits = torch.addmm(class_bias, hidden, class_weight.T)
        nll, ctx.of_classes = softmax_residual(logits, batch.classes)
        h, y = hidden.index_select(0, batch.order), targets.index_select(0, batch.order)
        ctx.residuals = []
        for k, rows in batch.ranges():
            words = slice(offsets[k], offsets[k + 1])
            inside = torch.addmm(bias[words], h[rows], weight[words].T)
            part, residual = softmax_residual(inside, y[rows] - words.start)
            nll += part
            ctx.residuals.append(residual)
        ctx.batch, ctx.offsets = batch, offsets
        ctx.parameters = class_weight, class_bias, weight, bias
        ctx.found = recorder(*ctx.parameters)
        ctx.save_for_backward(hidden, h, class_weight, weight)
        return nll

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        hidden, h, class_weight, weight = ctx.saved_tensors
        batch, offsets = ctx.batch, ctx.offsets
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
        return grad_hidden, grad_class_weight, grad_class_bias, grad_weight, grad_bias, None, None, None


def _recorded(
    ctx: Any, hidden: Tensor, h: Tensor, of_classes: Tensor, grad: Tensor
) -> tuple[Tensor | None, ...]:
    """The states' gradient, and what the streams' own gradients are made from; see `kernels.by_stream`."""
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
    return (grad_hidden, *[None] * 8)


class ClassSoftmax(nn.Module):
    """Output layer: the softmax over K classes times the softmax over the tokens of a class.

    Args:
        hidden_size: H.
        class_sizes: tokens in each class (K,), none of them 0: class 0 holds the first ids, and so on; see
            `balanced_classes`.
        generator: source of randomness for the weights (PyTorch's uniform draw for a linear layer).

    Example:
        >>> output = ClassSoftmax(5, [1, 2, 4], generator=torch.Generator().manual_seed(0))
        >>> distribution = output(torch.zeros(7, 5))
        >>> distribution.log_prob(torch.arange(7)).shape
        torch.Size([7])
        >>> bool(torch.allclose(distribution.probs.sum(-1), torch.ones(7)))
        True
    """

    class_sizes: Tensor
    class_of: Tensor

    def __init__(
        self,
        hidden_size: int,
        class_sizes: Sequence[int],
        *,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if not class_sizes or min(class_sizes) < 1:
            raise ValueError(f"expected classes of at least one token, got sizes {list(class_sizes)}")
        self.hidden_size, self.sizes = hidden_size, [int(size) for size in class_sizes]
        self.offsets = [0, *np.cumsum(self.sizes).tolist()]
        self.vocabulary_size, self.classes = self.offsets[-1], len(self.sizes)
        bound = 1 / math.sqrt(hidden_size)

        def drawn(rows: int) -> nn.Parameter:
            weight = torch.empty(rows, hidden_size, device=device, dtype=dtype)
            return nn.Parameter(weight.uniform_(-bound, bound, generator=generator))

        self.class_weight, self.weight = drawn(self.classes), drawn(self.vocabulary_size)
        self.class_bias = nn.Parameter(torch.zeros(self.classes, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.zeros(self.vocabulary_size, device=device, dtype=dtype))
        self.register_buffer("class_sizes", torch.tensor(self.sizes, device=device))
        class_of = torch.repeat_interleave(torch.arange(self.classes), torch.tensor(self.sizes))
        self.register_buffer("class_of", class_of.to(device or "cpu"), persistent=False)

    def sorted_by_class(self, targets: Tensor) -> _ByClass:
        """Targets (N,) as the products need them."""
        return _ByClass(targets, self.class_of, self.classes)

    def forward(self, hidden: Tensor, features: Features | None = None) -> ClassTokens:
        """The distribution of the next token for every state (..., H), with n-gram features if given."""
        return ClassTokens(hidden, self, features)

    def nll(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """Sum over tokens of -log p(targets | hidden) in nats.

        Differentiable once; hidden (N, H), targets (N,) token ids.
        """
        if not torch.is_grad_enabled():
            return -self(hidden).log_prob(targets).sum()
        targets = targets.long()
        return _NegativeLogLikelihood.apply(
            hidden,
            self.class_weight,
            self.class_bias,
            self.weight,
            self.bias,
            targets,
            self.sorted_by_class(targets),
            self.offsets,
        )

    def linearize(self, hidden: Tensor, targets: Tensor) -> ClassCurvature:
        """The curvature of `nll` at states (N, H): of the class's log-odds, and of those within the class."""
        parts = []
        for k, rows in self.sorted_by_class(targets.long()).rows():
            ids = slice(self.offsets[k], self.offsets[k + 1])
            h, weight = hidden.index_select(0, rows), self.weight[ids]
            p = torch.softmax(F.linear(h, weight, self.bias[ids]), 1)
            parts.append(ClassPart(rows, ids, AffineCurvature(h, weight, softmax_hessian(p))))
        p = torch.softmax(F.linear(hidden, self.class_weight, self.class_bias), 1)
        of_class = AffineCurvature(hidden, self.class_weight, softmax_hessian(p))
        return ClassCurvature(of_class, tuple(parts), self.vocabulary_size)

    @classmethod
    def from_settings(cls, spec: OutputSpec) -> "ClassSoftmax":
        """See `ostinato.nn.outputs.base.FromSettings`; the classes follow the frequencies."""
        if "class_sizes" in spec.stored:
            sizes = spec.stored["class_sizes"].tolist()
        else:
            counts = spec.start["frequencies"].numpy() if "frequencies" in spec.start else np.ones(spec.size)
            sizes = balanced_classes(counts, spec.settings["classes"])
        return cls(spec.hidden_size, sizes, generator=spec.generator, dtype=spec.dtype)

    def initialize_bias_(self, frequencies: Tensor) -> None:
        """Set the biases so that, with h = 0, p(w) is the frequency of w (V,), all above 0: the 1-gram."""
        parts = frequencies.split(self.sizes)
        with torch.no_grad():
            self.class_bias.copy_(torch.stack([part.sum() for part in parts]).log())
            self.bias.copy_(torch.cat([(part / part.sum()).log() for part in parts]))

    @property
    def widest(self) -> int:
        """Logits that follow each other at most: the largest class, or K."""
        return max(self.classes, *self.sizes)

    def extra_repr(self) -> str:
        """The sizes."""
        return f"{self.hidden_size}, vocabulary_size={self.vocabulary_size}, classes={self.classes}"
