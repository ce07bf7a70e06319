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
from ostinato.nn.kernels.operator import eager
from ostinato.nn.outputs import by_class
from ostinato.nn.outputs.base import OutputSpec
from ostinato.nn.outputs.by_class import ByClass
from ostinato.nn.outputs.direct import Features
from ostinato.nn.outputs.distribution import OutputDistribution, check_ids, check_real
from ostinato.nn.outputs.softmax import Tokens, tied


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

    arg_constraints = {}  # noqa: RUF012
    _parameters = {"_hidden": 1}  # noqa: RUF012

    def __init__(
        self,
        hidden: Tensor,
        output: "ClassSoftmax",
        features: Features | None = None,
        *,
        validate_args: bool | None = None,
    ) -> None:
        self._hidden, self._output, self._features = hidden, output, features
        OutputDistribution.__init__(self, hidden.shape[:-1], torch.Size(), validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "ClassTokens":
        """See `OutputDistribution.expand`; the features are expanded too."""
        new = super().expand(batch_shape, _instance)
        if self._features is not None:
            new._features = self._features.expand(new.batch_shape)
        return new

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

    def _log_prob(self, value: Tensor) -> Tensor:
        output, shape, features = self._output, self._leading(value), self._features
        seen = eager(self._hidden, value, *output.affine)
        if features is not None and not seen:
            every = self.log_probs.expand(*shape, -1)
            return every.gather(-1, value.long().expand(shape).unsqueeze(-1)).squeeze(-1)
        hidden = self._hidden.expand(*shape, -1).reshape(-1, self._hidden.shape[-1])
        point = (hidden, *output.affine, value.expand(shape).reshape(-1).long(), output.class_of)
        if not seen:
            return by_class.LOG_PROB(*point, output.offsets).reshape(shape)
        features = None if features is None else features.expand(shape)
        return by_class.log_prob(*point, output.offsets, features).reshape(shape)


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

    @property
    def affine(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Weights and biases: of the classes, and of the tokens within them."""
        return self.class_weight, self.class_bias, self.weight, self.bias

    def forward(self, hidden: Tensor, features: Features | None = None) -> ClassTokens:
        """The distribution of the next token for every state (..., H), with n-gram features if given."""
        return ClassTokens.of_layer(hidden, self, features)

    def nll(self, hidden: Tensor, targets: Tensor, features: Features | None = None) -> Tensor:
        """Sum over tokens of -log p(targets | hidden) in nats.

        Differentiable to any order; hidden (N, H), targets (N,) token ids. With features of n-grams that
        learn apart once, and these are told what to learn.

        Raises:
            ValueError: the targets are no whole numbers, or not one for each state.
        """
        check_real("hidden", hidden)
        check_ids(targets, hidden)
        if not torch.is_grad_enabled() or not eager(hidden, targets, *self.affine):
            return -self.forward(hidden, features)._log_prob(targets).sum()
        point = (hidden, *self.affine, targets.long(), self.class_of, self.offsets)
        return by_class.nll(*point, features)

    def linearize(self, hidden: Tensor, targets: Tensor) -> ClassCurvature:
        """The curvature of `nll` at states (N, H): of the class's log-odds, and of those within the class."""
        parts = []
        for k, rows in ByClass(targets.long(), self.class_of, self.classes).rows():
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

    def tie_(self, embedding: nn.Parameter) -> None:
        """Share W, of the tokens within their classes, with an embedding (V, H): see `Softmax.tie_`."""
        self.weight = tied(self.weight, embedding)

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
