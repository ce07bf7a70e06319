"""Frames with onsets under RBMs: pitches that are silent, held or struck, tied by hidden units.

A frame has 2 P rows, s whether a pitch sounds and o whether it is struck; it is held only if it sounded in
the frame before, b (`ostinato.nn.outputs.onsets`). One RBM has all rows and its distribution on the valid
frames V(b) alone, so that what sounds and what is struck are one joint distribution, and what is not valid
has no probability:

    p(s, o | b) = exp(-F(s, o)) / sum over V(b) of exp(-F),    F(v) = -k . v - sum_j softplus(c_j + v . W_j)

    k_s = b_s + b log sigmoid(-b_o),    k_o = b b_o

With W = 0 a pitch so sounds with probability sigmoid(b_s), and one that goes on is struck with sigmoid(b_o),
as under independent notes. Given the hidden units, pitches are independent, each of two states or three
(`visible_units.OnsetUnits`): Gibbs steps, annealing and enumeration are those of any RBM.

Shapes: N frames (any leading shape), H hidden units of the RNN, P pitches, V = 2 P rows, J hidden units of
the RBM.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ostinato.nn.outputs.agreement import Annealing
from ostinato.nn.outputs.base import Objective
from ostinato.nn.outputs.distribution import check_binary
from ostinato.nn.outputs.first_order import first_order
from ostinato.nn.outputs.mixing import ChainRecord
from ostinato.nn.outputs.onsets import certain_rows, check_valid, parted
from ostinato.nn.outputs.pitches import placed_log_probs
from ostinato.nn.outputs.rbm import RBM, objectives_of
from ostinato.nn.outputs.rbm_frames import RBMFrames
from ostinato.nn.outputs.visible_units import ONSETS, restricted

# The states of a pitch: its rows, silent, held and struck.
_STATES = ((0, 0), (1, 0), (1, 1))


class OnsetRBMFrames(RBMFrames):
    """Frames of P pitches, 2 P binary rows, that are silent, struck or held, under RBMs that share W.

    Args:
        rows: b_s, b_o and c side by side, shape (..., 2 P + J).
        weight: W, shape (2 P, J).
        before: boolean (..., P), which pitches sounded in the frame before.
        annealing: how much work an estimate takes.
        chains: the limit of the chains that draw frames, and what became of them.
        allowed: boolean (..., P) each, whether pitches may be silent, held and struck; by default they may be
            held where they sounded before.

    Example:
        >>> frames = OnsetRBMFrames(torch.zeros(3, 2 + 3), torch.zeros(2, 3), torch.zeros(3, 1))
        >>> states = torch.tensor([[0, 0], [1, 1], [1, 0]])
        >>> frames.log_prob(states).exp()  # what was silent cannot be held
        tensor([0.5000, 0.5000, 0.0000])
    """

    units = ONSETS
    _parameters = {"biases": 1, "rows": 1, "before": 1}  # noqa: RUF012

    def __init__(
        self,
        rows: Tensor,
        weight: Tensor,
        before: Tensor,
        annealing: Annealing = Annealing(),  # noqa: B008 (frozen)
        chains: ChainRecord | None = None,
        allowed: Sequence[Tensor] | None = None,
        *,
        validate_args: bool | None = None,
    ) -> None:
        self.pitches = pitches = weight.shape[0] // 2
        if weight.shape[0] % 2 or before.shape[-1:] != (pitches,):
            raise ValueError(
                f"expected two rows for each of {before.shape[-1]} pitches, found {weight.shape[0]}"
            )
        self.rows, self.before = rows, before.to(rows.dtype).expand(*rows.shape[:-1], -1)
        sounds, struck, c = rows.split([pitches, pitches, rows.shape[-1] - 2 * pitches], -1)
        k = torch.cat([sounds + self.before * F.logsigmoid(-struck), self.before * struck], -1)
        yes = torch.ones_like(self.before, dtype=torch.bool)
        k = restricted(k, *(allowed or (yes, self.before != 0, yes)))
        super().__init__(torch.cat([k, c], -1), weight, annealing, chains, validate_args=validate_args)

    def _alike(
        self,
        rows: Tensor,
        before: Tensor,
        weight: Tensor | None = None,
        allowed: Sequence[Tensor] | None = None,
    ) -> "OnsetRBMFrames":
        """Others of the same kind."""
        weight = self.weight if weight is None else weight
        return OnsetRBMFrames.of_layer(rows, weight, before, self.annealing, self.chains, allowed)

    def _log_prob(self, value: Tensor) -> Tensor:
        certain, known = certain_rows(value, self.before != 0)
        wrong = (certain & (value != known)).any(-1)
        return super()._log_prob(value).masked_fill(wrong, -torch.inf)

    def nll(self, value: Tensor) -> Tensor:
        """Sum over frames of -log p(value), a scalar; values of 0 and 1 alone."""
        check_binary(value)
        return -self._log_prob(value).sum()

    @property
    def variables(self) -> int:
        """P."""
        return self.pitches

    def _pseudo(self, values: Tensor, b: Tensor, c: Tensor, notes: Tensor | None) -> Tensor:
        """sum_i log p(state of pitch i | those of the others), (N,)."""
        activation = torch.addmm(c, values, self.weight)
        chosen = torch.arange(self.pitches, device=values.device) if notes is None else notes
        rows = torch.stack([chosen, chosen + self.pitches])
        own, bias, across = values[:, rows], b[:, rows], self.weight[rows]  # (N, 2, U), (2, U, J)
        scores = []
        for state in _STATES:
            new = own.new_tensor(state).unsqueeze(1)
            change = torch.einsum("nru,ruj->nuj", new - own, across)
            hidden = F.softplus(activation.unsqueeze(1) + change).sum(2)
            scores.append((new * bias).sum(1) + hidden)
        each = torch.stack(scores, 2).log_softmax(2)  # (N, U, 3)
        return each.gather(2, own.sum(1).long().unsqueeze(2)).sum((1, 2))

    def pitch_log_probs(self, value: Tensor) -> Tensor:
        """Of each sounding note, log p(its pitch | the others, one note more), (..., P): see `pitches`.

        The others are as they are, silent, held or struck; the note may be either where it could. Exact.
        """
        shape = self._leading(value) + self.event_shape
        sounds, strikes = value.expand(shape).reshape(-1, shape[-1]).chunk(2, -1)
        own = self.expand(shape[:-1])
        biases, before = (x.reshape(-1, x.shape[-1]) for x in (own.rows, own.before))

        def score(frames: Tensor, rows: Tensor, pitch: Tensor) -> Tensor:
            under, each = self._alike(biases[rows], before[rows]), torch.arange(len(rows))
            scores = []
            for struck in (0, 1):  # one held that did not sound before weighs nothing
                tried = torch.cat([frames, frames * strikes[rows].to(frames.dtype)], -1)
                tried[each, self.pitches + pitch] = struck
                scores.append(-under.free_energy(tried))
            return torch.logaddexp(*scores)

        return placed_log_probs(score, sounds).reshape(*shape[:-1], self.pitches)

    def first_order(self) -> "OnsetRBMFrames":
        """The same, for a loss made of frames that are drawn from it: see `outputs.first_order`."""
        rows, weight = first_order(self.rows, self.weight)
        return self._alike(rows, self.before, weight)

    def flattened(self) -> "OnsetRBMFrames":
        """The same frames in one batch dimension (N, 2 P)."""
        return self._alike(self.rows.reshape(-1, self.rows.shape[-1]), self.before.reshape(-1, self.pitches))

    def tempered(self, temperature: float) -> "OnsetRBMFrames":
        """Biases and weights divided by a temperature; what cannot be is still impossible."""
        return self._alike(self.rows / temperature, self.before, self.weight / temperature)

    def sample_given(
        self, fixed_mask: Tensor, fixed_values: Tensor, *, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Frames whose fixed rows have given values, by Gibbs chains among the states that these leave.

        They have no weight, since p(fixed) is not known: the second value is None. But where given rows
        cannot be, one held that did not sound before, weights say so: 0 or -inf.

        Args:
            fixed_mask: boolean (..., 2 P), the rows that are fixed.
            fixed_values: (..., 2 P), their values; the others are not looked at.
            generator: source of randomness.
        """
        leading = self._leading(fixed_mask, fixed_values)
        shape = leading + self.event_shape
        mask, values = (x.bool().expand(shape) for x in (fixed_mask, fixed_values))
        own = self.expand(leading)
        silent, held, struck = (_leave(mask, values, state, self.pitches) for state in _STATES)
        held = held & (own.before != 0)
        possible = silent | held | struck
        drawn = self._alike(own.rows, own.before, allowed=(silent | ~possible, held, struck)).sample(
            generator=generator
        )
        if bool(possible.all()):
            return drawn, None
        return drawn, drawn.new_zeros(leading, dtype=torch.float64).masked_fill(~possible.all(-1), -torch.inf)


def _leave(mask: Tensor, values: Tensor, state: tuple[int, int], pitches: int) -> Tensor:
    """Whether fixed rows (..., 2 P) leave a state to each pitch, (..., P)."""
    rows = [
        ~own_mask | (own == bool(bit))
        for own_mask, own, bit in zip(mask.split(pitches, -1), values.split(pitches, -1), state, strict=True)
    ]
    return rows[0] & rows[1]


class OnsetRBM(nn.Module):
    """Output layer: an RBM of all rows, on the frames with onsets that are valid.

    It reads, behind the hidden state, which pitches sounded in the frame before: see `nn.outputs.base.Told`.

    Args:
        rows: the RBM, of 2 P rows.

    Example:
        >>> output = OnsetRBM(RBM(5, 2 * 88, 10, generator=torch.Generator().manual_seed(0)))
        >>> output(torch.zeros(7, 5 + 88)).sample(generator=torch.Generator().manual_seed(0)).shape
        torch.Size([7, 176])
    """

    def __init__(self, rows: RBM) -> None:
        super().__init__()
        if rows.visible_size % 2:
            raise ValueError(f"expected two rows for each pitch, found {rows.visible_size}")
        self.rows, self.told = rows, rows.visible_size // 2

    @property
    def sampling(self) -> ChainRecord:
        """See `nn.outputs.base.ChainSampled`."""
        return self.rows.sampling

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """As of an RBM."""
        return objectives_of(self)

    def forward(self, hidden: Tensor) -> OnsetRBMFrames:
        """The distribution of the next frame for every state (..., H + P)."""
        state, before = parted(hidden, self.told)
        frames = self.rows(state)
        return OnsetRBMFrames.of_layer(
            frames.biases, frames.weight, before, self.rows.annealing, self.rows.sampling
        )

    def nll(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """Sum over frames of -log p, exact or estimated; slow, not for training."""
        return self(hidden).nll(targets)

    def training_score(
        self, hidden: Tensor, targets: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """As `RBM.training_score`, of every 8th pitch."""
        return self.rows.estimated_score(self(hidden), targets, generator)

    def training_loss(
        self, hidden: Tensor, targets: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Contrastive divergence: see `RBM.training_loss`; its chains stay among the valid frames."""
        _, before = parted(hidden, self.told)
        check_valid(targets, *certain_rows(targets, before))
        return self.rows.contrasted(self(hidden), targets, generator)

    def mean_field_loss(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """-log p under the visible biases alone: what the RNN is pre-trained on."""
        state, before = parted(hidden, self.told)
        certain, known = certain_rows(targets, before)
        check_valid(targets, certain, known)
        return self.rows.mean_field_loss(state, targets, asked=~certain)

    def without_rnn(self, hidden: Tensor) -> Tensor:
        """The states zero, what sounded before as it was."""
        return torch.cat([hidden[..., : -self.told] * 0, hidden[..., -self.told :]], -1)
