"""Side inputs: what is known of every frame before it comes, read by a model beside the frame before it.

Some of it is known from the start (`Side.features`, such as the place in the bar). Some points back into the
sequence itself (`Side.back`, such as the same place a bar ago): a model reads the frames there, and for how
long the sequence has gone as it went there. All of it comes before the frame that is predicted, and none is
predicted itself: the model is p(v_t | v_1 ... v_{t-1}, features).

Shapes: T time, K sequences drawn together, V visible, F features, L places to look back to, I inputs.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

# A model is told whether the last so many frames were equal to those at a place to look back to.
RUNS = (1, 2, 4, 8, 16)

# And it reads the frame there a second time, which is zero unless the last so many frames were equal: a
# product of what was there and whether it can be trusted, which a small network would have to learn.
TRUSTED = 4


@dataclass(frozen=True)
class Side:
    """What is known of each frame of a sequence.

    Arguments:
        features: (T, F) uint8 of zeros and ones.
        back: how many frames before each other frames lie that are read too, (T, L); 0 for none. Those from
            before the sequence are none either.

    Example:
        >>> side = Side(np.eye(4, dtype=np.uint8), np.array([[0], [0], [2], [2]]))
        >>> len(side), side.size(88)
        (4, 273)
    """

    features: np.ndarray
    back: np.ndarray

    def __post_init__(self) -> None:
        if self.features.ndim != 2 or self.back.ndim != 2 or len(self.features) != len(self.back):
            raise ValueError(
                f"expected features (T, F) and back (T, L), got {self.features.shape}, {self.back.shape}"
            )
        places = np.arange(len(self.back))[:, None]
        known = (self.back > 0) & (self.back <= places)
        object.__setattr__(self, "features", np.ascontiguousarray(self.features, dtype=np.uint8))
        object.__setattr__(self, "back", np.where(known, self.back, 0).astype(np.int32))

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, part: slice) -> "Side":
        return Side(self.features[part], self.back[part])

    def size(self, visible: int) -> int:
        """I: the frame before, the features, and of each place to look back to two frames and `RUNS`."""
        return visible + self.features.shape[1] + self.back.shape[1] * (2 * visible + len(RUNS))


def runs(values: np.ndarray, back: np.ndarray) -> np.ndarray:
    """How many frames right before each were equal to those that it looked back to, (T, L), at most 255.

    Args:
        values: (T, V).
        back: as `Side` has it.

    Example:
        >>> runs(np.array([[1], [0], [1], [0], [0]]), np.array([[0], [0], [2], [2], [2]])).ravel()
        array([0, 0, 0, 1, 2], dtype=uint8)
    """
    places = np.arange(len(values))[:, None]
    equal = (values[places - back] == values[:, None]).all(-1) & (back > 0)
    ends = np.maximum.accumulate(np.where(equal, -1, places), axis=0)  # the last frame that was another
    found = np.zeros(back.shape, dtype=np.uint8)
    found[1:] = np.minimum(places - ends, 255)[:-1]
    return found


def inputs(values: np.ndarray, side: Side | None) -> np.ndarray:
    """What a model reads to predict each frame of a sequence, (T, I), of the type of `values` (T, V).

    Without a side that is the frame before, zero at the start.

    Example:
        >>> song = np.array([[1], [0], [1]], np.uint8)
        >>> inputs(song, None).ravel(), inputs(song, Side(np.eye(3), np.array([[0], [0], [2]])))[2]
        (array([0, 1, 0], dtype=uint8), array([0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0], dtype=uint8))
    """
    before = np.concatenate([np.zeros_like(values[:1]), values[:-1]])
    if side is None:
        return before
    if len(side) != len(values):
        raise ValueError(f"expected a side of {len(values)} frames, got {len(side)}")
    there = values[np.arange(len(values))[:, None] - side.back]
    seen = torch.from_numpy(there * (side.back > 0)[..., None].astype(values.dtype))
    lasted = torch.from_numpy(runs(values, side.back))
    return together(torch.from_numpy(before), torch.from_numpy(side.features), seen, lasted).numpy()


def together(before: Tensor, features: Tensor, seen: Tensor, lasted: Tensor) -> Tensor:
    """All that a model reads, (..., I), of the type of the frames.

    Args:
        before: the frames before, (..., V).
        features: (..., F).
        seen: the frames looked back to, (..., L, V); zero where there are none.
        lasted: how many frames were equal there, (..., L).
    """
    limits = torch.tensor(RUNS, dtype=torch.uint8, device=lasted.device)
    flags = (lasted[..., None] >= limits).to(before.dtype)
    trusted = seen * (lasted >= TRUSTED)[..., None].to(seen.dtype)
    parts = [seen.flatten(-2), trusted.flatten(-2), flags.flatten(-2)]
    return torch.cat([before, features.to(before.dtype), *parts], -1)


def columns(size: int, visible: int, places: int) -> tuple[slice, tuple[slice, slice]]:
    """Where `together` puts the frames looked back to, and what else is known: features, and who was right.

    Args:
        size: I.
        visible: V.
        places: L.

    Example:
        >>> side = Side(np.eye(3), np.array([[0], [0], [2]]))
        >>> seen, known = columns(side.size(1), visible=1, places=1)
        >>> inputs(np.array([[1], [0], [1]], np.uint8), side)[2, seen], known
        (array([1], dtype=uint8), (slice(1, 4, None), slice(6, 11, None)))
    """
    flags = size - places * len(RUNS)
    trusted = flags - places * visible
    seen = slice(trusted - places * visible, trusted)
    return seen, (slice(visible, seen.start), slice(flags, size))


class Reader:
    """What a model reads of K sequences that are drawn frame by frame: `inputs` for one, then `add` it.

    Args:
        side: what is known of the frames to come; without it a model reads the frame before.
        count: K.
        visible: V.
        device: where the frames are.

    Example:
        >>> reader = Reader(Side(np.eye(3), np.array([[0], [0], [2]])), count=2, visible=1)
        >>> for frame in (1, 0):
        ...     _ = reader.inputs()
        ...     reader.add(torch.full((2, 1), frame))
        >>> reader.inputs()[0, 0]
        tensor([0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0], dtype=torch.uint8)
    """

    def __init__(
        self, side: Side | None, count: int, visible: int, device: torch.device | str = "cpu"
    ) -> None:
        self._side, self._time = side, 0
        self._before = torch.zeros(count, visible, dtype=torch.uint8, device=device)
        lags, longest = (0, 0) if side is None else (side.back.shape[1], int(side.back.max(initial=0)))
        # the latest frames, that of time t in row t % rows
        self._past = torch.zeros(longest, count, visible, dtype=torch.uint8, device=device)
        self._lasted = torch.zeros(count, lags, dtype=torch.uint8, device=device)

    def inputs(self) -> Tensor:
        """For the coming frame, (1, K, I) uint8."""
        if self._side is None:
            return self._before[None]
        features = torch.from_numpy(self._side.features[self._time]).to(self._before.device)
        known = features.expand(len(self._before), -1)
        return together(self._before, known, self._seen(), self._lasted)[None]

    def _seen(self) -> Tensor:
        """The frames that the coming one looks back to, (K, L, V)."""
        assert self._side is not None
        back = self._side.back[self._time]
        found = [
            self._past[(self._time - k) % len(self._past)] if k else torch.zeros_like(self._before)
            for k in back.tolist()
        ]
        return torch.stack(found, 1) if found else self._before[:, None][:, :0]

    def add(self, frames: Tensor) -> None:
        """The frames that came, (K, V)."""
        frames = frames.to(torch.uint8)
        if self._side is not None and len(self._past):
            known = torch.from_numpy(self._side.back[self._time] > 0).to(frames.device)
            equal = (self._seen() == frames[:, None]).all(-1) & known
            # 255 is the most that the type holds
            self._lasted = torch.where(equal, self._lasted.clamp_max(254) + 1, 0).to(torch.uint8)
            self._past[self._time % len(self._past)] = frames
        self._before = frames
        self._time += 1

    def select(self, chosen: Tensor) -> None:
        """Go on with some of the sequences, by their indices (K,), each as often as it is named."""
        self._before, self._lasted = self._before[chosen], self._lasted[chosen]
        self._past = self._past[:, chosen]
