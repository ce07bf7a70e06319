"""One long text cut in parallel streams and segments: what training a language model walks over.

Shapes: N tokens, T time, B streams, L steps of a stream.
"""

import heapq
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
        starts: boolean (T, B), where a sentence begins that knows nothing of those before; None where the
            text is one sequence, whose state is carried everywhere.
    """

    inputs: Tensor
    targets: Tensor
    mask: Tensor | None
    starts: Tensor | None = None


def _check(tokens: np.ndarray, streams: int, segment_length: int) -> None:
    if len(tokens) == 0 or streams < 1 or segment_length < 1:
        raise ValueError(
            f"expected tokens, streams and steps, got {len(tokens)}, {streams} and {segment_length}"
        )


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
        _check(tokens, streams, segment_length)
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


class SentenceStreams:
    """B streams of whole sentences, each a sequence of its own that begins from the start state.

    The first token of every sentence is predicted from the end of a sentence, and the state before it is
    the start state, as `score_tokens` has it with `independent`. Sentences lie end to end: filler is at the
    end of the shorter streams alone, and is not counted. A sentence longer than a segment goes on in the
    next one, its state carried.

    Args:
        tokens: ids (N,); a sentence reaches to its end mark, the last one to the end.
        streams: B; fewer where there are fewer sentences.
        segment_length: T; the last segment may be shorter.
        generator: orders the sentences anew; without one they stay in order.

    Example:
        >>> text = np.array([5, 6, 0, 7, 0, 8, 0])
        >>> streams = SentenceStreams(text, streams=2, segment_length=3)
        >>> [segment.targets.T.tolist() for segment in streams]
        [[[5, 6, 0], [7, 0, 8]], [[0], [0]]]
        >>> [segment.starts.T.tolist() for segment in streams][0]
        [[True, False, False], [True, False, True]]
    """

    def __init__(
        self,
        tokens: np.ndarray,
        streams: int,
        segment_length: int,
        generator: np.random.Generator | None = None,
    ) -> None:
        _check(tokens, streams, segment_length)
        self._tokens, self.segment_length, self.frames = tokens, segment_length, len(tokens)
        ends = np.flatnonzero(np.asarray(tokens) == END_ID) + 1
        begins = np.concatenate([[0], ends])
        begins = begins[begins < len(tokens)]
        lengths = np.diff(np.concatenate([begins, [len(tokens)]]))
        order = np.arange(len(begins)) if generator is None else generator.permutation(len(begins))
        dealt = _dealt(lengths[order], min(streams, len(begins)))
        self._begins = [begins[order[own]] for own in dealt]
        # where in its stream each sentence begins, and behind the last one where the stream ends
        self._places = [np.concatenate([[0], np.cumsum(lengths[order[own]])]) for own in dealt]
        self.streams = len(dealt)
        self.length = max(int(places[-1]) for places in self._places)

    def __len__(self) -> int:
        return -(-self.length // self.segment_length)

    def __getitem__(self, index: int) -> TokenSegment:
        if not 0 <= index < len(self):
            raise IndexError(f"segment {index} of {len(self)}")
        begin = index * self.segment_length
        steps = np.arange(begin, min(begin + self.segment_length, self.length))
        shape = (len(steps), self.streams)
        inputs, targets = np.full(shape, END_ID, np.int64), np.full(shape, END_ID, np.int64)
        starts, mask = np.zeros(shape, bool), np.zeros(shape, bool)
        for b, (begins, places) in enumerate(zip(self._begins, self._places, strict=True)):
            inside = steps[steps < places[-1]]
            sentence = np.searchsorted(places, inside, "right") - 1
            at = begins[sentence] + inside - places[sentence]
            first, count = inside == places[sentence], len(inside)
            targets[:count, b] = self._tokens[at]
            inputs[:count, b] = np.where(first, END_ID, self._tokens[at - 1])
            starts[:count, b], mask[:count, b] = first, True
        filled = None if mask.all() else torch.from_numpy(mask)
        return TokenSegment(
            torch.from_numpy(inputs), torch.from_numpy(targets), filled, torch.from_numpy(starts)
        )

    def __iter__(self) -> Iterator[TokenSegment]:
        return (self[index] for index in range(len(self)))

    def describe(self, index: int) -> str:
        """The places in the text where the sentences of segment `index` begin, for messages.

        Example:
            >>> SentenceStreams(np.array([5, 6, 0, 7, 0]), streams=1, segment_length=4).describe(0)
            'sentences at tokens 0, 3'
        """
        begin, end = index * self.segment_length, (index + 1) * self.segment_length
        found: list[int] = []
        for begins, places in zip(self._begins, self._places, strict=True):
            inside = (places[:-1] < end) & (places[1:] > begin)
            found += begins[inside].tolist()
        return f"sentences at tokens {', '.join(map(str, found[:3]))}{', ...' if len(found) > 3 else ''}"


def _dealt(lengths: np.ndarray, streams: int) -> list[np.ndarray]:
    """Sequences in their order, each to the stream that is the shortest so far; of several the first.

    Example:
        >>> [own.tolist() for own in _dealt(np.array([5, 1, 1, 1]), 2)]
        [[0], [1, 2, 3]]
    """
    heap = [(0, b) for b in range(streams)]
    dealt: list[list[int]] = [[] for _ in range(streams)]
    for place, length in enumerate(lengths.tolist()):
        total, b = heap[0]
        dealt[b].append(place)
        heapq.heapreplace(heap, (total + length, b))
    return [np.array(own, dtype=np.int64) for own in dealt]
