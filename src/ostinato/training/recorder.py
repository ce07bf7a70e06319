"""The flight recorder: what the last updates were like, and a bundle of the step where training goes wrong.

    loss not finite      gradient not finite
    loss jumped          that of a segment of usual length above m + max(|m|, 10 (q75 - q25)) of the last
                         ones, m their median
    gradient jumped      its norm above 30 times their median, where nothing clips it
    loss diverged        the median of the losses above the lowest it has been by as much as a jump

A bundle is what repeats the step bit for bit: weights and optimizer before it, the segment with its carried
state, the random numbers, and what the step made of them. See `ostinato.training.replay`.

Shapes: T time, B streams.
"""

import hashlib
import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

# How many updates are kept, how many are looked at, and after how many the looked-at ones are sorted again.
KEPT, RECENT, EVERY = 256, 64, 8
# So many updates have to be known before one of them can be unusual.
FEWEST = 8

NORM_JUMP, SPREADS = 30.0, 10.0

# At most one bundle of a kind is written, and this many in all.
MOST_BUNDLES = 4

GO_ON, STOP, IGNORE = "go-on", "stop", "ignore"
ON_FAILURE = (GO_ON, STOP, IGNORE)


@dataclass(frozen=True)
class Seen:
    """What is known of an update before it is made.

    Attributes:
        loss: nats per step that counts.
        norm: of the gradient; where each stream's is clipped, of the largest.
        clip_at: the threshold; None for no clipping.
        frames: how many count.
    """

    loss: float
    norm: float
    clip_at: float | None
    frames: int = 1


@dataclass(frozen=True)
class Trouble:
    """What is wrong with an update.

    Attributes:
        why: the kind: "loss not finite" and so on.
        what: with the figures.
    """

    why: str
    what: str


@dataclass(frozen=True)
class _Usual:
    """Of the last updates."""

    loss: float
    spread: float
    norm: float

    @property
    def jump(self) -> float:
        """What is added to a loss before it has jumped."""
        return max(abs(self.loss), SPREADS * self.spread)


class Recorder:
    """Keeps the last norms, losses and thresholds, and says where an update is out of the usual.

    Its state is JSON values, from which it goes on bit for bit.

    Example:
        >>> recorder = Recorder()
        >>> for _ in range(20):
        ...     assert recorder.look(Seen(2.0, 1.0, None)) is None
        >>> recorder.look(Seen(2.0, 50.0, None)).what
        'the gradient norm is 50, 50 times the median of the last updates, and nothing clips it'
        >>> recorder.look(Seen(math.inf, 1.0, None)).why
        'loss not finite'
    """

    def __init__(self) -> None:
        self.losses: deque[float] = deque(maxlen=KEPT)
        self.norms: deque[float] = deque(maxlen=KEPT)
        self.thresholds: deque[float | None] = deque(maxlen=KEPT)
        self.written: list[str] = []
        self._stage = ""
        self._count = self._frames = 0
        self._usual: _Usual | None = None
        self._lowest: _Usual | None = None

    def enter(self, stage: str) -> None:
        """A stage of training begins, or goes on: losses of another one are nothing to compare with."""
        if stage != self._stage:
            self._stage, self._count, self._usual, self._lowest = stage, 0, None, None
            for own in (self.losses, self.norms, self.thresholds):
                own.clear()

    def look(self, seen: Seen) -> Trouble | None:
        """Take an update into account; say what is wrong with it, None for nothing."""
        found = self._judged(seen)
        self.losses.append(seen.loss)
        self.norms.append(seen.norm)
        self.thresholds.append(seen.clip_at)
        self._count += 1
        if self._count >= FEWEST and self._count % EVERY == 0:
            self._refresh()
        return found

    def _judged(self, seen: Seen) -> Trouble | None:
        if not math.isfinite(seen.loss):
            return Trouble("loss not finite", f"the loss is {seen.loss}")
        if not math.isfinite(seen.norm):
            return Trouble("gradient not finite", f"the gradient norm is {seen.norm}")
        usual = self._usual
        self._frames = max(self._frames, seen.frames)
        # what is left of a sequence at its end has few steps, whose mean says little
        if usual is None or 2 * seen.frames < self._frames:
            return None
        if seen.loss > usual.loss + usual.jump:
            about = f"from a median of {usual.loss:.4g} to {seen.loss:.4g} nats a step"
            return Trouble("loss jumped", f"the loss jumped {about}")
        if seen.clip_at is None and usual.norm > 0 and seen.norm > NORM_JUMP * usual.norm:
            times = f"{seen.norm / usual.norm:.3g} times the median of the last updates"
            return Trouble(
                "gradient jumped", f"the gradient norm is {seen.norm:.4g}, {times}, and nothing clips it"
            )
        lowest = self._lowest
        if lowest is not None and usual.loss > lowest.loss + lowest.jump:
            about = f"from {lowest.loss:.4g} at the best to {usual.loss:.4g} nats a step"
            return Trouble("loss diverged", f"the median loss of the last updates rose {about}")
        return None

    def _refresh(self) -> None:
        losses = sorted(x for x in [*self.losses][-RECENT:] if math.isfinite(x))
        norms = sorted(x for x in [*self.norms][-RECENT:] if math.isfinite(x))
        if len(losses) < FEWEST or len(norms) < FEWEST:
            return
        quarter = len(losses) // 4
        spread = losses[-1 - quarter] - losses[quarter]
        self._usual = _Usual(losses[len(losses) // 2], spread, norms[len(norms) // 2])
        if self._lowest is None or self._usual.loss < self._lowest.loss:
            self._lowest = self._usual

    def wants(self, trouble: Trouble) -> bool:
        """Whether a bundle of it is to be written: the first of its kind, and not too many in all."""
        return trouble.why not in self.written and len(self.written) < MOST_BUNDLES

    @property
    def usual_norm(self) -> float | None:
        """The median of the norms when the losses were at their lowest."""
        return None if self._lowest is None else self._lowest.norm

    def state_dict(self) -> dict[str, Any]:
        """All of it, as JSON values."""
        return {
            "losses": [*self.losses],
            "norms": [*self.norms],
            "thresholds": [*self.thresholds],
            "written": self.written,
            "stage": self._stage,
            "count": self._count,
            "frames": self._frames,
            "usual": None if self._usual is None else asdict(self._usual),
            "lowest": None if self._lowest is None else asdict(self._lowest),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        for own, name in ((self.losses, "losses"), (self.norms, "norms"), (self.thresholds, "thresholds")):
            own.clear()
            own.extend(state[name])
        self.written = [*state["written"]]
        self._count, self._frames, self._stage = state["count"], state["frames"], state["stage"]
        self._usual, self._lowest = (
            None if state[name] is None else _Usual(**state[name]) for name in ("usual", "lowest")
        )


def advice(trouble: Trouble, recipe: Mapping[str, Any], usual_norm: float | None) -> dict[str, Any]:
    """Settings that are likely to keep it from happening, by name.

    A gradient that nothing clips is clipped, at the usual norm where that is known, or by the paper's rule;
    and the learning rate is a tenth. Where there was clipping, rectifiers without a bound become tanh.

    Example:
        >>> advice(Trouble("loss jumped", ""), {"learning_rate": 2.0, "clip": "none"}, 1.25)
        {'clip': 1.25, 'learning_rate': 0.2}
    """
    settings: dict[str, Any] = {}
    clipped = recipe.get("clip", "none") != "none"
    if not clipped and "clip" in recipe:
        settings["clip"] = "auto" if usual_norm is None else float(f"{usual_norm:.3g}")
    rate = recipe.get("learning_rate")
    if rate is not None:
        settings["learning_rate"] = float(f"{rate / 10:.3g}")
    if clipped and recipe.get("nonlinearity") == "relu":
        settings["nonlinearity"] = "tanh"
    return settings


def digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of tensors with their names: equal for the same bits alone.

    Example:
        >>> digest({"a": torch.zeros(2)}) == digest({"a": -torch.zeros(2)})
        False
    """
    found = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def largest(norms: Sequence[float]) -> float:
    """The largest of them, a NaN where there is one; 0 of none."""
    return math.nan if any(map(math.isnan, norms)) else max(norms, default=0.0)
