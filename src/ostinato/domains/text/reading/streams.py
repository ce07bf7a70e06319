"""One long text cut in parallel streams and segments: what training a language model walks over.

Shapes: N tokens, T time, B streams, L steps of a stream.
"""

import mmap
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ostinato.domains.text.reading.vocabulary import END_ID

_RELEASE = 1000  # segments


@dataclass(frozen=True)
class TokenSegment:
    """T consecutive steps of B streams.

    Arguments:
        inputs: the token before each target, (T, B) int64.
        targets: what to predict, (T, B) int64.
        mask: boolean (T, B), False on filler; None where there is none.
        starts: None: the text is one sequence, its state is carried everywhere.
    """

    inputs: Tensor
    targets: Tensor
    mask: Tensor | None
    starts: None = None


class TokenStreams:
    """B streams of L = ceil(N / B) consecutive tokens each, cut in segments of `segment_length` steps.

    The first token of the text is predicted from the end of a sentence. With a generator the text is taken
    as a ring and turned by a random amount, so that streams and segments meet other places every epoch.
    Only what a segment holds is read: the tokens may be a file mapped into memory.

    Args:
        tokens: ids (N,).
        streams: B; fewer where the text is short.
        segment_length: T; the last segment may be shorter.
        generator: turns the ring.

    Example:
        >>> streams = TokenStreams(np.arange(1, 8), streams=2, segment_length=3)
        >>> [segment.targets.T.tolist() for segment in streams]
        [[[1, 2, 3], [5, 6, 7]], [[4], [1]]]
        >>> streams[0].inputs.T.tolist(), streams[1].mask.tolist()
        ([[0, 1, 2], [4, 5, 6]], [[True, False]])
    """

    def __init__(
        self,
        tokens: np.ndarray,
        streams: int,
        segment_length: int,
        generator: np.random.Generator | None = None,
    ) -> None:
        if len(tokens) == 0 or streams < 1 or segment_length < 1:
            raise ValueError(
                f"expected tokens, streams and steps, got {len(tokens)}, {streams} and {segment_length}"
            )
        self._tokens, self.segment_length = tokens, segment_length
        self.length = -(-len(tokens) // streams)
        self.streams = -(-len(tokens) // self.length)
        self.frames = len(tokens)
        self._first = np.arange(self.streams) * self.length
        self._turn = 0 if generator is None else int(generator.integers(len(tokens)))

    def __len__(self) -> int:
        return -(-self.length // self.segment_length)

    def __getitem__(self, index: int) -> TokenSegment:
        if not 0 <= index < len(self):
            raise IndexError(f"segment {index} of {len(self)}")
        begin = index * self.segment_length
        steps = np.arange(begin, min(begin + self.segment_length, self.length))
        place = self._first + steps[:, np.newaxis]
        at = (place + self._turn) % self.frames
        targets = self._tokens[at].astype(np.int64)
        inputs = np.where(at == 0, END_ID, self._tokens[at - 1]).astype(np.int64)
        if index % _RELEASE == _RELEASE - 1:
            self._release()
        mask = None if place[-1, -1] < self.frames else torch.from_numpy(place < self.frames)
        return TokenSegment(torch.from_numpy(inputs), torch.from_numpy(targets), mask)

    def _release(self) -> None:
        """Let go of the pages of a mapped file that were read: they would count as memory in use."""
        mapped = self._tokens.base
        if isinstance(mapped, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            mapped.madvise(mmap.MADV_DONTNEED)

    def __iter__(self) -> Iterator[TokenSegment]:
        return (self[index] for index in range(len(self)))

    def describe(self, index: int) -> str:
        """The places in the text that segment `index` covers, for messages.

        Example:
            >>> TokenStreams(np.arange(1, 8), streams=2, segment_length=3).describe(0)
            'tokens 0-2, 4-6'
        """
        begin = index * self.segment_length
        steps = min(self.segment_length, self.length - begin)
        at = (self._first + begin + self._turn) % self.frames
        parts = [f"{first}-{(first + steps - 1) % self.frames}" for first in at.tolist()]
        return f"tokens {', '.join(parts[:3])}{', ...' if len(parts) > 3 else ''}"
