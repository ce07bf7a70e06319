"""What a network reads and predicts of series: standardised values, and which of them are there.

Shapes: T time, B streams, D columns, I inputs: D, or 2 D where values are missing.
"""

from collections.abc import Iterator
from collections.abc import Sequence as SequenceOf

import numpy as np
import torch
from torch import Tensor

from ostinato.data.sequences import Sequence
from ostinato.data.streams import Segment, Streams
from ostinato.domains.series.scaling import Scaling
from ostinato.domains.series.splits import Part, pieces


def encode(previous: Tensor, starts: Tensor, *, with_mask: bool) -> Tensor:
    """What the network reads: the standardised values before, (..., D), and 1 for each that was observed.

    A missing value is 0, the mean of training. At a start nothing was observed, and all is 0.

    Args:
        previous: the values of the step before, (..., D), NaN where one is missing.
        starts: boolean (...), where a series starts.
        with_mask: whether the D ones and zeros follow the D values.

    Example:
        >>> encode(torch.tensor([[2.0, torch.nan]]), torch.tensor([False]), with_mask=True)
        tensor([[2., 0., 1., 0.]])
    """
    observed = ~(previous.isnan() | starts.unsqueeze(-1))
    values = torch.where(observed, previous, torch.zeros_like(previous))
    return torch.cat([values, observed.to(values.dtype)], -1) if with_mask else values


class SeriesStreams:
    """Parallel streams over series, as `Streams` lays them, with the inputs of `encode`.

    Where there are fewer series than streams, the longest are cut in pieces that begin from nothing: the
    network learns to predict, and how far to trust itself, wherever it begins to read. `mask` is False where
    a step does not count: filler, context, and steps of which no value was observed. Targets are NaN where a
    value is missing.

    Args:
        parts: series in the data's own units; those without a step to score are left out.
        scaling: standardises them.
        streams: B, at most.
        segment_length: steps in a segment.
        generator: deals, orders and cuts the series at random; without it all is fixed.
        with_mask: whether the network also reads which values are observed.
        dtype: of inputs and targets.

    Example:
        >>> series = [Part("a", np.array([[1.0], [3.0], [np.nan], [1.0]]))]
        >>> scaling = Scaling.fit(("x",), [series[0].values])
        >>> (segment,) = SeriesStreams(series, scaling, 1, 10, with_mask=False)
        >>> segment.inputs.flatten().round(decimals=2), segment.mask.flatten().tolist()
        (tensor([ 0.0000, -0.7100,  1.4100,  0.0000]), [True, True, False, True])
    """

    def __init__(
        self,
        parts: SequenceOf[Part],
        scaling: Scaling,
        streams: int,
        segment_length: int,
        generator: np.random.Generator | None = None,
        *,
        with_mask: bool,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.with_mask = with_mask
        whole = [part for part in parts if part.scored > 0]
        cut = cut_for(whole, streams, generator)
        kind = torch.empty(0, dtype=dtype).numpy().dtype
        scaled = [Sequence(part.name, scaling.apply(part.values).astype(kind)) for part in cut]
        self._layout = Streams(scaled, streams, segment_length, generator)
        self._context = torch.tensor([part.context for part in cut], dtype=torch.int32)
        self.frames = sum(int((~np.isnan(p.values[p.context :])).any(1).sum()) for p in cut)

    @property
    def streams(self) -> int:
        """B."""
        return self._layout.streams

    def __len__(self) -> int:
        return len(self._layout)

    def __getitem__(self, index: int) -> Segment:
        plain = self._layout[index]
        owner = plain.sequences
        counts = (owner >= 0) & (self.positions(index) >= self._context[owner.clamp_min(0).long()])
        counts &= ~plain.targets.isnan().all(-1)
        inputs = encode(plain.inputs, plain.starts, with_mask=self.with_mask)
        return Segment(inputs, plain.targets, plain.starts, None if bool(counts.all()) else counts, owner)

    def __iter__(self) -> Iterator[Segment]:
        return (self[index] for index in range(len(self)))

    def positions(self, index: int) -> Tensor:
        """How many steps of its own part each step of segment `index` has before it, (T, B) int32."""
        return self._layout.positions(index)

    def describe(self, index: int) -> str:
        """The series and steps that segment `index` covers, for messages."""
        return self._layout.describe(index).replace(" frames ", " steps ")


def cut_for(parts: list[Part], streams: int, generator: np.random.Generator | None = None) -> list[Part]:
    """At least as many parts as streams, where they have as many steps: the longest are cut evenly.

    Example:
        >>> long, short = Part("a", np.zeros((900, 1))), Part("b", np.zeros((300, 1)))
        >>> [(part.name, part.scored) for part in cut_for([long, short], 4)]
        [('a', 300), ('a', 300), ('a', 300), ('b', 300)]
    """
    counts = [1] * len(parts)
    for _ in range(streams - len(parts)):
        lengths = [part.scored / count for part, count in zip(parts, counts, strict=True)]
        counts[lengths.index(max(lengths))] += 1
    found: list[Part] = []
    for part, count in zip(parts, counts, strict=True):
        length = -(-part.scored // count)
        turn = int(generator.integers(length)) if generator is not None and 1 < count <= part.scored else 0
        found += pieces(part, count, turn)
    return found
