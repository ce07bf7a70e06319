"""Sequences of unequal lengths, at the cost of their frames and not of what pads them.

A packed sequence holds, step after step, the frames of the streams that are still going on, the longest
stream first. Sequences that begin at zero go one behind the other in fewer streams, `Rows`, as songs do in
training: one run of a layer. Others are taken as they lie: between two ends the streams are a full
rectangle (steps, streams, I), a view of the data; a layer runs over it as over any batch, and its state is
carried to the next one.

Shapes: T time, B streams, N frames, I inputs, H hidden.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from ostinato.nn.cells.state import State, concatenate, map_state

#: From frames (T, B, I) and a state (1, B, H): the outputs (T, B, H) and the state after them.
Layer = Callable[[Tensor, State], tuple[Tensor, State]]
#: From frames (T, R, I) and starts (T, R): the outputs (T, R, H) and the state after each step, alike.
LayerOfRows = Callable[[Tensor, Tensor], tuple[Tensor, State]]
#: So many rectangles cost less than their frames in rows do (benchmarks/lengths.py).
FEW = 4


def rectangles(batch_sizes: Tensor) -> list[tuple[int, int]]:
    """(steps, streams) of each run of steps with as many streams.

    Example:
        >>> rectangles(torch.tensor([3, 3, 1]))
        [(2, 3), (1, 1)]
    """
    return [(len([*same]), streams) for streams, same in groupby(batch_sizes.tolist())]


def run(
    layer: Layer, data: Tensor, shapes: Sequence[tuple[int, int]], state: State, *, reverse: bool = False
) -> tuple[Tensor, State]:
    """The outputs (N, H) of a layer over packed data (N, I), and the state at every stream's own end.

    Args:
        layer: runs forwards over a rectangle.
        data: as in a `PackedSequence`.
        shapes: what `rectangles` says of it.
        state: before every stream's first step, (1, B, H); with `reverse`, before its last one.
        reverse: whether time runs backwards; the state at a stream's end is then that after its first step.
    """
    # split, not sliced: the derivative of a slice is as large as the whole
    parts = data.split([steps * streams for steps, streams in shapes])
    views = [part.unflatten(0, shape) for part, shape in zip(parts, shapes, strict=True)]
    if reverse:
        return _backwards(layer, views, shapes, state)
    outputs, ends, carried = [], [], state
    for view, (_, streams) in zip(views, shapes, strict=True):
        ends.append(map_state(lambda x, n=streams: x[:, n:], carried))
        carried = map_state(lambda x, n=streams: x[:, :n].contiguous(), carried)
        out, carried = layer(view, carried)
        outputs.append(out.flatten(0, 1))
    return torch.cat(outputs), concatenate([carried, *reversed(ends)])


def _backwards(
    layer: Layer, views: Sequence[Tensor], shapes: Sequence[tuple[int, int]], state: State
) -> tuple[Tensor, State]:
    outputs, going = [], 0
    carried: Any = None
    for view, (_, streams) in zip(reversed(views), reversed(shapes), strict=True):
        new = map_state(lambda x, a=going, b=streams: x[:, a:b].contiguous(), state)
        carried = new if carried is None else concatenate([carried, new])
        out, carried = layer(view.flip(0), carried)
        outputs.append(out.flip(0).flatten(0, 1))
        going = streams
    return torch.cat(outputs[::-1]), carried


@dataclass(frozen=True)
class Rows:
    """B sequences one behind the other in R streams as long as the longest of them, (T, R).

    Attributes:
        places: of the packed frames, among all T R; (N,).
        ends: of every sequence's last step; (B,).
        starts: (T, R), where a sequence starts, and all over what no sequence fills: a state that went on
            there might grow without bound, and zero times infinity is no gradient.
    """

    places: Tensor
    ends: Tensor
    starts: Tensor

    @classmethod
    def of(cls, batch_sizes: Tensor, device: torch.device, *, reverse: bool = False) -> "Rows":
        """Of packed data; with `reverse` every sequence goes backwards.

        Example:
            >>> rows = Rows.of(torch.tensor([3, 2, 2, 1]), torch.device("cpu"))
            >>> rows.starts.int()
            tensor([[1, 1],
                    [0, 0],
                    [0, 0],
                    [0, 1]], dtype=torch.int32)
            >>> rows.places, rows.ends
            (tensor([0, 1, 7, 2, 3, 4, 5, 6]), tensor([6, 5, 7]))
        """
        steps, streams = len(batch_sizes), int(batch_sizes[0])
        time = torch.arange(steps).unsqueeze(1)
        within = torch.arange(streams) < batch_sizes.unsqueeze(1)
        lengths = within.sum(0)
        row, first, count = _shelved(lengths.tolist(), steps)
        at = first + (lengths - 1 - time if reverse else time)
        starts = torch.ones(steps, count, dtype=torch.bool)
        starts.view(-1)[(at * count + row)[within & (at > first)]] = False
        places, ends = (at * count + row)[within], (first + lengths - 1) * count + row
        return cls(places.to(device), ends.to(device), starts.to(device))

    def run(self, layer: LayerOfRows, data: Tensor) -> tuple[Tensor, State]:
        """The outputs (N, H) of a layer over packed data (N, I), and the state at every sequence's end."""
        steps, count = self.starts.shape
        if data.dtype.is_floating_point:
            blank = data.new_zeros(steps * count, *data.shape[1:])
        else:  # no token that is in no sequence: its row would be in a sparse gradient
            blank = data[:1].expand(steps * count, *data.shape[1:])
        whole = blank.index_copy(0, self.places, data)  # whose derivative is one selection
        out, states = layer(whole.unflatten(0, (steps, count)), self.starts)
        ends = map_state(lambda x: x.flatten(0, 1).index_select(0, self.ends).unsqueeze(0), states)
        return out.flatten(0, 1).index_select(0, self.places), ends


def _shelved(lengths: Sequence[int], steps: int) -> tuple[Tensor, Tensor, int]:
    """The row of each sequence and the step it starts at, and the rows: each where the least room is left.

    Args:
        lengths: the longest first.
        steps: of a row.
    """
    room: list[tuple[int, int]] = []  # what is left of a row, and which, the fullest first
    row, first = [], []
    for length in lengths:
        at = bisect_left(room, (length, 0))
        left, which = room.pop(at) if at < len(room) else (steps, len(room))
        row.append(which)
        first.append(steps - left)
        insort(room, (left - length, which))
    return torch.tensor(row), torch.tensor(first), len(room)


def checked_lengths(lengths: Any, steps: int, streams: int) -> Tensor:
    """The length of each stream, (B,), as int64 on the CPU, each from 1 to T.

    Raises:
        ValueError: they are something else.

    Example:
        >>> checked_lengths([2, 4], 4, 2)
        tensor([2, 4])
    """
    found = torch.as_tensor(lengths).cpu()
    if found.dtype.is_floating_point or found.dtype.is_complex or found.dtype is torch.bool:
        raise ValueError(f"lengths must be whole numbers, got {found.dtype}")
    if tuple(found.shape) != (streams,):
        raise ValueError(
            f"lengths must have shape ({streams},) to go with the input, got {tuple(found.shape)}"
        )
    if streams and not (int(found.min()) >= 1 and int(found.max()) <= steps):
        raise ValueError(
            f"lengths must lie in 1 ... {steps}, the steps of the input, got {int(found.min())} to "
            f"{int(found.max())}"
        )
    return found.long()


def pack(padded: Tensor, lengths: Tensor) -> tuple[PackedSequence, Tensor]:
    """Padded frames (T, B, I) as a packed sequence, in any order of lengths, and where its frames were.

    Every frame is read once, and no padding. The places (N,) are those among all T B frames.

    Example:
        >>> made, places = pack(torch.arange(6).view(3, 2), torch.tensor([1, 3]))
        >>> made.data, made.batch_sizes, places
        (tensor([1, 0, 3, 5]), tensor([2, 1, 1]), tensor([1, 0, 3, 5]))
    """
    steps, streams = padded.shape[:2]
    ordered, order = torch.sort(lengths, descending=True)
    within = torch.arange(steps).unsqueeze(1) < ordered
    places = (torch.arange(steps).unsqueeze(1) * streams + order)[within].to(padded.device)
    order = order.to(padded.device)
    data = padded.flatten(0, 1).index_select(0, places)
    sizes = within.sum(1)
    return PackedSequence(data, sizes[sizes > 0], order, torch.argsort(order)), places


def pad(packed: PackedSequence, places: Tensor, steps: int) -> Tensor:
    """The reverse of `pack`, (T, B, I), with zeros past the ends.

    Example:
        >>> made, places = pack(torch.arange(6).view(3, 2), torch.tensor([1, 3]))
        >>> pad(made, places, 3)
        tensor([[0, 1],
                [0, 3],
                [0, 5]])
    """
    data, streams = packed.data, int(packed.batch_sizes[0])
    # its derivative is one selection of the frames
    whole = data.new_zeros(steps * streams, *data.shape[1:]).index_copy(0, places, data)
    return whole.unflatten(0, (steps, streams))
