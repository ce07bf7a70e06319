"""The full softmax: a token's log-odds are affine in the hidden state.

Shapes: N tokens (any leading shape), H hidden, V vocabulary.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import constraints

from ostinato.nn.curvature.outputs import AffineCurvature, softmax_hessian
from ostinato.nn.devices import multinomial
from ostinato.nn.kernels.by_stream import affine, recorder
from ostinato.nn.kernels.operator import eager
from ostinato.nn.outputs.direct import Features
from ostinato.nn.outputs.distribution import OutputDistribution, check_ids, check_real


class Tokens(OutputDistribution):
    """A distribution over V tokens.

        log p(w) = z_w - log sum_v exp z_v

    Args:
        logits: z, shape (..., V).

    Example:
        >>> tokens = Tokens(torch.zeros(2, 4))
        >>> tokens.log_prob(torch.tensor([0, 3])).exp()
        tensor([0.2500, 0.2500])
    """

    arg_constraints = {"logits": constraints.real_vector}  # noqa: RUF012
    has_enumerate_support = True
    _parameters = {"logits": 1}  # noqa: RUF012

    def __init__(self, logits: Tensor, *, validate_args: bool | None = None) -> None:
        self.logits = logits
        super().__init__(logits.shape[:-1], torch.Size(), validate_args)

    @property
    def vocabulary_size(self) -> int:
        """V."""
        return self.logits.shape[-1]

    @property
    def support(self) -> constraints.Constraint:
        """Token ids 0 ... V - 1."""
        return constraints.integer_interval(0, self.vocabulary_size - 1)

    @property
    def log_probs(self) -> Tensor:
        """Log-probabilities of the whole vocabulary, shape (..., V)."""
        return torch.log_softmax(self.logits, -1)

    @property
    def probs(self) -> Tensor:
        """Probabilities of the whole vocabulary, shape (..., V)."""
        return self.log_probs.exp()

    @property
    def mode(self) -> Tensor:
        """The most probable token, shape (...); of several the first."""
        return self.probs.argmax(-1)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All token ids, shape (V, ...), or with dimensions of 1 for the batch's."""
        every = torch.arange(self.vocabulary_size, device=self.logits.device)
        every = every.view(-1, *[1] * len(self.batch_shape))
        return every.expand(-1, *self.batch_shape) if expand else every

    def _log_prob(self, value: Tensor) -> Tensor:
        shape = self._leading(value)
        logits = self.logits.expand(*shape, -1)
        chosen = logits.gather(-1, value.long().expand(shape).unsqueeze(-1)).squeeze(-1)
        return chosen - self.logits.logsumexp(-1)

    def entropy(self) -> Tensor:
        """Entropy in nats, shape (...)."""
        log_p = self.log_probs
        return -(log_p.exp() * log_p).sum(-1)

    def sample(self, sample_shape: Any = (), *, generator: torch.Generator | None = None) -> Tensor:
        """Draw token ids as int64, shape sample_shape + (...)."""
        with torch.no_grad():
            shape = torch.Size(sample_shape)
            flat = self.probs.reshape(-1, self.vocabulary_size)
            drawn = multinomial(flat, max(shape.numel(), 1), generator)
            return drawn.T[: shape.numel()].reshape(shape + self.batch_shape)


class _NegativeLogLikelihood(torch.autograd.Function):
    """Sum over tokens of -log p, its gradients made in the same pass as the value."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
        nll, residual = softmax_residual(torch.addmm(bias, hidden, weight.T), targets)
        made = residual @ weight, (hidden.T @ residual).T, residual.sum(0)
        ctx.save_for_backward(hidden, weight, bias, targets, *made)
        return nll

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, targets, grad_hidden, grad_weight, grad_bias = ctx.saved_tensors
        if torch.is_grad_enabled():  # once more, in operations that have derivatives
            residual = residual_of(F.linear(hidden, weight, bias), targets) * grad
            return residual @ weight, residual.T @ hidden, residual.sum(0), None
        return grad_hidden * grad, grad_weight * grad, grad_bias * grad, None


class _OfLogits(torch.autograd.Function):
    """The same of logits that are made elsewhere."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor) -> Tensor:
        nll, residual = softmax_residual(logits, targets)
        ctx.save_for_backward(logits, targets, residual)
        return nll

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        logits, targets, residual = ctx.saved_tensors
        if torch.is_grad_enabled():
            residual = residual_of(logits, targets)
        return residual * grad, None


class _WithFeatures(torch.autograd.Function):
    """The same, with features of n-grams that learn apart: they are added to the logits, and told of p."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor, features: Features) -> Tensor:
        places = features.places(0)
        logits = features.direct.add_(logits.detach().clone(), places)
        nll, residual = softmax_residual(logits, targets)
        features.direct.remember(places, residual)
        ctx.save_for_backward(residual)
        return nll

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError("n-grams that learn apart have no second derivative")
        (residual,) = ctx.saved_tensors
        return residual * grad, None, None


def softmax_residual(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Sum over N tokens of -log p, and its gradient p - onehot(target) with respect to the logits (N, V).

    Args:
        logits: z, shape (N, V).
        targets: token ids as int64, shape (N,).

    Example:
        >>> nll, residual = softmax_residual(torch.zeros(1, 2), torch.tensor([1]))
        >>> round(nll.item(), 4), residual
        (0.6931, tensor([[ 0.5000, -0.5000]]))
    """
    log_p = torch.log_softmax(logits, 1)
    rows = targets.unsqueeze(1)
    nll = -log_p.gather(1, rows).sum()
    residual = log_p.exp_()
    return nll, residual.scatter_add_(1, rows, residual.new_full(rows.shape, -1))


def residual_of(logits: Tensor, targets: Tensor) -> Tensor:
    """p - onehot(target) of logits (N, V), in differentiable operations."""
    p = torch.softmax(logits, 1)
    rows = targets.unsqueeze(1)
    return p.scatter_add(1, rows, -torch.ones_like(p[:, :1]))


def tied(weight: Tensor, embedding: nn.Parameter) -> nn.Parameter:
    """The embedding, in the place of weights of its shape.

    Source: Press & Wolf 2017 (arXiv 1608.05859); Inan, Khosravi & Socher 2017 (arXiv 1611.01462).

    Raises:
        ValueError: the shapes differ.
    """
    if weight.shape != embedding.shape:
        raise ValueError(
            f"expected an embedding {tuple(weight.shape)} to share weights with, got {tuple(embedding.shape)}"
        )
    return embedding


class Softmax(nn.Module):
    """Output layer: one log-odds for each of V tokens, p(w | h) = softmax(W h + b)_w.

    Args:
        hidden_size: H.
        vocabulary_size: V.
        generator: source of randomness for the weights (PyTorch's uniform draw for a linear layer).

    Example:
        >>> output = Softmax(5, 50, generator=torch.Generator().manual_seed(0))
        >>> output(torch.zeros(7, 2, 5)).log_prob(torch.zeros(7, 2, dtype=torch.int64)).shape
        torch.Size([7, 2])
    """

    def __init__(
        self,
        hidden_size: int,
        vocabulary_size: int,
        *,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.hidden_size, self.vocabulary_size = hidden_size, vocabulary_size
        bound = 1 / math.sqrt(hidden_size)
        weight = torch.empty(vocabulary_size, hidden_size, device=device, dtype=dtype)
        self.weight = nn.Parameter(weight.uniform_(-bound, bound, generator=generator))
        self.bias = nn.Parameter(torch.zeros(vocabulary_size, device=device, dtype=dtype))

    def forward(self, hidden: Tensor, features: Features | None = None) -> Tokens:
        """The distribution of the next token for every state (..., H), with n-gram features if given."""
        logits = affine(hidden, self.weight, self.bias)
        if features is not None:
            logits = logits + features(0, self.vocabulary_size)
        return Tokens.of_layer(logits.to(self.weight.dtype))

    def nll(self, hidden: Tensor, targets: Tensor, features: Features | None = None) -> Tensor:
        """Sum over tokens of -log p(targets | hidden) in nats.

        Differentiable to any order; hidden (N, H), targets (N,) token ids. With features of n-grams that
        learn apart once, and these are told what to learn.

        Raises:
            ValueError: the targets are no whole numbers, or not one for each state.
        """
        check_real("hidden", hidden)
        check_ids(targets, hidden)
        if not eager(hidden, targets, self.weight, self.bias):
            return -self.forward(hidden, features)._log_prob(targets).sum()
        if features is not None:
            if not torch.is_grad_enabled():  # nothing is to be learned
                return -self.forward(hidden, features)._log_prob(targets).sum()
            logits = affine(hidden, self.weight, self.bias)
            return _WithFeatures.apply(logits, targets.long(), features)
        if recorder(self.weight, self.bias) is not None:
            return _OfLogits.apply(affine(hidden, self.weight, self.bias), targets.long())
        return _NegativeLogLikelihood.apply(hidden, self.weight, self.bias, targets.long())

    def linearize(self, hidden: Tensor, targets: Tensor) -> AffineCurvature:
        """The curvature of `nll` at these states (N, H): H = diag(p) - p p^T at the logits."""
        probabilities = torch.softmax(F.linear(hidden, self.weight, self.bias), 1)
        return AffineCurvature(hidden, self.weight, softmax_hessian(probabilities))

    def tie_(self, embedding: nn.Parameter) -> None:
        """Share W with an embedding of tokens (V, H): one matrix, with the gradients of both uses."""
        self.weight = tied(self.weight, embedding)

    def initialize_bias_(self, frequencies: Tensor) -> None:
        """Set the biases to the log of the tokens' frequencies (V,), all above 0: the 1-gram."""
        with torch.no_grad():
            self.bias.copy_(frequencies.log())

    @property
    def widest(self) -> int:
        """Logits that follow each other: V."""
        return self.vocabulary_size

    def extra_repr(self) -> str:
        """The sizes."""
        return f"{self.hidden_size}, {self.vocabulary_size}"
