"""Sequences laid end to end in parallel streams and cut in segments: what training and scoring walk over.

Whole sequences are dealt to B streams of nearly equal length; nothing is padded but the very end of a
stream, where filler lies under `mask` and is never counted. Shapes: T time, B streams, V visible.
"""

from collections.abc import Iterator
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ostinato.data.sequences import Sequence
from ostinato.data.side import runs, together


@dataclass(frozen=True)
class Segment:
    """T consecutive steps of B streams.

    Arguments:
        inputs: what the network reads, (T, B, I): the frame before, zero at a start, and the side inputs of
            sequences that have some (`data.side`).
        targets: what it should predict, (T, B, V), of the type of the sequences' values.
        starts: boolean (T, B): a sequence starts here.
        mask: boolean (T, B), False on filler; None where there is none.
        sequences: index of the sequence each frame belongs to, (T, B) int32, -1 on filler.
    """

    inputs: Tensor
    targets: Tensor
    starts: Tensor
    mask: Tensor | None
    sequences: Tensor


def deal(
    lengths: SequenceOf[int], streams: int, generator: np.random.Generator | None = None
) -> list[list[int]]:
    """Distribute sequences over streams of nearly equal total length; return indices per stream.

    Longest first into the shortest stream. With a generator the order is blurred by a random factor in
    [1/2, 3/2] and shuffled within each stream, so that every epoch meets other neighbours and segments.

    Example:
        >>> deal([5, 3, 2, 1], streams=2)
        [[0, 3], [1, 2]]
    """
    keys = np.asarray(lengths, dtype=np.float64)
    if generator is not None:
        keys = keys * generator.uniform(0.5, 1.5, len(keys))
    dealt: list[list[int]] = [[] for _ in range(min(streams, len(lengths)))]
    totals = [0] * len(dealt)
    for index in np.argsort(-keys, kind="stable").tolist():
        shortest = totals.index(min(totals))
        dealt[shortest].append(index)
        totals[shortest] += lengths[index]
    for stream in dealt:
        if generator is not None:
            generator.shuffle(stream)
    return dealt


class Streams:
    """B parallel streams over whole sequences, cut in segments of `segment_length` steps.

    Args:
        sequences: pieces whose values are (T, V), of one type, which is kept (binary frames: uint8); empty
            ones are left out. All have a side of one size, or none has.
        streams: B, the number of streams; at most the number of sequences.
        segment_length: steps in a segment; the last one may be shorter.
        generator: deals and orders the sequences at random; without it the deal is fixed.

    Raises:
        ValueError: sequences of several types or widths, or bytes other than 0 and 1.

    Example:
        >>> songs = [Sequence(str(n), np.ones((n, 2), np.uint8)) for n in (3, 2, 4)]
        >>> streams = Streams(songs, streams=2, segment_length=3)
        >>> [tuple(segment.targets.shape) for segment in streams]
        [(3, 2, 2), (2, 2, 2)]
        >>> streams[1].mask.tolist()
        [[True, True], [False, True]]
    """

    def __init__(
        self,
        sequences: SequenceOf[Sequence],
        streams: int,
        segment_length: int,
        generator: np.random.Generator | None = None,
    ) -> None:
        used = [index for index, sequence in enumerate(sequences) if len(sequence) > 0]
        if not used:
            raise ValueError("expected at least one sequence that is not empty, found none")
        if streams < 1 or segment_length < 1:
            raise ValueError(f"expected at least one stream and step, got {streams} and {segment_length}")
        self.names = tuple(sequence.name for sequence in sequences)
        self.segment_length = segment_length
        dealt = deal([len(sequences[i]) for i in used], streams, generator)
        order = [[used[i] for i in stream] for stream in dealt]
        length = max(sum(len(sequences[i]) for i in stream) for stream in order)
        kinds = {(sequences[i].values.dtype, sequences[i].values.shape[1:]) for i in used}
        if len(kinds) > 1:
            found = " and ".join(sorted(f"(T, {', '.join(map(str, v))}) {t}" for t, v in kinds))
            raise ValueError(f"expected sequences of one type and width, got {found}")
        ((dtype, visible),) = kinds
        if dtype == np.uint8:
            _check_binary([sequences[i] for i in used])
        targets = np.zeros((length, len(order), *visible), dtype=dtype)
        owner = np.full((length, len(order)), -1, dtype=np.int32)
        self._position = np.zeros((length, len(order)), dtype=np.int32)
        for b, stream in enumerate(order):
            t = 0
            for index in stream:
                end = t + len(sequences[index])
                targets[t:end, b] = sequences[index].values
                owner[t:end, b] = index
                self._position[t:end, b] = np.arange(end - t)
                t = end
        self._side = _side(sequences, order, length)
        starts = self._position == 0
        inputs = np.zeros_like(targets)
        inputs[1:] = targets[:-1]
        inputs[starts] = 0
        self._inputs, self._targets = torch.from_numpy(inputs), torch.from_numpy(targets)
        self._starts, self._owner = torch.from_numpy(starts), torch.from_numpy(owner)
        # Filler is only ever at the end, so a segment that ends before the shortest stream needs no mask.
        self._shortest = min(sum(len(sequences[i]) for i in stream) for stream in order)
        self.frames = sum(len(sequences[i]) for i in used)

    @property
    def streams(self) -> int:
        """B."""
        return self._owner.shape[1]

    def __len__(self) -> int:
        return -(-len(self._owner) // self.segment_length)

    def __getitem__(self, index: int) -> Segment:
        if not 0 <= index < len(self):
            raise IndexError(f"segment {index} of {len(self)}")
        begin = index * self.segment_length
        end = begin + self.segment_length
        owner = self._owner[begin:end]
        return Segment(
            self._read(begin, end),
            self._targets[begin:end],
            self._starts[begin:end],
            None if end <= self._shortest else owner >= 0,
            owner,
        )

    def _read(self, begin: int, end: int) -> Tensor:
        """What a model reads; a sequence lies in its stream in one piece, so that it looks back in it."""
        before = self._inputs[begin:end]
        if self._side is None:
            return before
        features, back, lasted = (array[begin:end] for array in self._side)
        times, streams = np.ogrid[begin : begin + len(before), : self.streams]
        there = self._targets[torch.from_numpy(times[..., None] - back), torch.from_numpy(streams[..., None])]
        seen = torch.where(torch.from_numpy(back > 0)[..., None], there, 0)
        return together(before, torch.from_numpy(features), seen, torch.from_numpy(lasted))

    def __iter__(self) -> Iterator[Segment]:
        return (self[index] for index in range(len(self)))

    def positions(self, index: int) -> Tensor:
        """How many steps of its own sequence each frame of segment `index` has before it, (T, B) int32."""
        begin = index * self.segment_length
        return torch.from_numpy(self._position[begin : begin + self.segment_length])

    def describe(self, index: int) -> str:
        """The sequences and frame ranges that segment `index` covers, for messages.

        Example:
            >>> songs = [Sequence("a", np.ones((3, 2), np.uint8)), Sequence("b", np.ones((2, 2), np.uint8))]
            >>> Streams(songs, streams=1, segment_length=4).describe(0)
            'a frames 0-2, b frames 0-0'
        """
        begin, end = index * self.segment_length, (index + 1) * self.segment_length
        parts = []
        for b in range(self.streams):
            owners, positions = self._owner[begin:end, b].numpy(), self._position[begin:end, b]
            for owner in dict.fromkeys(owners[owners >= 0].tolist()):
                covered = positions[owners == owner]
                parts.append(f"{self.names[owner]} frames {covered.min()}-{covered.max()}")
        return ", ".join(parts)


def _check_binary(sequences: SequenceOf[Sequence]) -> None:
    """Refuse bytes that are no frames: here, once an epoch, as nobody looks at them in the steps."""
    for sequence in sequences:
        if sequence.values.size and sequence.values.max() > 1:
            raise ValueError(f"expected frames of 0 and 1 in {sequence.name}, found {sequence.values.max()}")


def _side(
    sequences: SequenceOf[Sequence], order: list[list[int]], length: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Features (T, B, F), where to look back to, (T, B, L), and how long that was right, of all streams."""
    used = [index for stream in order for index in stream]
    sizes = {_sizes(sequences[index]) for index in used}
    if len(sizes) > 1:
        raise ValueError(f"expected sequences with sides of one size, or without, got {sizes}")
    ((features, lags),) = sizes
    if not features and not lags:
        return None
    shape = (length, len(order))
    known, back = np.zeros((*shape, features), np.uint8), np.zeros((*shape, lags), np.int32)
    lasted = np.zeros((*shape, lags), np.uint8)
    for b, stream in enumerate(order):
        t = 0
        for index in stream:
            values, side = sequences[index].values, sequences[index].side
            assert side is not None
            if len(side) != len(values):
                raise ValueError(f"expected a side of {len(values)} frames, got {len(side)}")
            end = t + len(values)
            known[t:end, b], back[t:end, b] = side.features, side.back
            lasted[t:end, b] = runs(values, side.back)
            t = end
    return known, back, lasted


def _sizes(sequence: Sequence) -> tuple[int, int]:
    side = sequence.side
    return (0, 0) if side is None else (side.features.shape[1], side.back.shape[1])
