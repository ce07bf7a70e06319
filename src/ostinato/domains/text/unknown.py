"""What a word that a model does not know is worth: a share of what the model keeps for all of them.

A model gives the unknown token the probability of every word that it does not know together. One of T such
words has p(<unk>) / T: a hypothesis with an unknown word is not preferred because the token stands for many.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ostinato.errors import check_weight


@dataclass(frozen=True)
class UnknownWords:
    """How unknown words are scored.

    Arguments:
        shared: whether each has its share of the token's probability, or all of it.
        penalty: nats that are taken off for each unknown word instead; where a model has no unknown token,
            they are all that the word is worth. None for no penalty.

    Example:
        >>> p, unknown = np.log([0.5, 0.2]), np.array([False, True])
        >>> np.exp(UnknownWords(shared=True).applied(p, unknown, types=10)).round(3).tolist()
        [0.5, 0.02]
        >>> UnknownWords(penalty=7.0).applied(np.array([-math.inf]), np.array([True]), types=10).tolist()
        [-7.0]
    """

    shared: bool = False
    penalty: float | None = None

    def __post_init__(self) -> None:
        if self.penalty is not None:
            check_weight("unknown_penalty", self.penalty)

    def applied(self, log_probs: np.ndarray, unknown: np.ndarray, types: int) -> np.ndarray:
        """Log-probabilities in which the unknown tokens have what is theirs.

        Args:
            log_probs: of tokens (N,), the unknown ones with all of the token's probability, nats.
            unknown: which are unknown (N,).
            types: how many the token stands for.
        """
        if self.penalty is not None:
            whole = np.where(np.isfinite(log_probs), log_probs, 0.0)
            return np.where(unknown, whole - self.penalty, log_probs)
        if not self.shared or types <= 1:
            return log_probs
        return np.where(unknown, log_probs - math.log(types), log_probs)


WHOLE = UnknownWords()
SHARED = UnknownWords(shared=True)


@dataclass(frozen=True)
class Union:
    """The words of several models together, and how much of what each keeps for unknown words is for which.

    All models speak of the same N types: those that any of them knows, and at least as many more as every
    model says that its unknown token stands for. Model m, which knows K_m of them, gives each of the others
    p_m(<unk>) / (N - K_m). What no model knows is one token of the union, of N - K types, so that the
    probabilities of every model, and of every mixture, sum to 1 over the union's words and this token.

    Arguments:
        known: K_m, how many words each model knows.
        types: how many its unknown token stands for; 0 where it has none.
        words: K, how many any of them knows.
    """

    known: Sequence[int]
    types: Sequence[int]
    words: int

    @property
    def all_types(self) -> int:
        """N."""
        stated = [known + types for known, types in zip(self.known, self.types, strict=True)]
        return max([self.words + 1, *stated])

    @property
    def unknown_types(self) -> int:
        """How many types no model knows, N - K."""
        return self.all_types - self.words

    def shifts(self, model: int) -> tuple[float, float]:
        """What is added to log p_m(<unk>): for a word that another model knows, and for one that none knows.

        Example:
            >>> union = Union(known=[3, 4], types=[5, 1], words=4)
            >>> union.all_types, [round(math.exp(x), 4) for x in union.shifts(0)]
            (8, [0.2, 0.8])
        """
        others = self.all_types - self.known[model]
        return -math.log(others), math.log(self.unknown_types / others)
