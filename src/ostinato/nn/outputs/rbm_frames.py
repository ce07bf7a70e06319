"""RBMFrames: the distribution of frames whose notes are tied by hidden units.

Shapes: N frames (any leading shape), V visible (88 notes), J hidden units. The layer whose states give the
biases is `ostinato.nn.outputs.rbm.RBM`.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import constraints

from ostinato.nn.devices import uniform
from ostinato.nn.kernels.by_stream import product
from ostinato.nn.kernels.operator import eager, full_precision
from ostinato.nn.outputs import enumeration
from ostinato.nn.outputs.agreement import Annealing, Estimate, Estimator, Frames
from ostinato.nn.outputs.distribution import BinaryFrames
from ostinato.nn.outputs.first_order import first_order
from ostinato.nn.outputs.gibbs import BernoulliDraws
from ostinato.nn.outputs.mixing import Bracket, ChainRecord, Machines, bracketed, settled_draws
from ostinato.nn.outputs.pitches import pitch_log_probs
from ostinato.nn.outputs.visible_units import BINARY, VisibleUnits

# Block Gibbs steps at most, from the annealed start to a sample: fewer where chains mix before.
GIBBS_STEPS = 4096

# How many frames `RBMFrames.mean` averages over, and the seed of it and of `RBMFrames.log_prob`.
MEAN_SAMPLES, SEED = 100, 0

# Numbers in the largest intermediate array of the pseudo-log-likelihood.
_PIECE = 1 << 22


class RBMFrames(BinaryFrames):
    """Frames of V binary notes under restricted Boltzmann machines that share W.

        log p(v) = -F(v) - log Z,  F(v) = -b . v - sum_j softplus(c_j + v . W_j)

    `exact` says whether `log_prob` is: where the smaller layer has at most 20 units, log Z is a sum over
    its configurations; else `log_prob` is an estimate by annealed importance sampling, halfway between one
    that is too high in expectation and one that is too low. `likelihood` has both, and whether they agree.
    Frames are drawn by Gibbs chains that go on until they have mixed; `chains` is told how that went.

    Args:
        biases: b and c side by side, shape (..., V + J).
        weight: W, shape (V, J).
        annealing: how much work an estimate takes.
        chains: the limit of the chains that draw frames, and what became of them.

    Example:
        >>> import math
        >>> frames = RBMFrames(torch.zeros(2, 88 + 5), torch.zeros(88, 5))
        >>> frames.exact, round(frames.log_prob(torch.ones(2, 88))[0].item() / math.log(2), 3)
        (True, -88.0)
    """

    # what the notes are, given the hidden units
    units: VisibleUnits = BINARY

    arg_constraints = {  # noqa: RUF012
        "biases": constraints.real_vector,
        "weight": constraints.independent(constraints.real, 2),
    }
    _parameters = {"biases": 1}  # noqa: RUF012

    def __init__(
        self,
        biases: Tensor,
        weight: Tensor,
        annealing: Annealing = Annealing(),  # noqa: B008 (frozen)
        chains: ChainRecord | None = None,
        *,
        validate_args: bool | None = None,
    ) -> None:
        if weight.dim() != 2 or biases.shape[-1] != sum(weight.shape):
            raise ValueError(
                "expected a weight (V, J) and biases (..., V + J), "
                f"found {tuple(weight.shape)} and {tuple(biases.shape)}"
            )
        self.biases, self.weight, self.annealing = biases, weight, annealing
        self.chains = ChainRecord(GIBBS_STEPS) if chains is None else chains
        super().__init__(biases.shape[:-1], weight.shape[:1], validate_args)

    @property
    def exact(self) -> bool:  # type: ignore[override]
        """Whether `log_prob` is exact."""
        visible, hidden = self.weight.shape
        return enumeration.is_quick(visible, hidden, self.units)

    @property
    def mean(self) -> Tensor:
        """P(v_i = 1), shape (..., V), by 100 Gibbs samples a frame, the same in every call."""
        generator = torch.Generator().manual_seed(SEED)
        return self.marginals(MEAN_SAMPLES, generator=generator)

    @property
    def mode(self) -> Tensor:
        """Not available: to find the most probable of all 2^V frames takes a search.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            "the most probable frame of an RBM is not known; draw frames, or use `mean`"
        )

    def marginals(self, samples: int, *, generator: torch.Generator | None = None) -> Tensor:
        """An estimate of P(v_i = 1), (..., V): the mean of p(v_i = 1 | h) over the steps of a Gibbs chain."""
        b, c = self.split_biases()
        with torch.no_grad():
            draws = BernoulliDraws(generator)
            values = settled_draws(Machines(b, c, self.weight, draws, units=self.units), self.chains)
            total = torch.zeros_like(b)
            for _ in range(samples):
                hidden = draws(torch.sigmoid(torch.addmm(c, values, self.weight)))
                logits = torch.addmm(b, hidden, self.weight.T)
                values = self.units.drawn(logits, draws)
                total += self.units.mean(logits)
        return (total / samples).reshape(self.batch_shape + self.event_shape)

    def free_energy(self, value: Tensor) -> Tensor:
        """F(v), shape (...): -log of what p(v) is proportional to."""
        b, c = self.biases.split(list(self.weight.shape), -1)
        value = value.to(b.dtype)
        return -(value * b).sum(-1) - F.softplus(c + product(value, self.weight)).sum(-1)

    def _log_prob(self, value: Tensor) -> Tensor:
        if self.exact:
            with full_precision(self.biases.device):
                return -self.free_energy(value) - self.log_partition().to(self.biases.dtype)
        if not eager(self.biases, self.weight, value):
            raise NotImplementedError(
                "the log-likelihood of an RBM of this size is estimated by annealing: not in a transform of "
                "torch.func, forward-mode differentiation, a compiler, or on fake tensors"
            )
        leading = self._leading(value)
        own = self.expand(leading)
        middle = own.likelihood(value.expand(leading + self.event_shape)).every("middle")
        found = middle.reshape(leading).to(self.biases.device, self.biases.dtype)
        return _Estimate.apply(found, self.biases, self.weight)

    def log_partition(self) -> Tensor:
        """log Z, shape (...), by enumeration of up to 24 units of the smaller layer."""
        found = enumeration.log_partition(*self.split_biases(), self.weight, self.units)
        return found.reshape(self.batch_shape)

    def likelihood(self, value: Tensor, *, generator: torch.Generator | None = None) -> Estimate:
        """Log-probability of frames by annealing in both directions, with its error; also where it could be
        exact.

        Args:
            value: frames (..., V) of the batch's shape, in the estimate in one dimension.
            generator: source of randomness; by default the same draws in every call.
        """
        generator = generator or torch.Generator().manual_seed(SEED)
        with torch.no_grad():
            estimator = self.estimator(self.batch_shape.numel(), generator)
            self.gathered(estimator, value)
            return estimator.finish()

    def estimator(self, total: int, generator: torch.Generator | None) -> Estimator:
        """What gathers the frames of a data set, `total` of them, to say how likely they are."""
        return Estimator(total, self.annealing, generator)

    def gathered(
        self, estimator: Estimator, value: Tensor, rows: Tensor | None = None, *, rough: bool = True
    ) -> None:
        """Give these frames to an estimator.

        Args:
            estimator: which.
            value: frames (..., V) of the batch's shape.
            rows: int64, those that count, of all in one dimension; all by default.
            rough: whether it is to estimate their log-probability; else it keeps some, to draw from.
        """
        b, c = (x.detach() for x in self.split_biases())
        own = Frames(b, c, self.weight.detach(), value.reshape(-1, *self.event_shape), self.units)
        estimator.add(own if rows is None else own[rows], rough=rough)

    def bracketed(
        self,
        gathered: Estimator,
        statistic: Callable[[Tensor, Tensor], Tensor],
        draws: int,
        tolerance: float,
        generator: torch.Generator | None,
    ) -> Bracket:
        """Frames drawn from both sides of the observed ones, of those that an estimator keeps.

        Args:
            gathered: has the frames.
            statistic: of drawn and observed frames, (N, V) uint8 each: (N,), larger the more they are alike.
            draws: of each frame and side.
            tolerance: difference of the statistic's means that does not matter.
            generator: source of randomness.
        """
        frames = gathered.kept
        with torch.no_grad():
            draws_of = BernoulliDraws(generator)
            machines = Machines(frames.b, frames.c, frames.weight, draws_of, units=frames.units)
            observed = frames.observed.to(torch.uint8)
            return bracketed(
                machines,
                observed,
                lambda drawn: statistic(drawn, observed),
                draws=draws,
                limit=self.chains.limit,
                tolerance=tolerance,
            )

    @property
    def variables(self) -> int:
        """How many there are whose probabilities given all others `pseudo_log_prob` is the sum of: V."""
        return self.event_shape[0]

    def pseudo_log_prob(self, value: Tensor, notes: Tensor | None = None) -> Tensor:
        """sum_i log p(v_i | all other notes), shape (...): the cheap score that early stopping watches.

        Exact, without log Z (Besag 1975). It ranks models, and is not their likelihood.

        Args:
            value: frames (..., V) of the batch's shape.
            notes: the notes i to sum over, int64; all by default.
        """
        leading = self._leading(value)
        values = value.expand(leading + self.event_shape).reshape(-1, *self.event_shape).to(self.biases.dtype)
        b, c = self.split_biases(leading)
        rows = max(1, _PIECE // self.weight.numel())
        parts = [
            self._pseudo(v, own_b, own_c, notes)
            for v, own_b, own_c in zip(values.split(rows), b.split(rows), c.split(rows), strict=True)
        ]
        return torch.cat([values.new_zeros(0), *parts]).reshape(leading)

    def _pseudo(self, values: Tensor, b: Tensor, c: Tensor, notes: Tensor | None) -> Tensor:
        return _pseudo_log_prob(values, b, c, self.weight, notes)

    def note_log_probs(self, value: Tensor) -> Tensor:
        """log p(v_i | all other notes) of each note's value, (..., V); they sum to `pseudo_log_prob`.

        Exact; not to be confused with the other outputs' log p(v_i | the notes before), which sum to
        `log_prob`.
        """
        notes = torch.arange(self.variables, device=self.biases.device)
        return torch.stack([self.pseudo_log_prob(value, note) for note in notes.split(1)], -1)

    def pitch_log_probs(self, value: Tensor) -> Tensor:
        """Of each sounding note, log p(its pitch | the others, one note more), (..., V): see `pitches`.

        Exact, whatever `exact` says: log Z cancels.
        """
        shape = self._leading(value) + self.event_shape
        biases = self.biases.expand(*shape[:-1], -1).reshape(-1, self.biases.shape[-1])

        def score(frames: Tensor, rows: Tensor) -> Tensor:
            return -self._with(biases[rows]).free_energy(frames)

        return pitch_log_probs(score, value.expand(shape).reshape(-1, shape[-1])).reshape(shape)

    def first_order(self) -> "RBMFrames":
        """The same, for a loss made of frames that are drawn from it: see `outputs.first_order`."""
        return RBMFrames.of_layer(*first_order(self.biases, self.weight), self.annealing, self.chains)

    def flattened(self) -> "RBMFrames":
        """The same frames in one batch dimension (N, V)."""
        return self._with(self.biases.reshape(-1, self.biases.shape[-1]))

    def tempered(self, temperature: float) -> "RBMFrames":
        """The energy of notes and hidden units together divided by a temperature."""
        weight = self.weight / temperature
        return RBMFrames.of_layer(self.biases / temperature, weight, self.annealing, self.chains)

    def sample(self, sample_shape: Any = (), *, generator: torch.Generator | None = None) -> Tensor:
        """Frames as uint8, shape sample_shape + (..., V), by Gibbs chains that go on until they have "
        "mixed."""
        leading = torch.Size(sample_shape) + self.batch_shape
        return self._drawn(leading, generator)

    def sample_given(
        self, fixed_mask: Tensor, fixed_values: Tensor, *, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Frames whose fixed notes have given values, by Gibbs chains with these clamped, until they have
        mixed.

        They have no weight, since p(fixed) is not known: the second value is None, where Bernoulli's and
        NADE's `sample_given` return one.

        Args:
            fixed_mask: boolean (..., V), the notes that are fixed.
            fixed_values: (..., V), their values; the others are not looked at.
            generator: source of randomness.
        """
        leading = self._leading(fixed_mask, fixed_values)
        shape = leading + self.event_shape
        fixed = fixed_mask.bool().expand(shape).reshape(-1, *self.event_shape)
        given = fixed_values.to(self.biases.dtype).expand(shape).reshape(-1, *self.event_shape)
        return self._drawn(leading, generator, fixed, given), None

    def split_biases(self, leading: torch.Size | None = None) -> tuple[Tensor, Tensor]:
        """b (N, V) and c (N, J) of all frames in one dimension, expanded to `leading` dimensions first."""
        biases = self.biases if leading is None else self.biases.expand(*leading, self.biases.shape[-1])
        b, c = biases.reshape(-1, biases.shape[-1]).split(list(self.weight.shape), 1)
        return b, c

    def _with(self, biases: Tensor) -> "RBMFrames":
        return RBMFrames.of_layer(biases, self.weight, self.annealing, self.chains)

    def _drawn(
        self,
        leading: torch.Size,
        generator: torch.Generator | None,
        fixed: Tensor | None = None,
        given: Tensor | None = None,
    ) -> Tensor:
        """Frames of leading dimensions, as uint8."""
        with torch.no_grad():
            b, c = self.split_biases(leading)
            if not len(b):
                return b.new_zeros(leading + self.event_shape, dtype=torch.uint8)
            machines = Machines(b, c, self.weight, BernoulliDraws(generator), fixed, given, self.units)
            values = settled_draws(machines, self.chains)
        return values.to(torch.uint8).reshape(leading + self.event_shape)


class _Estimate(torch.autograd.Function):
    """A number that depends on biases and weight in a way that is not known well enough to follow."""

    @staticmethod
    def forward(ctx: Any, found: Tensor, biases: Tensor, weight: Tensor) -> Tensor:
        return found.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        raise NotImplementedError(
            "the log-likelihood of an RBM of this size is an estimate that has no gradient; "
            "train on `RBM.training_loss`"
        )


def gibbs_step(
    values: Tensor,
    b: Tensor,
    c: Tensor,
    weight: Tensor,
    generator: torch.Generator | None,
    units: VisibleUnits = BINARY,
) -> Tensor:
    """Hidden units given the notes (N, V), then notes given the hidden units."""

    def draw(p: Tensor) -> Tensor:
        return (uniform(p.shape, p, generator) < p).to(p.dtype)

    hidden = draw(torch.sigmoid(torch.addmm(c, values, weight)))
    return units.drawn(torch.addmm(b, hidden, weight.T), draw)


def _pseudo_log_prob(values: Tensor, b: Tensor, c: Tensor, weight: Tensor, notes: Tensor | None) -> Tensor:
    """sum_i log p(v_i | others) = sum_i log sigmoid(F(v with i flipped) - F(v)), (N,)."""
    activation = torch.addmm(c, values, weight)
    if notes is not None:
        values, b, weight = values[:, notes], b[:, notes], weight[notes]
    step = 1 - 2 * values  # what flipping adds to a note
    flipped = activation.unsqueeze(1) + step.unsqueeze(2) * weight  # (N, V, J)
    gain = step * b + F.softplus(flipped).sum(2) - F.softplus(activation).sum(1, keepdim=True)
    return F.logsigmoid(-gain).sum(1)
