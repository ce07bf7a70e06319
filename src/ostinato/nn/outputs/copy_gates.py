"""Gates that copy: notes lean towards what was seen at places that a model looks back to.

Of L places the frames s_k are known, and g_k says how far each is trusted for the coming frame:

    g = softplus(A [h, x] + a),    z = sum over k of g_k (2 s_k - 1)

x is what else is known of the coming frame (its place in the bar, for how long each place was right). The
offsets z are added to the log-odds of the notes, and what is added to begin with, with a weight of 1, is
learned on from there. A network that carries a frame of 88 notes through its state copies none exactly; here
one number copies a frame, of any pitches. In the spirit of pointer and copy networks (Vinyals, Fortunato and
Jaitly 2015; Gu, Lu, Li and Li 2016), with products of odds in the place of a mixture: notes that stray from
what is copied still hear each other.

Shapes: N frames (any leading shape), H hidden, I inputs, V visible, L places, K values known.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Distribution

from ostinato.nn.curvature.outputs import LinearizedOutput
from ostinato.nn.kernels.by_stream import affine

# Before training a place has softplus(-3) = 0.05 of a nat to say.
_START = -3.0


@dataclass(frozen=True)
class Seen:
    """Where in a model's input (I,) the places looked back to stand.

    Arguments:
        size: I.
        frames: their frames, L V values, place by place.
        known: what the gates read besides the hidden state.
        places: L.
    """

    size: int
    frames: slice
    known: tuple[slice, ...]
    places: int


class CopyGates(nn.Module):
    """Output layer: another one, with offsets for its notes from the places that a model looks back to.

    It reads, behind the hidden state, the model's whole input; see `nn.outputs.base.Told`.

    Args:
        output: a layer for states of H + V values, such as `NADE` and `Bernoulli`, also within `Onsets`; its
            `initialize_offsets_` is called.
        hidden_size: H.
        seen: where in the input what was seen stands.

    Example:
        >>> from ostinato.nn.outputs.bernoulli import Bernoulli
        >>> one_place = Seen(size=2 * 88 + 1, frames=slice(88, 176), known=(slice(176, 177),), places=1)
        >>> output = CopyGates(Bernoulli(5 + 88, 88), 5, one_place)
        >>> output(torch.zeros(7, 5 + 177)).sample().shape
        torch.Size([7, 88])
    """

    def __init__(self, output: Any, hidden_size: int, seen: Seen) -> None:
        super().__init__()
        output.initialize_offsets_()
        like = next(output.parameters())
        known = sum(part.stop - part.start for part in seen.known)
        self.output, self.hidden_size, self.told, self.seen = output, hidden_size, seen.size, seen
        self.weight = nn.Parameter(like.new_zeros(seen.places, hidden_size + known))
        self.bias = nn.Parameter(like.new_full((seen.places,), _START))

    def forward(self, hidden: Tensor) -> Distribution:
        """The distribution of the next frame for every state (..., H + I)."""
        found: Distribution = self.output(self._offset(hidden))
        return found

    def nll(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """Sum over frames of -log p(targets | hidden) in nats; hidden (N, H + I), targets (N, V)."""
        found: Tensor = self.output.nll(self._offset(hidden), targets)
        return found

    def gates(self, hidden: Tensor) -> Tensor:
        """g, (..., L), of states (..., H + I): nats by which each place moves the log-odds of the notes."""
        return F.softplus(affine(self._read(hidden), self.weight, self.bias))

    def linearize(self, hidden: Tensor, targets: Tensor) -> "CopyCurvature":
        """The curvature of `nll` at these states (N, H + I) and frames (N, V)."""
        read = self._read(hidden)
        slope = torch.sigmoid(F.linear(read, self.weight, self.bias))
        inner = self.output.linearize(self._offset(hidden), targets)
        return CopyCurvature(inner, read, slope, self._signs(hidden), self.weight, self.hidden_size)

    def _offset(self, hidden: Tensor) -> Tensor:
        """What the layer reads: the state, the offsets, and what it is told itself, (..., H + V + told)."""
        offsets = torch.einsum("...l,...lv->...v", self.gates(hidden), self._signs(hidden))
        told = hidden[..., self.hidden_size :][..., : getattr(self.output, "told", 0)]
        return torch.cat([hidden[..., : self.hidden_size], offsets, told], -1)

    def _read(self, hidden: Tensor) -> Tensor:
        inputs = hidden[..., self.hidden_size :]
        known = [inputs[..., part] for part in self.seen.known]
        return torch.cat([hidden[..., : self.hidden_size], *known], -1)

    def _signs(self, hidden: Tensor) -> Tensor:
        """2 s - 1, (..., L, V): for every note whether a place speaks for or against it."""
        frames = hidden[..., self.hidden_size :][..., self.seen.frames]
        return 2 * frames.unflatten(-1, (self.seen.places, -1)) - 1

    def extra_repr(self) -> str:
        """The places."""
        return f"places={self.seen.places}"


@dataclass(frozen=True)
class CopyCurvature:
    """The curvature of a layer with copy gates, at one point.

    Arguments:
        output: of the layer within, which reads states of H + V values.
        read: what the gates read, (N, H + K).
        slope: the derivative of the gates by what they are the softplus of, (N, L).
        signs: (N, L, V).
        weight: A, (L, H + K).
        hidden_size: H.
    """

    output: LinearizedOutput
    read: Tensor
    slope: Tensor
    signs: Tensor
    weight: Tensor
    hidden_size: int

    def product(
        self, hidden_tangent: Tensor, tangents: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """See `LinearizedOutput`; the hidden tangent is that of the state alone, (N, H)."""
        from_state = self.weight[:, : self.hidden_size]
        change = hidden_tangent @ from_state.T
        if "weight" in tangents:
            change = change + self.read @ tangents["weight"].T
        if "bias" in tangents:
            change = change + tangents["bias"]
        offsets = torch.einsum("nl,nlv->nv", self.slope * change, self.signs)
        own = {k.removeprefix("output."): x for k, x in tangents.items() if k.startswith("output.")}
        through, inner = self.output.product(torch.cat([hidden_tangent, offsets], 1), own)
        state, curved = through.split([self.hidden_size, through.shape[1] - self.hidden_size], 1)
        gates = self.slope * torch.einsum("nv,nlv->nl", curved, self.signs)
        back = {f"output.{name}": x for name, x in inner.items()}
        if "weight" in tangents:
            back["weight"] = gates.T @ self.read
        if "bias" in tangents:
            back["bias"] = gates.sum(0)
        return state + gates @ from_state, back
