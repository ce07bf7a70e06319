"""Independent notes: each frame's notes are Bernoulli variables, given the hidden state.

Shapes: N frames (any leading shape), H hidden, V visible (88 notes).
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import constraints

from ostinato.nn.curvature.outputs import AffineCurvature
from ostinato.nn.devices import uniform
from ostinato.nn.kernels.by_stream import affine, recorder
from ostinato.nn.kernels.operator import eager
from ostinato.nn.outputs.distribution import BinaryFrames, check_binary, check_real, settled
from ostinato.nn.outputs.pitches import pitch_log_probs


class BernoulliFrames(BinaryFrames):
    """Frames of V independent binary notes.

        log p(v) = sum_i v_i z_i - softplus(z_i)

    Args:
        logits: z, shape (..., V).

    Example:
        >>> frames = BernoulliFrames(torch.zeros(2, 88))
        >>> bool(torch.isclose(frames.log_prob(torch.ones(2, 88))[0], torch.tensor(-88 * math.log(2))))
        True
    """

    arg_constraints = {"logits": constraints.real_vector}  # noqa: RUF012
    _parameters = {"logits": 1}  # noqa: RUF012

    def __init__(self, logits: Tensor, *, validate_args: bool | None = None) -> None:
        self.logits = logits
        super().__init__(logits.shape[:-1], logits.shape[-1:], validate_args)

    @property
    def mean(self) -> Tensor:
        """P(v_i = 1), shape (..., V)."""
        return torch.sigmoid(self.logits)

    @property
    def variance(self) -> Tensor:
        """Variance of each note, shape (..., V)."""
        return self.mean * torch.sigmoid(-self.logits)

    @property
    def mode(self) -> Tensor:
        """The most probable frame as uint8, shape (..., V); a note of probability 1/2 is off."""
        return (self.logits > 0).to(torch.uint8)

    def _log_prob(self, value: Tensor) -> Tensor:
        return self.note_log_probs(value).sum(-1)

    def note_log_probs(self, value: Tensor) -> Tensor:
        """Log-probability of each note's value given the notes before it, shape (..., V).

        They sum to `log_prob`. Here the notes are independent, so the ones before it change nothing.
        """
        return value.to(self.logits.dtype) * self.logits - F.softplus(self.logits)

    def pitch_log_probs(self, value: Tensor) -> Tensor:
        """Of each sounding note, log p(its pitch | the others, one note more), (..., V): see `pitches`.

        With independent notes the odds of its pitch over the sum of the odds of it and of all silent notes.
        """
        shape = self._leading(value) + self.event_shape
        logits = self.logits.expand(shape).reshape(-1, shape[-1])

        def score(frames: Tensor, rows: Tensor) -> Tensor:
            return (frames.to(logits.dtype) * logits[rows]).sum(1)

        return pitch_log_probs(score, value.expand(shape).reshape(-1, shape[-1])).reshape(shape)

    def flattened(self) -> "BernoulliFrames":
        """The same frames in one batch dimension (N, V)."""
        return BernoulliFrames.of_layer(self.logits.reshape(-1, *self.event_shape))

    def first(self, rows: int) -> "BernoulliFrames":
        """The distribution of the first notes."""
        return BernoulliFrames.of_layer(self.logits[..., :rows])

    def settled(self, certain: Tensor, values: Tensor) -> "BernoulliFrames":
        """The same, with notes that are `certain` (..., V) to have their `values`."""
        return BernoulliFrames.of_layer(settled(self.logits, certain, values))

    def entropy(self) -> Tensor:
        """Entropy of a frame in nats, shape (...)."""
        return (F.softplus(self.logits) - self.mean * self.logits).sum(-1)

    def sample(self, sample_shape: Any = (), *, generator: torch.Generator | None = None) -> Tensor:
        """Draw frames as uint8, shape sample_shape + (..., V)."""
        shape = torch.Size(sample_shape) + self.logits.shape
        with torch.no_grad():
            return (uniform(shape, self.logits, generator) < self.mean).to(torch.uint8)

    def tempered(self, temperature: float) -> "BernoulliFrames":
        """The logit of every note divided by a temperature."""
        return BernoulliFrames.of_layer(self.logits / temperature)

    def sample_given(
        self, fixed_mask: Tensor, fixed_values: Tensor, *, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Draw frames whose fixed notes have given values; exact, since notes are independent.

        Args:
            fixed_mask: boolean (..., V), the notes that are fixed.
            fixed_values: (..., V), their values; the others are not looked at.
            generator: source of randomness.

        Returns:
            Frames (..., V) uint8 and log p(fixed notes) (...).
        """
        leading = torch.broadcast_shapes(fixed_mask.shape[:-1], fixed_values.shape[:-1], self.batch_shape)
        shape = leading + self.event_shape
        fixed, logits = fixed_mask.bool().expand(shape), self.logits.expand(shape)
        given = fixed_values.to(torch.uint8).expand(shape)
        frames = torch.where(fixed, given, BernoulliFrames.of_layer(logits).sample(generator=generator))
        log_p = frames.to(logits.dtype) * logits - F.softplus(logits)
        return frames, log_p.masked_fill(~fixed, 0).sum(-1)


class _NegativeLogLikelihood(torch.autograd.Function):
    """Sum over frames of -log p, its gradients made in the same pass as the value."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
        logits = F.linear(hidden, weight, bias)
        values = targets.to(logits.dtype)
        nll = F.softplus(logits).sum() - torch.dot(values.flatten(), logits.flatten())
        residual = logits.sigmoid_().sub_(values)
        made = residual @ weight, (hidden.T @ residual).T, residual.sum(0)
        ctx.save_for_backward(hidden, weight, bias, targets, *made)
        return nll

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, targets, grad_hidden, grad_weight, grad_bias = ctx.saved_tensors
        if torch.is_grad_enabled():  # once more, in operations that have derivatives
            p = torch.sigmoid(F.linear(hidden, weight, bias))
            residual = (p - targets.to(p.dtype)) * grad
            return residual @ weight, residual.T @ hidden, residual.sum(0), None
        return grad_hidden * grad, grad_weight * grad, grad_bias * grad, None


class Bernoulli(nn.Module):
    """Output layer: logits affine in the hidden state, notes independent given it.

    Args:
        hidden_size: H.
        visible_size: V.
        generator: source of randomness for the weights (PyTorch's uniform draw for a linear layer).

    Example:
        >>> output = Bernoulli(5, 88, generator=torch.Generator().manual_seed(0))
        >>> output(torch.zeros(7, 2, 5)).log_prob(torch.zeros(7, 2, 88)).shape
        torch.Size([7, 2])
    """

    def __init__(
        self,
        hidden_size: int,
        visible_size: int,
        *,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.hidden_size, self.visible_size = hidden_size, visible_size
        bound = 1 / math.sqrt(hidden_size)
        weight = torch.empty(visible_size, hidden_size, device=device, dtype=dtype)
        bias = torch.empty(visible_size, device=device, dtype=dtype)
        self.weight = nn.Parameter(weight.uniform_(-bound, bound, generator=generator))
        self.bias = nn.Parameter(bias.uniform_(-bound, bound, generator=generator))

    def forward(self, hidden: Tensor) -> BernoulliFrames:
        """The distribution of the next frame for every state (..., H)."""
        return BernoulliFrames.of_layer(affine(hidden, self.weight, self.bias).to(self.weight.dtype))

    def nll(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """Sum over frames of -log p(targets | hidden) in nats.

        Differentiable to any order; hidden (N, H), targets (N, V): 0 or 1, or probabilities, with which it is
        the cross-entropy.

        Raises:
            ValueError: other targets, or hidden states of another type.
        """
        check_real("hidden", hidden)
        check_binary(targets, shares=True)
        own = (self.weight, self.bias)
        quick = eager(hidden, targets, *own) and not targets.requires_grad and recorder(*own) is None
        if not quick:
            return -self.forward(hidden)._log_prob(targets).sum()
        return _NegativeLogLikelihood.apply(hidden, self.weight, self.bias, targets)

    def linearize(self, hidden: Tensor, targets: Tensor, *, asked: Tensor | None = None) -> AffineCurvature:
        """The curvature of `nll` at these states (N, H): H = diag(p (1 - p)) at the logits.

        Of the notes that are `asked` for alone, boolean (N, V), where others are certain.
        """
        logits = F.linear(hidden, self.weight, self.bias)
        variance = logits.sigmoid_().mul_(1 - logits)
        if asked is not None:
            variance.mul_(asked)
        return AffineCurvature(hidden, self.weight, variance.mul)

    def initialize_bias_(self, frequencies: Tensor) -> None:
        """Set the biases to the log-odds of the note frequencies (V,): training starts from the 1-gram."""
        with torch.no_grad():
            self.bias.copy_(torch.logit(frequencies.to(self.bias.dtype)))

    def initialize_offsets_(self) -> None:
        """Let the last V values of a state be added to the log-odds of the notes, to start with."""
        with torch.no_grad():
            self.weight[:, -self.visible_size :].zero_().fill_diagonal_(1)

    def extra_repr(self) -> str:
        """The sizes."""
        return f"{self.hidden_size}, {self.visible_size}"
