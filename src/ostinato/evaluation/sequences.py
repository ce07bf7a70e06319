"""What a model says of sequences: log-probabilities step by step.

Shapes: T steps, S sequences.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np

from ostinato.evaluation.scores import Score, pooled_score


@dataclass(frozen=True)
class SequenceScore:
    """One sequence under a model.

    Arguments:
        name: of the sequence.
        log_probs: of each step given those before it, in nats, (T,); NaN where a step does not count, such
            as one of which nothing was observed.
        detail: what else is known of this kind of data; None for nothing.

    Example:
        >>> one = SequenceScore("a", np.array([-1.0, -2.0, np.nan]))
        >>> one.log_prob, one.steps, one.log_likelihood
        (-3.0, 2, -1.5)
    """

    name: str
    log_probs: np.ndarray
    detail: Any = None

    @property
    def log_prob(self) -> float:
        """Of the whole sequence, in nats."""
        return float(np.nansum(self.log_probs))

    @property
    def steps(self) -> int:
        """Those that count."""
        return int((~np.isnan(self.log_probs)).sum())

    @property
    def log_likelihood(self) -> float:
        """Nats per step that counts; NaN where there is none."""
        return self.log_prob / self.steps if self.steps else float("nan")


@dataclass(frozen=True)
class SequenceScores(Sequence[SequenceScore]):
    """Several sequences under a model, in the order in which they were given.

    Arguments:
        each: of every sequence.
        score: of all together, pooled over steps, with its unit, its convention and its standard error.

    Example:
        >>> found = scores_of([SequenceScore("a", np.array([-1.0, -3.0]))], "nats/step", "pooled")
        >>> len(found), found[0].log_prob, found.score.value, found.log_probs
        (1, -4.0, -2.0, array([-4.]))
    """

    each: tuple[SequenceScore, ...]
    score: Score

    def __len__(self) -> int:
        return len(self.each)

    @overload
    def __getitem__(self, index: int) -> SequenceScore: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[SequenceScore]: ...
    def __getitem__(self, index: int | slice) -> SequenceScore | Sequence[SequenceScore]:
        return self.each[index]

    def __iter__(self) -> Iterator[SequenceScore]:
        return iter(self.each)

    @property
    def log_probs(self) -> np.ndarray:
        """Of each whole sequence, in nats, (S,)."""
        return np.array([one.log_prob for one in self.each])

    @property
    def steps(self) -> np.ndarray:
        """Of each sequence, those that count, (S,)."""
        return np.array([one.steps for one in self.each])


def scores_of(
    each: Sequence[SequenceScore], unit: str, convention: str, *, estimate: bool = False
) -> SequenceScores:
    """The sequences, with their pooled score.

    Args:
        each: the sequences.
        unit: of the log-likelihood.
        convention: of the log-likelihood.
        estimate: whether log-probabilities are estimates.
    """
    sums, counts = [one.log_prob for one in each], [one.steps for one in each]
    score = pooled_score(np.array(sums), np.array(counts), unit, convention, estimate=estimate)
    return SequenceScores(tuple(each), score)
