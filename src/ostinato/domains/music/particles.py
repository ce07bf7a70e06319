"""Sequences given some of their notes, by sequential Monte Carlo over the states of a model.

Shapes: T time, K particles, V visible.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ostinato.data.side import Reader, Side
from ostinato.domains.music.compose import Predictor, check_temperature, tempered
from ostinato.domains.music.layout import is_binary
from ostinato.errors import UserError, argument
from ostinato.nn.cells.state import select
from ostinato.nn.devices import device_of


@dataclass(frozen=True)
class Particles:
    """K weighted sequences that stand for p(sequence | fixed notes).

    Arguments:
        frames: the sequences, (K, T, V) uint8; all hold the fixed notes.
        weights: (K,), they sum to 1.
        log_evidence: estimate of log p(fixed notes) in nats, the exponential of which is unbiased; None where
            the output gives no exact weights.
        effective_sizes: 1 / sum of squared weights after each frame, before any resampling, (T,).
        ancestors: how many different particles of each frame still have descendants among the K, (T,).
    """

    frames: np.ndarray
    weights: np.ndarray
    log_evidence: float | None
    effective_sizes: np.ndarray
    ancestors: np.ndarray

    def draw(self, generator: torch.Generator) -> np.ndarray:
        """One sequence (T, V), drawn by weight."""
        index = torch.multinomial(torch.from_numpy(self.weights), 1, generator=generator)
        return self.frames[int(index)]

    def marginals(self) -> np.ndarray:
        """Estimated P(note on | fixed notes), (T, V)."""
        return np.einsum("k,ktv->tv", self.weights, self.frames, dtype=np.float64)


def sample_conditioned(
    model: Predictor,
    fixed: np.ndarray,
    values: np.ndarray,
    *,
    side: Side | None = None,
    particles: int = 500,
    temperature: float = 1.0,
    threshold: float = 0.5,
    generator: torch.Generator,
) -> Particles:
    """Draw sequences that hold the fixed notes: v ~ p(v | v_ti = values_ti for every fixed t, i).

    Each particle is a sequence with its own state of the model. In frame t its free notes are drawn, and its
    weight is multiplied by the probability of the fixed ones:

        w_t = w_{t-1} * prod_{fixed i} p(v_ti | notes before i in frame t, v_1 ... v_{t-1})

    When the effective sample size 1 / sum w^2 falls below `threshold * K`, particles are drawn anew by weight
    (systematic resampling). The product of the mean weights is an unbiased estimate of the probability of
    the fixed notes, for any K (Doucet & Johansen 2009, "A tutorial on particle filtering and smoothing").

    Free notes are drawn without looking ahead: what comes later, in the sequence or in the order of the notes
    of a frame, acts through the weights alone. So more fixed notes after a gap ask for more particles: look
    at `effective_sizes` and `ancestors`. Outputs that cannot weigh (RBM: clamped Gibbs sampling) give
    equal weights and no evidence; the fixed notes then act on their own frame and on later ones only.

    Args:
        model: what predicts the next frame.
        fixed: boolean (T, V), the notes that are given.
        values: (T, V), their values; ignored elsewhere.
        side: what is known of each frame, for a model that reads it.
        particles: K.
        temperature: of the model, see `generate`; the weights are those of the tempered model.
        threshold: share of K below which the effective sample size leads to resampling; 0: never.
        generator: source of randomness.

    Example:
        >>> from ostinato.nn import RNN, SequenceModel
        >>> from ostinato.nn.outputs import Bernoulli
        >>> model = SequenceModel(RNN(3, 10), Bernoulli(10, 3))
        >>> fixed = np.array([[True, False, False]] * 4)
        >>> found = sample_conditioned(model, fixed, np.ones((4, 3)), particles=9,
        ...     generator=torch.Generator().manual_seed(0))
        >>> found.frames.shape, bool(found.frames[:, :, 0].all()), found.log_evidence < 0
        ((9, 4, 3), True, True)
    """
    _check(fixed, values, particles, threshold)
    check_temperature(temperature)
    device = device_of(model)
    mask = torch.from_numpy(np.asarray(fixed, bool)).to(device)
    given = torch.from_numpy(np.asarray(values) != 0).to(device)
    if side is not None and len(side) != len(mask):
        raise ValueError(f"expected a side of {len(mask)} frames, got {len(side)}")
    reader = Reader(side, particles, mask.shape[1], device)
    # what is weighed and traced, (K,) a frame, is on the CPU, where the generator is
    log_weights = torch.zeros(particles, dtype=torch.float64)
    log_evidence, weighted, states = 0.0, True, None
    drawn, parents, sizes = [], [], []
    with torch.no_grad():
        for t in range(len(mask)):
            following, states = model(reader.inputs(), states)
            distribution = tempered(following, temperature)
            frames, log_prob = distribution.sample_given(mask[t], given[t], generator=generator)
            weighted = weighted and log_prob is not None
            if log_prob is not None:
                log_weights = log_weights + log_prob[0].double().cpu()
            drawn.append(frames[0].to(torch.uint8).cpu())
            reader.add(frames[0])
            sizes.append(effective_size(log_weights))
            chosen = None
            if sizes[-1] < threshold * particles and t + 1 < len(mask):
                chosen = systematic(log_weights, generator)
                log_evidence += float(log_weights.logsumexp(0)) - math.log(particles)
                log_weights = torch.zeros_like(log_weights)
                there = chosen.to(device)
                reader.select(there)
                states = None if states is None else select(states, there)
            parents.append(chosen)
    log_evidence += float(log_weights.logsumexp(0)) - math.log(particles)
    paths, ancestors = _traced(drawn, parents)
    return Particles(
        paths,
        log_weights.softmax(0).numpy(),
        log_evidence if weighted else None,
        np.array(sizes),
        ancestors,
    )


def effective_size(log_weights: Tensor) -> float:
    """1 / sum of the squares of the normalised weights: K where all are equal, 1 where one has everything.

    Example:
        >>> round(effective_size(torch.zeros(4)), 6)
        4.0
    """
    return float(torch.exp(2 * log_weights.logsumexp(0) - (2 * log_weights).logsumexp(0)))


def systematic(log_weights: Tensor, generator: torch.Generator) -> Tensor:
    """K indices, index k on average K w_k times: one uniform number, then equal steps (Kitagawa 1996).

    Example:
        >>> weights = torch.tensor([0.5, 0.0, 0.25, 0.25])
        >>> systematic(weights.log(), torch.Generator().manual_seed(0))
        tensor([0, 0, 2, 3])
    """
    count = len(log_weights)
    offset = torch.rand((), generator=generator, dtype=torch.float64)
    places = (torch.arange(count, dtype=torch.float64) + offset) / count
    steps = log_weights.double().softmax(0).cumsum(0)
    # the last step is 1 but for rounding, which must not lead past the end
    return torch.searchsorted(steps, places, right=True).clamp_max(count - 1)


def _traced(drawn: list[Tensor], parents: list[Tensor | None]) -> tuple[np.ndarray, np.ndarray]:
    """The whole sequence of each last particle (K, T, V), and how many ancestors each frame has (T,)."""
    index = torch.arange(len(drawn[0]))
    frames, ancestors = [], []
    for values, chosen in zip(reversed(drawn), reversed(parents), strict=True):
        if chosen is not None:
            index = chosen[index]
        frames.append(values[index])
        ancestors.append(len(index.unique()))
    return torch.stack(frames[::-1], dim=1).numpy(), np.array(ancestors[::-1])


def _check(fixed: np.ndarray, values: np.ndarray, particles: int, threshold: float) -> None:
    if fixed.ndim != 2 or fixed.shape != values.shape or not len(fixed):
        raise ValueError(f"expected fixed and values of one shape (T, V), got {fixed.shape}, {values.shape}")
    if not is_binary(np.asarray(values)[np.asarray(fixed, bool)]):
        raise ValueError("expected values of 0 and 1 where notes are fixed, found others")
    if particles < 1:
        raise UserError(f"expected {argument('particles')} of at least 1, found {particles}")
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold must lie in [0, 1], got {threshold}")
