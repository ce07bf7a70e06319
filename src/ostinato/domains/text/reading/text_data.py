"""A text as token ids in three splits. Shapes: N tokens."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ostinato.data.sequences import SPLITS, Skipped
from ostinato.domains.text.reading.extents import Extents
from ostinato.domains.text.reading.vocabulary import Vocabulary


@dataclass(frozen=True)
class TextData:
    """A text data set: token ids in three splits, and the vocabulary, which knows the training text only.

    Arguments:
        name: as a user would ask for it.
        vocabulary: the tokens.
        train, valid, test: ids (N,), uint16 or int32, in memory or mapped from files.
        version: SHA-256 of the vocabulary and the ids: equal versions, equal data.
        details: how the data were made; can be written as JSON.
        extents: by split, the words and characters of each sentence; nothing where they were not counted, of
            training text those of its beginning.
        independent: whether each sentence is a sequence of its own, which begins from the start state.
    """

    name: str
    vocabulary: Vocabulary
    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray
    version: str
    details: dict[str, Any] = field(default_factory=dict)
    skipped: tuple[Skipped, ...] = ()
    kind: str = "tokens"
    extents: Mapping[str, Extents] = field(default_factory=dict)
    independent: bool = False

    def __getitem__(self, split: str) -> np.ndarray:
        if split not in SPLITS:
            raise KeyError(f"expected one of {', '.join(SPLITS)}, found {split!r}")
        tokens: np.ndarray = getattr(self, split)
        return tokens

    def frames(self, split: str) -> int:
        """Tokens of one split."""
        return len(self[split])
