"""NADE: each note given the notes before it in the frame, with biases that follow the hidden state.

Shapes: N frames (any leading shape), H hidden units of the RNN, V visible (88 notes), J hidden units of NADE.
Sources: Larochelle & Murray 2011; Boulanger-Lewandowski, Bengio & Vincent 2012 (RNN-NADE).
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import constraints

from ostinato.nn.curvature.nade import NADECurvature, nade_curvature
from ostinato.nn.kernels import nade
from ostinato.nn.kernels.by_stream import affine
from ostinato.nn.kernels.note_order import order_biases, order_frames, order_rows
from ostinato.nn.outputs.base import OutputSpec
from ostinato.nn.outputs.distribution import BinaryFrames, settled
from ostinato.nn.outputs.pitches import pitch_log_probs

# How many frames `NADEFrames.mean` averages over, and the seed it draws them with.
MEAN_SAMPLES, MEAN_SEED = 100, 0

# See `NADE`.
STATE_SCALE = 0.1

ORDERS = ("low-to-high", "high-to-low")


class NADEFrames(BinaryFrames):
    """Frames of V binary notes, each given those before it.

        log p(v) = sum_i log p(v_i | v_1 ... v_{i-1}),  p(v_i = 1 | ...) = sigmoid(b_i + U_i . h_i)
        h_i = sigmoid(c + sum_{k<i} v_k W_k)

    Args:
        biases: b and c side by side, shape (..., V + J).
        encoder: W, shape (V, J).
        decoder: U, shape (V, J).
        order: the notes in the order they are drawn in, (V,) int64; low to high if None.

    Example:
        >>> frames = NADEFrames(torch.zeros(2, 88 + 5), torch.zeros(88, 5), torch.zeros(88, 5))
        >>> bool(torch.isclose(frames.log_prob(torch.ones(2, 88))[0], torch.tensor(-88 * math.log(2))))
        True
    """

    arg_constraints = {  # noqa: RUF012
        "biases": constraints.real_vector,
        "encoder": constraints.independent(constraints.real, 2),
        "decoder": constraints.independent(constraints.real, 2),
    }
    _parameters = {"biases": 1}  # noqa: RUF012

    def __init__(
        self,
        biases: Tensor,
        encoder: Tensor,
        decoder: Tensor,
        order: Tensor | None = None,
        *,
        validate_args: bool | None = None,
    ) -> None:
        if encoder.dim() != 2 or encoder.shape != decoder.shape or biases.shape[-1] != sum(encoder.shape):
            raise ValueError(
                "expected encoder and decoder of one shape (V, J) and biases (..., V + J), found "
                f"{tuple(encoder.shape)}, {tuple(decoder.shape)} and {tuple(biases.shape)}"
            )
        self.biases, self.encoder, self.decoder, self.order = biases, encoder, decoder, order
        super().__init__(biases.shape[:-1], encoder.shape[:1], validate_args)

    @property
    def mean(self) -> Tensor:
        """P(v_i = 1), shape (..., V): `marginals` of 100 drawn frames, the same in every call."""
        generator = torch.Generator().manual_seed(MEAN_SEED)
        return self.marginals(MEAN_SAMPLES, generator=generator)

    @property
    def mode(self) -> Tensor:
        """Not available: to find the most probable of all 2^V frames takes a search.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            "the most probable frame of a NADE is not known; draw frames, or use `mean`"
        )

    def marginals(self, samples: int, *, generator: torch.Generator | None = None) -> Tensor:
        """An estimate of P(v_i = 1), (..., V): the mean of p(v_i = 1 | notes before) over drawn frames."""
        total = self.biases.new_zeros(self._flat_shape())
        for _ in range(samples):
            total += self._draw(self._in_order()[0], generator)[2]
        return self._back(total / samples).reshape(self.batch_shape + self.event_shape)

    def _log_prob(self, value: Tensor) -> Tensor:
        leading = self._leading(value)
        value = value.expand(leading + self.event_shape).reshape(-1, *self.event_shape)
        own = self._in_order(leading)
        return nade.log_prob(order_frames(value, self.order), *own).reshape(leading)

    def note_log_probs(self, value: Tensor) -> Tensor:
        """Log-probability of each note's value given the notes before it in the order, (..., V).

        They sum to `log_prob`.
        """
        leading = self._leading(value)
        value = value.expand(leading + self.event_shape).reshape(-1, *self.event_shape)
        found = nade.note_log_probs(order_frames(value, self.order), *self._in_order(leading))
        return self._back(found).reshape(leading + self.event_shape)

    def pitch_log_probs(self, value: Tensor) -> Tensor:
        """Of each sounding note, log p(its pitch | the others, one note more), (..., V): see `pitches`.

        Exact: for every note, the frame is scored with the note at each pitch that is free.
        """
        shape = self._leading(value) + self.event_shape
        biases = self.biases.expand(*shape[:-1], -1).reshape(-1, self.biases.shape[-1])

        def score(frames: Tensor, rows: Tensor) -> Tensor:
            return self._with(biases[rows])._log_prob(frames)

        return pitch_log_probs(score, value.expand(shape).reshape(-1, shape[-1])).reshape(shape)

    def first(self, rows: int) -> "NADEFrames":
        """The distribution of so many notes, which have to come first in the order of drawing."""
        visible = len(self.encoder)
        biases = torch.cat([self.biases[..., :rows], self.biases[..., visible:]], -1)
        order = None if self.order is None else self.order[:rows]
        return NADEFrames.of_layer(biases, self.encoder[:rows], self.decoder[:rows], order)

    def settled(self, certain: Tensor, values: Tensor) -> "NADEFrames":
        """The same, with notes that are `certain` (..., V) to have their `values`, whatever comes before."""
        visible = len(self.encoder)
        notes = settled(self.biases[..., :visible], certain, values)
        hidden = self.biases[..., visible:].expand(*notes.shape[:-1], -1)
        return self._with(torch.cat([notes, hidden], -1))

    def nll(self, value: Tensor) -> Tensor:
        """Sum over frames of -log p(value), a scalar; its gradients come with its value. (N, V) frames."""
        biases = self.biases.reshape(-1, self.biases.shape[-1])
        return nade.nll(value, biases, self.encoder, self.decoder, order=self.order)

    def flattened(self) -> "NADEFrames":
        """The same frames in one batch dimension (N, V)."""
        return self._with(self.biases.reshape(-1, self.biases.shape[-1]))

    def tempered(self, temperature: float) -> "NADEFrames":
        """The logit of every note, given the notes before it, divided by a temperature."""
        visible = len(self.encoder)
        biases = torch.cat([self.biases[..., :visible] / temperature, self.biases[..., visible:]], -1)
        return NADEFrames.of_layer(biases, self.encoder, self.decoder / temperature, self.order)

    def sample(self, sample_shape: Any = (), *, generator: torch.Generator | None = None) -> Tensor:
        """Draw frames as uint8, shape sample_shape + (..., V); exact (ancestral)."""
        leading = torch.Size(sample_shape) + self.batch_shape
        values, _, _ = self._draw(self._in_order(leading)[0], generator)
        return self._back(values).reshape(leading + self.event_shape)

    def sample_given(
        self, fixed_mask: Tensor, fixed_values: Tensor, *, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Draw frames whose fixed notes have given values, and the weights that make them count rightly.

            log w = sum over fixed i of log p(v_i | v_1 ... v_{i-1})

        Free notes are drawn given the notes before them only, so frames are weighted, not exact, samples
        of p(free | fixed): w is the importance weight, and the mean of w over frames estimates
        p(fixed notes) without bias.

        Args:
            fixed_mask: boolean (..., V), the notes that are fixed.
            fixed_values: (..., V), their values; the others are not looked at.
            generator: source of randomness.

        Returns:
            Frames (..., V) uint8 and log w (...).
        """
        leading = self._leading(fixed_mask, fixed_values)
        shape = leading + self.event_shape
        fixed, values = (
            order_frames(x.expand(shape).reshape(-1, *self.event_shape), self.order)
            for x in (fixed_mask.bool(), fixed_values.to(torch.uint8))
        )
        drawn, log_weight, _ = self._draw(self._in_order(leading)[0], generator, fixed, values)
        return self._back(drawn).reshape(shape), log_weight.reshape(leading)

    def _with(self, biases: Tensor) -> "NADEFrames":
        return NADEFrames.of_layer(biases, self.encoder, self.decoder, self.order)

    def _flat_shape(self) -> tuple[int, int]:
        return self.batch_shape.numel(), len(self.encoder)

    def _in_order(self, leading: torch.Size | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Biases (N, V + J) expanded to leading dimensions, encoder and decoder, all in order of drawing."""
        width = self.biases.shape[-1]
        biases = self.biases if leading is None else self.biases.expand(*leading, width)
        biases = biases.reshape(-1, width)
        return (
            order_biases(biases, self.order),
            order_rows(self.encoder, self.order),
            order_rows(self.decoder, self.order),
        )

    def _draw(
        self,
        biases: Tensor,
        generator: torch.Generator | None,
        fixed: Tensor | None = None,
        values: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        encoder, decoder = order_rows(self.encoder, self.order), order_rows(self.decoder, self.order)
        with torch.no_grad():
            return nade.sample(biases, encoder, decoder, fixed=fixed, values=values, generator=generator)

    def _back(self, drawn: Tensor) -> Tensor:
        return drawn if self.order is None else drawn[:, self.order.argsort()]


class NADE(nn.Module):
    """Output layer: NADE whose visible and hidden biases are affine in the hidden state.

    Parameters: `weight` (V + J, H) and `bias` (V + J), which give b and c; `encoder` and `decoder` (V, J).

    Args:
        hidden_size: H.
        visible_size: V.
        nade_size: J.
        order: of the notes: "low-to-high", "high-to-low", or a permutation (V,).
        state_scale: s, what the state is multiplied by on its way in: b, c = (weight (s h) + bias). A small s
            is a step size s^2 times as large for the RNN as for NADE under one learning rate; NADE, which
            generalizes far better, then learns first (on JSB chorales it is worth 1.3 nats a frame).
        generator: source of randomness for the weights.

    Example:
        >>> output = NADE(5, 88, 10, generator=torch.Generator().manual_seed(0))
        >>> output(torch.zeros(7, 2, 5)).log_prob(torch.zeros(7, 2, 88)).shape
        torch.Size([7, 2])
    """

    order: Tensor | None

    def __init__(
        self,
        hidden_size: int,
        visible_size: int,
        nade_size: int = 150,
        *,
        order: str | Tensor = "low-to-high",
        state_scale: float = STATE_SCALE,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.hidden_size, self.visible_size, self.nade_size = hidden_size, visible_size, nade_size
        kind: dict[str, Any] = {"device": device, "dtype": dtype}
        self.state_scale = state_scale
        bound = 1 / math.sqrt(hidden_size)
        rows = visible_size + nade_size
        self.weight = nn.Parameter(
            torch.empty(rows, hidden_size, **kind).uniform_(-bound, bound, generator=generator)
        )
        self.bias = nn.Parameter(torch.zeros(rows, **kind))
        scale = 1 / math.sqrt(nade_size)
        self.encoder, self.decoder = (
            nn.Parameter(torch.empty(visible_size, nade_size, **kind).normal_(0, scale, generator=generator))
            for _ in range(2)
        )
        self.register_buffer("order", _order(order, visible_size, device))

    def forward(self, hidden: Tensor) -> NADEFrames:
        """The distribution of the next frame for every state (..., H)."""
        biases = affine(self.state_scale * hidden, self.weight, self.bias).to(self.weight.dtype)
        return NADEFrames.of_layer(biases, self.encoder, self.decoder, self.order)

    def nll(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """Sum over frames of -log p(targets | hidden) in nats.

        Differentiable to any order; hidden (N, H), targets (N, V).
        """
        return self(hidden).nll(targets)

    def in_parts(self, parts: int) -> None:
        """Let a frame's notes come in so many parts of one size, each in the order that is the layer's."""
        if self.order is not None:
            size = self.visible_size // parts
            own = self.order[self.order < size]
            self.order = torch.cat([own + part * size for part in range(parts)])

    def linearize(self, hidden: Tensor, targets: Tensor, *, asked: Tensor | None = None) -> NADECurvature:
        """The curvature of `nll` at these states (N, H) and frames (N, V), at the logits of the notes.

        Of the notes that are `asked` for alone, boolean (N, V), where others are certain.
        """
        return nade_curvature(
            hidden,
            targets,
            self.weight,
            self.bias,
            self.encoder,
            self.decoder,
            self.order,
            self.state_scale,
            asked,
        )

    @classmethod
    def from_settings(cls, spec: OutputSpec) -> "NADE":
        """See `ostinato.nn.outputs.base.FromSettings`."""
        return cls(
            spec.hidden_size,
            spec.size,
            spec.settings["nade_size"],
            order=spec.settings["nade_order"],
            state_scale=spec.settings["state_scale"],
            generator=spec.generator,
            dtype=spec.dtype,
        )

    def initialize_bias_(self, frequencies: Tensor) -> None:
        """Set the visible biases so that, from a state of zero, notes start near their frequencies (V,)."""
        with torch.no_grad():
            self.bias[: self.visible_size].copy_(torch.logit(frequencies.to(self.bias.dtype)))
            self.bias[: self.visible_size] -= 0.5 * self.decoder.sum(1)  # sigmoid(0) = 0.5

    def initialize_offsets_(self) -> None:
        """Let the last V values of a state be added to the log-odds of the notes, to start with."""
        with torch.no_grad():
            offsets = self.weight[:, -self.visible_size :].zero_()
            if self.state_scale:
                offsets.fill_diagonal_(1 / self.state_scale)

    def extra_repr(self) -> str:
        """The sizes."""
        return f"{self.hidden_size}, {self.visible_size}, nade_size={self.nade_size}"


def _order(order: str | Tensor, visible: int, device: torch.device | str | None) -> Tensor | None:
    if isinstance(order, Tensor):
        if sorted(order.tolist()) != list(range(visible)):
            raise ValueError(f"an order must be a permutation of {visible} notes, got {order.tolist()}")
        return order.to(device, torch.int64)
    if order not in ORDERS:
        raise ValueError(f"order must be one of {', '.join(ORDERS)} or a permutation, got {order!r}")
    return None if order == "low-to-high" else torch.arange(visible - 1, -1, -1, device=device)
