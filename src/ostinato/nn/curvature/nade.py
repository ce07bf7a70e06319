"""The curvature of NADE at the logits of its notes, for the Gauss-Newton products of a whole model.

    z_i = b_i + U_i . sigmoid(a_i),   a_i = c + sum_{k<i} v_k W_k,   H = diag(p_i (1 - p_i))

Shapes: N frames, V visible, J hidden units of NADE, H hidden units of the RNN; `biases` is [b, c] of every
frame, (N, V + J). In the classes below notes are in the order of drawing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ostinato.nn.curvature.outputs import AffineCurvature
from ostinato.nn.kernels import select
from ostinato.nn.kernels.nade_cpu import Gradients, curvature, likelihood
from ostinato.nn.kernels.note_order import order_biases, order_frames, order_rows
from ostinato.nn.kernels.operator import eager


class LogitCurvature(Protocol):
    """J^T H J of the logits with respect to biases, encoder and decoder, for given frames."""

    def product(self, change: Gradients) -> Gradients:
        """Applied to a change of the three; all of it is there."""


@dataclass(frozen=True)
class KernelCurvature:
    """By the native kernel, which meets every note at its own hidden vector alone.

    Arguments:
        values: frames (N, V) uint8.
        biases: (N, V + J).
        encoder: W, shape (V, J).
        decoder: U, shape (V, J).
        variance: p (1 - p), shape (N, V).
    """

    values: Tensor
    biases: Tensor
    encoder: Tensor
    decoder: Tensor
    variance: Tensor

    @classmethod
    def at(
        cls, values: Tensor, biases: Tensor, encoder: Tensor, decoder: Tensor, asked: Tensor | None = None
    ) -> "KernelCurvature":
        """At this point; of the notes that are asked for, (N, V), by default all."""
        _, gradients = likelihood(values, biases, encoder, decoder, gradients=True)
        assert gradients is not None
        wrong = gradients.biases[:, : len(encoder)].abs()  # |p - v|
        variance = wrong - wrong * wrong
        return cls(values, biases, encoder, decoder, variance if asked is None else variance * asked)

    def product(self, change: Gradients) -> Gradients:
        """See `LogitCurvature`."""
        return curvature(self.values, self.biases, self.encoder, self.decoder, self.variance, change)


@dataclass(frozen=True)
class RowCurvature:
    """In PyTorch operations, for any device.

    A frame with k notes on has k + 1 distinct hidden vectors: `a` changes only behind a note that is on. All
    of them, of all frames, are the R rows of the matrices below; each note's logit belongs to one row.

    Arguments:
        decoder: U, shape (V, J).
        before: (R, V), 1 for the notes on before a row.
        frame: which frame a row is of, (R,).
        units: sigmoid(a), shape (R, J).
        variance: p (1 - p) of the notes whose logit belongs to the row, 0 elsewhere, shape (R, V).
    """

    decoder: Tensor
    before: Tensor
    frame: Tensor
    units: Tensor
    variance: Tensor

    @classmethod
    def at(
        cls, values: Tensor, biases: Tensor, encoder: Tensor, decoder: Tensor, asked: Tensor | None = None
    ) -> "RowCurvature":
        """At this point; of the notes that are asked for, (N, V), by default all."""
        on, visible = values.bool(), len(encoder)
        counts = on.sum(1)
        frame = torch.repeat_interleave(torch.arange(len(on), device=on.device), counts + 1)
        first = torch.cumsum(counts + 1, 0) - (counts + 1)
        slot = torch.arange(len(frame), device=on.device) - first[frame]
        # how many notes are on before each note: the slot of its logit
        place = (torch.cumsum(on, 1) - on.long())[frame]
        before = (on[frame] & (place < slot.unsqueeze(1))).to(biases.dtype)
        units = torch.sigmoid(torch.addmm(biases[:, visible:][frame], before, encoder))
        p = torch.sigmoid(torch.addmm(biases[:, :visible][frame], units, decoder.T))
        variance = (p - p * p).masked_fill_(place != slot.unsqueeze(1), 0)
        return cls(decoder, before, frame, units, variance if asked is None else variance * asked[frame])

    def product(self, change: Gradients) -> Gradients:
        """See `LogitCurvature`."""
        visible = len(self.decoder)
        slopes = self.units - self.units * self.units
        units = change.biases[:, visible:].index_select(0, self.frame)
        units.addmm_(self.before, change.encoder).mul_(slopes)
        logits = change.biases[:, :visible].index_select(0, self.frame)
        logits.addmm_(units, self.decoder.T).addmm_(self.units, change.decoder.T)
        curved = logits.mul_(self.variance)
        inner = (curved @ self.decoder).mul_(slopes)
        rows = torch.cat([curved, inner], 1)
        biases = rows.new_zeros(change.biases.shape).index_add_(0, self.frame, rows)
        return Gradients(biases, self.before.T @ inner, curved.T @ self.units)


@dataclass(frozen=True)
class NADECurvature:
    """J^T H J of a NADE whose biases [b, c] are affine in the RNN's states, for given frames.

    Arguments:
        hidden: s h, the RNN's states as the biases are made with them, shape (N, H).
        weight: what the biases are made with, shape (V + J, H).
        logits: the curvature with respect to biases, encoder and decoder, notes in the order of drawing.
        order: of the notes, (V,); None where it is that of the frames.
        like: a tensor of the shape of encoder and decoder, (V, J).
        state_scale: s, what the states are multiplied by on their way in.

    See `nade_curvature` for an example.
    """

    hidden: Tensor
    weight: Tensor
    logits: LogitCurvature
    order: Tensor | None
    like: Tensor
    state_scale: float

    def product(
        self, hidden_tangent: Tensor, tangents: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """See `LinearizedOutput`."""
        encoder, decoder = (
            order_rows(tangents[name], self.order) if name in tangents else torch.zeros_like(self.like)
            for name in ("encoder", "decoder")
        )
        inverse = None if self.order is None else self.order.argsort()
        back = {}

        def of_biases(change: Tensor) -> Tensor:
            made = self.logits.product(Gradients(order_biases(change, self.order), encoder, decoder))
            for name, x in (("encoder", made.encoder), ("decoder", made.decoder)):
                if name in tangents:
                    back[name] = order_rows(x, inverse)
            return order_biases(made.biases, inverse)

        affine = AffineCurvature(self.hidden, self.weight, of_biases)
        hidden, own = affine.product(self.state_scale * hidden_tangent, tangents)
        return self.state_scale * hidden, back | own


def nade_curvature(
    hidden: Tensor,
    values: Tensor,
    weight: Tensor,
    bias: Tensor,
    encoder: Tensor,
    decoder: Tensor,
    order: Tensor | None = None,
    state_scale: float = 1.0,
    asked: Tensor | None = None,
) -> NADECurvature:
    """The curvature of `NADE.nll` at states (N, H) and binary frames (N, V), of the notes `asked` for (N, V).

    Example:
        >>> hidden, frames = torch.ones(1, 1), torch.tensor([[1, 0]])
        >>> curvature = nade_curvature(
        ...     hidden, frames, torch.zeros(3, 1), torch.zeros(3), torch.zeros(2, 1), torch.zeros(2, 1)
        ... )
        >>> curvature.product(torch.zeros(1, 1), {"bias": torch.ones(3)})[1]["bias"]
        tensor([0.2500, 0.2500, 0.0000])
    """
    scaled = state_scale * hidden
    biases = order_biases(torch.addmm(bias, scaled, weight.T), order)
    frames = order_frames(values, order).to(torch.uint8)
    native = eager(hidden, values, weight, bias, encoder, decoder) and select.is_native(hidden)
    kind = KernelCurvature if native else RowCurvature
    own = None if asked is None else order_frames(asked, order).to(biases.dtype)
    logits = kind.at(frames, biases, order_rows(encoder, order), order_rows(decoder, order), own)
    return NADECurvature(scaled, weight, logits, order, encoder, state_scale)
