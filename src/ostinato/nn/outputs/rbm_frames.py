"""RBMFrames: the distribution of frames whose notes are tied by hidden units.

Shapes: N frames (any leading shape), V visible (88 notes), J hidden units. The layer whose states give the
biases is `ostinato.nn.outputs.rbm.RBM`.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Distribution, constraints

from ostinato.nn.kernels.by_stream import product
from ostinato.nn.outputs import enumeration
from ostinato.nn.outputs.ais import Annealing, anneal, draw_bernoulli, mean_field_logits
from ostinato.nn.outputs.pitches import pitch_log_probs

# Block Gibbs steps from the mean-field start to a sample, as in the RNN-RBM's own program.
GIBBS_STEPS = 25

# How many frames `RBMFrames.mean` averages over, and the seed of it and of `RBMFrames.log_prob`.
MEAN_SAMPLES, SEED = 100, 0

# Numbers in the largest intermediate array of the pseudo-log-likelihood.
_PIECE = 1 << 22


@dataclass(frozen=True)
class LikelihoodEstimate:
    """log p of frames by annealed importance sampling, each of the batch's shape.

    Arguments:
        log_prob: from forward annealing; at least the truth in expectation.
        reverse: from backward annealing, started from Gibbs samples, so itself only an estimate; with exact
            starts it would be at most the truth in expectation.
        variance: of `log_prob`, from the spread of the chains.
        reverse_variance: of `reverse`.
        effective_chains: effective sample size of the forward weights, 1 to the number of chains.
    """

    log_prob: Tensor
    reverse: Tensor
    variance: Tensor
    reverse_variance: Tensor
    effective_chains: Tensor


class RBMFrames(Distribution):
    """Frames of V binary notes under restricted Boltzmann machines that share W.

        log p(v) = -F(v) - log Z,  F(v) = -b . v - sum_j softplus(c_j + v . W_j)

    `exact` says whether `log_prob` is: where the smaller layer has at most 20 units, log Z is a sum over
    its configurations; else `log_prob` is an estimate by annealed importance sampling, too HIGH in
    expectation. `likelihood` has its error and the estimate from the other side.

    Args:
        biases: b and c side by side, shape (..., V + J).
        weight: W, shape (V, J).
        annealing: how much work an estimate takes.

    Example:
        >>> import math
        >>> frames = RBMFrames(torch.zeros(2, 88 + 5), torch.zeros(88, 5))
        >>> frames.exact, round(frames.log_prob(torch.ones(2, 88))[0].item() / math.log(2), 3)
        (True, -88.0)
    """

    arg_constraints = {"biases": constraints.real_vector}  # noqa: RUF012
    support = constraints.independent(constraints.boolean, 1)

    def __init__(self, biases: Tensor, weight: Tensor, annealing: Annealing = Annealing()) -> None:  # noqa: B008
        self.biases, self.weight, self.annealing = biases, weight, annealing
        super().__init__(biases.shape[:-1], weight.shape[:1], validate_args=False)

    @property
    def exact(self) -> bool:
        """Whether `log_prob` is exact."""
        return enumeration.is_small(*self.weight.shape)

    @property
    def mean(self) -> Tensor:
        """P(v_i = 1), shape (..., V), by 100 Gibbs samples a frame, the same in every call."""
        generator = torch.Generator().manual_seed(SEED)
        return self.marginals(MEAN_SAMPLES, generator=generator)

    def marginals(self, samples: int, *, generator: torch.Generator | None = None) -> Tensor:
        """An estimate of P(v_i = 1), (..., V): the mean of p(v_i = 1 | h) over the steps of a Gibbs chain."""
        b, c = self.split_biases()
        with torch.no_grad():
            values = self._chain(b, c, generator)
            total = torch.zeros_like(b)
            for _ in range(samples):
                hidden = draw_bernoulli(torch.addmm(c, values, self.weight), generator)
                logits = torch.addmm(b, hidden, self.weight.T)
                values = draw_bernoulli(logits, generator)
                total += torch.sigmoid(logits)
        return (total / samples).reshape(self.batch_shape + self.event_shape)

    def free_energy(self, value: Tensor) -> Tensor:
        """F(v), shape (...): -log of what p(v) is proportional to."""
        b, c = self.biases.split(list(self.weight.shape), -1)
        value = value.to(b.dtype)
        return -(value * b).sum(-1) - F.softplus(c + product(value, self.weight)).sum(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-probability of whole frames (..., V) in nats: exact or estimated, as `exact` says."""
        log_z = self.log_partition() if self.exact else self._estimated_log_partition().forward
        return -self.free_energy(value) - log_z.reshape(self.batch_shape).to(self.biases.dtype)

    def log_partition(self) -> Tensor:
        """log Z, shape (...), by enumeration."""
        return enumeration.log_partition(*self.split_biases(), self.weight).reshape(self.batch_shape)

    def likelihood(self, value: Tensor, *, generator: torch.Generator | None = None) -> LikelihoodEstimate:
        """Log-probability by annealing in both directions, with its error; also where it could be exact.

        Args:
            value: frames (..., V) of the batch's shape.
            generator: source of randomness; by default the same draws in every call.
        """
        estimate = self._estimated_log_partition(generator)
        energy = self.free_energy(value).detach().double()

        def shaped(x: Tensor) -> Tensor:
            return x.reshape(self.batch_shape)

        return LikelihoodEstimate(
            -energy - shaped(estimate.forward),
            -energy - shaped(estimate.backward),
            shaped(estimate.variance),
            shaped(estimate.backward_variance),
            shaped(estimate.effective_chains),
        )

    def pseudo_log_prob(self, value: Tensor, notes: Tensor | None = None) -> Tensor:
        """sum_i log p(v_i | all other notes), shape (...): the cheap score that early stopping watches.

        Exact, without log Z (Besag 1975). It ranks models, and is not their likelihood.

        Args:
            value: frames (..., V) of the batch's shape.
            notes: the notes i to sum over, int64; all by default.
        """
        values = value.reshape(-1, *self.event_shape).to(self.biases.dtype)
        b, c = self.split_biases()
        rows = max(1, _PIECE // self.weight.numel())
        parts = [
            _pseudo_log_prob(v, own_b, own_c, self.weight, notes)
            for v, own_b, own_c in zip(values.split(rows), b.split(rows), c.split(rows), strict=True)
        ]
        return torch.cat([values.new_zeros(0), *parts]).reshape(self.batch_shape)

    def note_log_probs(self, value: Tensor) -> Tensor:
        """log p(v_i | all other notes) of each note's value, (..., V); they sum to `pseudo_log_prob`.

        Exact; not to be confused with the other outputs' log p(v_i | the notes before), which sum to
        `log_prob`.
        """
        notes = torch.arange(self.event_shape[0], device=self.biases.device)
        return torch.stack([self.pseudo_log_prob(value, note) for note in notes.split(1)], -1)

    def pitch_log_probs(self, value: Tensor) -> Tensor:
        """Of each sounding note, log p(its pitch | the others, one note more), (..., V): see `pitches`.

        Exact, whatever `exact` says: log Z cancels.
        """
        biases = self.biases.flatten(0, -2)

        def score(frames: Tensor, rows: Tensor) -> Tensor:
            return -RBMFrames(biases[rows], self.weight).free_energy(frames)

        return pitch_log_probs(score, value.flatten(0, -2)).reshape(value.shape)

    def flattened(self) -> "RBMFrames":
        """The same frames in one batch dimension (N, V)."""
        return RBMFrames(self.biases.flatten(0, -2), self.weight, self.annealing)

    def tempered(self, temperature: float) -> "RBMFrames":
        """The energy of notes and hidden units together divided by a temperature."""
        return RBMFrames(self.biases / temperature, self.weight / temperature, self.annealing)

    def sample(
        self,
        sample_shape: Any = (),
        *,
        generator: torch.Generator | None = None,
        steps: int = GIBBS_STEPS,
    ) -> Tensor:
        """Frames as uint8, shape sample_shape + (..., V), after `steps` block Gibbs steps: not exact."""
        leading = torch.Size(sample_shape) + self.batch_shape
        with torch.no_grad():
            b, c = self.split_biases(leading)
            values = self._chain(b, c, generator, steps)
        return values.to(torch.uint8).reshape(leading + self.event_shape)

    def sample_given(
        self,
        fixed_mask: Tensor,
        fixed_values: Tensor,
        *,
        generator: torch.Generator | None = None,
        steps: int = GIBBS_STEPS,
    ) -> tuple[Tensor, None]:
        """Frames whose fixed notes have given values, by Gibbs steps with these clamped.

        Approximate samples of p(free | fixed). They have no weight, since p(fixed) is not known: the second
        value is None, where Bernoulli's and NADE's `sample_given` return one.

        Args:
            fixed_mask: boolean (..., V), the notes that are fixed.
            fixed_values: (..., V), their values; the others are not looked at.
            generator: source of randomness.
            steps: block Gibbs steps.
        """
        leading = torch.broadcast_shapes(fixed_mask.shape[:-1], fixed_values.shape[:-1], self.batch_shape)
        shape = leading + self.event_shape
        fixed = fixed_mask.bool().expand(shape).reshape(-1, *self.event_shape)
        given = fixed_values.to(self.biases.dtype).expand(shape).reshape(-1, *self.event_shape)
        with torch.no_grad():
            b, c = self.split_biases(leading)
            values = self._chain(b, c, generator, steps, fixed, given)
        return values.to(torch.uint8).reshape(shape), None

    def split_biases(self, leading: torch.Size | None = None) -> tuple[Tensor, Tensor]:
        """b (N, V) and c (N, J) of all frames in one dimension, expanded to `leading` dimensions first."""
        biases = self.biases if leading is None else self.biases.expand(*leading, self.biases.shape[-1])
        b, c = biases.reshape(-1, biases.shape[-1]).split(list(self.weight.shape), 1)
        return b, c

    def _chain(
        self,
        b: Tensor,
        c: Tensor,
        generator: torch.Generator | None,
        steps: int = GIBBS_STEPS,
        fixed: Tensor | None = None,
        given: Tensor | None = None,
    ) -> Tensor:
        """The last values (N, V) of Gibbs chains that start from a draw of independent notes."""
        values = draw_bernoulli(mean_field_logits(b, c, self.weight), generator)
        for step in range(steps + 1):
            if fixed is not None and given is not None:
                values = torch.where(fixed, given, values)
            if step < steps:
                values = gibbs_step(values, b, c, self.weight, generator)
        return values

    def _estimated_log_partition(self, generator: torch.Generator | None = None) -> Any:
        generator = generator or torch.Generator().manual_seed(SEED)
        b, c = self.split_biases()
        return anneal(b, c, self.weight, self.annealing, generator=generator)


def gibbs_step(
    values: Tensor, b: Tensor, c: Tensor, weight: Tensor, generator: torch.Generator | None
) -> Tensor:
    """Hidden units given the notes (N, V), then notes given the hidden units."""
    hidden = draw_bernoulli(torch.addmm(c, values, weight), generator)
    return draw_bernoulli(torch.addmm(b, hidden, weight.T), generator)


def _pseudo_log_prob(values: Tensor, b: Tensor, c: Tensor, weight: Tensor, notes: Tensor | None) -> Tensor:
    """sum_i log p(v_i | others) = sum_i log sigmoid(F(v with i flipped) - F(v)), (N,)."""
    activation = torch.addmm(c, values, weight)
    if notes is not None:
        values, b, weight = values[:, notes], b[:, notes], weight[notes]
    step = 1 - 2 * values  # what flipping adds to a note
    flipped = activation.unsqueeze(1) + step.unsqueeze(2) * weight  # (N, V, J)
    gain = step * b + F.softplus(flipped).sum(2) - F.softplus(activation).sum(1, keepdim=True)
    return F.logsigmoid(-gain).sum(1)
