"""The curvature of NADE at the logits of its notes, for the Gauss-Newton products of a whole model.

    z_i = b_i + U_i . sigmoid(a_i),   a_i = c + sum_{k<i} v_k W_k,   H = diag(p_i (1 - p_i))

A frame with k notes on has k + 1 distinct hidden vectors: `a` changes only behind a note that is on. All of
them, of all frames, are the R rows of the matrices below; each note's logit belongs to one row.

Shapes: N frames, R rows, V visible, J hidden units of NADE, H hidden units of the RNN.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class NADECurvature:
    """J^T H J of a NADE whose biases [b, c] are affine in the RNN's states, for given frames.

    Arguments:
        hidden: s h, the RNN's states as the biases are made with them, shape (N, H).
        weight: what the biases are made with, shape (V + J, H).
        decoder: U, shape (V, J), its notes in the order of drawing, as everywhere here.
        order: of the notes, (V,); None where it is that of the frames.
        before: (R, V), 1 for the notes on before a row.
        frame: which frame a row is of, (R,).
        units: sigmoid(a), shape (R, J).
        variance: p (1 - p) of the notes whose logit belongs to the row, 0 elsewhere, shape (R, V).
        state_scale: s, what the states are multiplied by on their way in.

    See `nade_curvature` for an example.
    """

    hidden: Tensor
    weight: Tensor
    decoder: Tensor
    order: Tensor | None
    before: Tensor
    frame: Tensor
    units: Tensor
    variance: Tensor
    state_scale: float

    def product(
        self, hidden_tangent: Tensor, tangents: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """See `LinearizedOutput`."""
        visible = self.decoder.shape[0]
        biases = (self.state_scale * hidden_tangent) @ self.weight.T
        if "weight" in tangents:
            biases.addmm_(self.hidden, tangents["weight"].T)
        if "bias" in tangents:
            biases.add_(tangents["bias"])
        slopes = self.units - self.units * self.units
        units = biases[:, visible:].index_select(0, self.frame)
        if "encoder" in tangents:
            units.addmm_(self.before, self._ordered(tangents["encoder"]))
        units.mul_(slopes)
        logits = self._ordered_columns(biases[:, :visible]).index_select(0, self.frame)
        logits.addmm_(units, self.decoder.T)
        if "decoder" in tangents:
            logits.addmm_(self.units, self._ordered(tangents["decoder"]).T)
        return self._back(logits.mul_(self.variance), slopes, tangents)

    def _back(
        self, curved: Tensor, slopes: Tensor, tangents: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The transpose, applied to H times the change of the logits (R, V)."""
        back = {}
        if "decoder" in tangents:
            back["decoder"] = self._restored(curved.T @ self.units)
        inner = (curved @ self.decoder).mul_(slopes)
        if "encoder" in tangents:
            back["encoder"] = self._restored(self.before.T @ inner)
        biases = torch.cat([self._of_frames(curved, restore=True), self._of_frames(inner)], 1)
        if "weight" in tangents:
            back["weight"] = (self.hidden.T @ biases).T
        if "bias" in tangents:
            back["bias"] = biases.sum(0)
        return self.state_scale * (biases @ self.weight), back

    def _of_frames(self, rows: Tensor, *, restore: bool = False) -> Tensor:
        """Sums over the rows of each frame, (N, ...)."""
        total = rows.new_zeros(len(self.hidden), rows.shape[1]).index_add_(0, self.frame, rows)
        return total[:, self.order.argsort()] if restore and self.order is not None else total

    def _ordered(self, weight: Tensor) -> Tensor:
        return weight if self.order is None else weight[self.order]

    def _ordered_columns(self, biases: Tensor) -> Tensor:
        return biases if self.order is None else biases[:, self.order]

    def _restored(self, weight: Tensor) -> Tensor:
        return weight if self.order is None else weight[self.order.argsort()]


def nade_curvature(
    hidden: Tensor,
    values: Tensor,
    weight: Tensor,
    bias: Tensor,
    encoder: Tensor,
    decoder: Tensor,
    order: Tensor | None = None,
    state_scale: float = 1.0,
) -> NADECurvature:
    """The curvature of `NADE.nll` at states (N, H) and binary frames (N, V).

    Example:
        >>> hidden, frames = torch.ones(1, 1), torch.tensor([[1, 0]])
        >>> curvature = nade_curvature(
        ...     hidden, frames, torch.zeros(3, 1), torch.zeros(3), torch.zeros(2, 1), torch.zeros(2, 1)
        ... )
        >>> curvature.product(torch.zeros(1, 1), {"bias": torch.ones(3)})[1]["bias"]
        tensor([0.2500, 0.2500, 0.0000])
    """
    visible = len(encoder)
    hidden = state_scale * hidden
    biases = torch.addmm(bias, hidden, weight.T)
    on = values.bool()
    own_biases = biases[:, :visible]
    if order is not None:
        on, own_biases, encoder, decoder = on[:, order], own_biases[:, order], encoder[order], decoder[order]
    counts = on.sum(1)
    frame = torch.repeat_interleave(torch.arange(len(on), device=on.device), counts + 1)
    first = torch.cumsum(counts + 1, 0) - (counts + 1)
    slot = torch.arange(len(frame), device=on.device) - first[frame]
    # how many notes are on before each note: the slot of its logit
    place = (torch.cumsum(on, 1) - on.long())[frame]
    before = (on[frame] & (place < slot.unsqueeze(1))).to(hidden.dtype)
    units = torch.sigmoid(torch.addmm(biases[:, visible:][frame], before, encoder))
    p = torch.sigmoid(torch.addmm(own_biases[frame], units, decoder.T))
    variance = (p - p * p).masked_fill_(place != slot.unsqueeze(1), 0)
    return NADECurvature(hidden, weight, decoder, order, before, frame, units, variance, state_scale)
