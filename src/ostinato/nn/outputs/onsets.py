"""Frames that say where notes begin: the rows of another output, but those that follow from the others.

A frame of P pitches has 2 P rows: whether each pitch sounds, s, and whether it is struck, o. A pitch is
silent (0, 0), struck (1, 1) or held (1, 0), and held only if it sounded in the frame before, b. So o is known
where the pitch is silent and where it begins to sound, and asked for where it goes on:

    log p(s, o | b) = log p(s) + sum over i with s_i = b_i = 1 of log p(o_i | s, o_1 ... o_{i-1})

A distribution over the valid frames and over no others; p(s) alone is that of the piano-roll.
Shapes: N frames (any leading shape), H hidden, P pitches.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ostinato.nn.curvature.outputs import LinearizedOutput
from ostinato.nn.outputs.bernoulli import BernoulliFrames
from ostinato.nn.outputs.distribution import BinaryFrames, check_binary, looks_at

# How many frames `OnsetFrames.mean` averages over where it is not known, and the seed it draws them with.
MEAN_SAMPLES, MEAN_SEED = 100, 0


class Rows(Protocol):
    """A distribution of rows in two parts, the second given the first: what `OnsetFrames` asks of another."""

    batch_shape: torch.Size
    event_shape: torch.Size

    def first(self, rows: int) -> Any:
        """The distribution of so many first rows."""

    def settled(self, certain: Tensor, values: Tensor) -> Any:
        """The same, with rows that are `certain` (..., 2 P) to have their `values`, whatever others are."""


class OnsetFrames(BinaryFrames):
    """Frames of P pitches, 2 P binary rows, that are silent, struck or held.

    Args:
        rows: the distribution of all rows, where none is certain.
        before: boolean (..., P), which pitches sounded in the frame before.

    Example:
        >>> frames = OnsetFrames(BernoulliFrames(torch.zeros(2)), torch.tensor([False]))
        >>> states = torch.tensor([[0, 0], [1, 1], [1, 0]])
        >>> frames.log_prob(states).exp()  # what was silent cannot be held
        tensor([0.5000, 0.5000, 0.0000])
        >>> OnsetFrames(BernoulliFrames(torch.zeros(2)), torch.tensor([True])).log_prob(states).exp()
        tensor([0.5000, 0.2500, 0.2500])
    """

    arg_constraints = {}  # noqa: RUF012
    _parameters = {}  # noqa: RUF012

    def __init__(self, rows: Any, before: Tensor, *, validate_args: bool | None = None) -> None:
        pitches = rows.event_shape[0] // 2
        if rows.event_shape[0] % 2 or before.shape[-1:] != (pitches,):
            raise ValueError(
                f"expected two rows for each of {before.shape[-1]} pitches, found {rows.event_shape[0]}"
            )
        self.rows, self.before, self.pitches = rows, before.bool(), pitches
        super().__init__(rows.batch_shape, rows.event_shape, validate_args)

    @property
    def roll(self) -> Any:
        """The distribution of what sounds, (..., P): that of a piano-roll."""
        return self.rows.first(self.pitches)

    @property
    def mean(self) -> Tensor:
        """P(row = 1), (..., 2 P): of independent notes exact, of others the mean of 100 drawn frames."""
        if not isinstance(self.rows, BernoulliFrames):
            generator = torch.Generator().manual_seed(MEAN_SEED)
            return self.sample((MEAN_SAMPLES,), generator=generator).float().mean(0)
        sounds, struck = self.rows.mean.split(self.pitches, -1)
        return torch.cat([sounds, sounds * torch.where(self.before, struck, 1.0)], -1)

    def _log_prob(self, value: Tensor) -> Tensor:
        certain, known = self._certain(value)
        wrong = (certain & (value != known)).any(-1)
        found: Tensor = self.rows.settled(certain, known)._log_prob(value)
        return found.masked_fill(wrong, -torch.inf)

    def nll(self, value: Tensor) -> Tensor:
        """Sum over frames of -log p(value), a scalar.

        Raises:
            ValueError: a frame is not valid; training, which has looked at them, does not look.
        """
        certain, known = self._certain(value)
        check_valid(value, certain, known)
        rows = self.rows.settled(certain, known)
        fused = getattr(rows, "nll", None)
        found: Tensor = -rows._log_prob(value).sum() if fused is None else fused(value)
        return found

    def note_log_probs(self, value: Tensor) -> Tensor:
        """Log-probability of what each pitch does, given the rows before its own, (..., P).

        They sum to `log_prob` of a valid frame.
        """
        sounds, struck = (
            self.rows.settled(*self._certain(value)).note_log_probs(value).split(self.pitches, -1)
        )
        found: Tensor = sounds + struck
        return found

    def pitch_log_probs(self, value: Tensor) -> Tensor:
        """As of a piano-roll, of what sounds, (..., P): see `pitches`."""
        found: Tensor = self.roll.pitch_log_probs(value[..., : self.pitches])
        return found

    def flattened(self) -> "OnsetFrames":
        """The same frames in one batch dimension (N, 2 P)."""
        before = self.before.expand(*self.batch_shape, self.pitches).reshape(-1, self.pitches)
        return OnsetFrames.of_layer(self.rows.flattened(), before)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "OnsetFrames":
        """The same distribution for a larger batch: as `Tensor.expand`."""
        before = self.before.expand(*torch.Size(batch_shape), self.pitches)
        return OnsetFrames.of_layer(self.rows.expand(batch_shape), before)

    def tempered(self, temperature: float) -> "OnsetFrames":
        """The logit of every row that is asked for, divided by a temperature."""
        return OnsetFrames.of_layer(self.rows.tempered(temperature), self.before)

    def sample(self, sample_shape: Any = (), *, generator: torch.Generator | None = None) -> Tensor:
        """Draw frames as uint8, sample_shape + (..., 2 P): what sounds, then what of it is struck."""
        roll = self.roll.sample(sample_shape, generator=generator)
        return self._struck(roll, generator)[0]

    def sample_given(
        self, fixed_mask: Tensor, fixed_values: Tensor, *, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Draw frames whose fixed rows have given values, and their weights.

        What is struck sounds, and what did not sound before and is not struck is silent: such rows are fixed
        with those that are given. Weights are the product of those of the two parts; 0 where the given rows
        cannot be.

        Args:
            fixed_mask: boolean (..., 2 P), the rows that are fixed.
            fixed_values: (..., 2 P), their values; the others are not looked at.
            generator: source of randomness.

        Returns:
            Frames (..., 2 P) uint8 and log w (...).
        """
        leading = self._leading(fixed_mask, fixed_values)
        mask, values = (x.bool().expand(*leading, 2 * self.pitches) for x in (fixed_mask, fixed_values))
        sounds_given, strikes_given = mask.split(self.pitches, -1)
        sounds, strikes = values.split(self.pitches, -1)
        follows = strikes_given & (strikes | ~self.before)
        known = torch.where(sounds_given, sounds, follows & strikes)
        drawn, log_roll = self.roll.sample_given(sounds_given | follows, known, generator=generator)
        frames, log_struck = self._struck(drawn, generator, strikes_given, strikes)
        wrong = (mask & (frames.bool() != values)).any(-1)
        return frames, (log_roll + log_struck).masked_fill(wrong, -torch.inf)

    def _struck(
        self,
        roll: Tensor,
        generator: torch.Generator | None,
        given: Tensor | None = None,
        values: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Frames with this roll (..., P), whose other rows are drawn, but those given; and the weights."""
        frames = torch.cat([roll, torch.zeros_like(roll)], -1)
        certain, known = self._certain(frames)
        fixed = torch.cat([torch.ones_like(roll, dtype=torch.bool), certain[..., self.pitches :]], -1)
        # rows of the roll and certain ones weigh nothing here
        weightless = self.rows.settled(fixed, known)
        if given is not None and values is not None:
            asked = given & ~fixed[..., self.pitches :]
            fixed = torch.cat([fixed[..., : self.pitches], fixed[..., self.pitches :] | asked], -1)
            rows = torch.where(asked, values, known[..., self.pitches :].bool()).to(known.dtype)
            known = torch.cat([known[..., : self.pitches], rows], -1)
        drawn, log_weights = weightless.sample_given(fixed, known, generator=generator)
        return drawn, log_weights

    def _certain(self, value: Tensor) -> tuple[Tensor, Tensor]:
        return certain_rows(value, self.before)


def certain_rows(value: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
    """Which rows of frames (..., 2 P) follow from others and the frame before; and values for them.

    Args:
        value: the frames.
        before: boolean, of a shape that broadcasts to (..., P): which pitches sounded in the frame before.

    Example:
        >>> certain_rows(torch.tensor([1, 1, 0, 0]), torch.tensor([True, False]))
        (tensor([False, False, False,  True]), tensor([1, 1, 0, 1]))
    """
    sounds, before = torch.broadcast_tensors(value[..., : before.shape[-1]] != 0, before)
    goes_on = sounds & before
    certain = torch.cat([torch.zeros_like(goes_on), ~goes_on], -1)
    known = torch.cat([sounds, sounds & ~before], -1)
    return certain, known.to(value.dtype)


def check_valid(value: Tensor, certain: Tensor, known: Tensor) -> None:
    """Refuse frames (..., 2 P) that are not valid, given what `certain_rows` says of them.

    Raises:
        ValueError: a pitch is struck and silent, or held that did not sound before; or other numbers than 0
            and 1.

    Example:
        >>> frame, nothing = torch.tensor([1, 0]), torch.tensor([False])
        >>> check_valid(frame, *certain_rows(frame, nothing))
        Traceback (most recent call last):
        ...
        ValueError: expected frames whose pitches are silent, struck, or held from before, found others
    """
    check_binary(value)
    if looks_at(value) and bool((certain & (value != known)).any()):
        raise ValueError(
            "expected frames whose pitches are silent, struck, or held from before, found others"
        )


def parted(hidden: Tensor, told: int) -> tuple[Tensor, Tensor]:
    """The states (..., H) and which pitches sounded before, of both side by side (..., H + told)."""
    return hidden[..., :-told], hidden[..., -told:] != 0


class Onsets(nn.Module):
    """Output layer: the rows of another, as those of frames with onsets.

    It reads, behind the hidden state, which pitches sounded in the frame before: `told` values of a model's
    input; see `nn.outputs.base.Told`.

    Args:
        rows: an output of 2 P binary rows whose distributions are `Rows`, such as `Bernoulli` and `NADE`.

    Example:
        >>> from ostinato.nn.outputs import Bernoulli
        >>> output = Onsets(Bernoulli(5, 2 * 88))
        >>> output(torch.zeros(7, 5 + 88)).sample().shape
        torch.Size([7, 176])
    """

    def __init__(self, rows: Any) -> None:
        super().__init__()
        if rows.visible_size % 2:
            raise ValueError(f"expected two rows for each pitch, found {rows.visible_size}")
        self.rows, self.told = rows, rows.visible_size // 2
        if hasattr(rows, "in_parts"):
            rows.in_parts(2)

    def forward(self, hidden: Tensor) -> OnsetFrames:
        """The distribution of the next frame for every state (..., H + P)."""
        state, before = parted(hidden, self.told)
        return OnsetFrames.of_layer(self.rows(state), before)

    def nll(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """Sum over frames of -log p(targets | hidden) in nats; hidden (N, H + P), targets (N, 2 P)."""
        return self(hidden).nll(targets)

    def linearize(self, hidden: Tensor, targets: Tensor) -> "OnsetCurvature":
        """The curvature of `nll` at these states (N, H + P) and frames (N, 2 P): of the rows asked for."""
        state, before = parted(hidden, self.told)
        certain, _ = OnsetFrames.of_layer(self.rows(state), before)._certain(targets)
        return OnsetCurvature(self.rows.linearize(state, targets, asked=~certain))

    def initialize_offsets_(self) -> None:
        """As that of the rows."""
        self.rows.initialize_offsets_()


@dataclass(frozen=True)
class OnsetCurvature:
    """The curvature of the layer that has the rows, its parameters by the names that `Onsets` has for them.

    Arguments:
        rows: the layer's own.
    """

    rows: LinearizedOutput

    def product(
        self, hidden_tangent: Tensor, tangents: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """See `LinearizedOutput`; the hidden tangent is that of the state alone, (N, H)."""
        own = {name.removeprefix("rows."): x for name, x in tangents.items()}
        hidden, back = self.rows.product(hidden_tangent, own)
        return hidden, {f"rows.{name}": x for name, x in back.items()}
