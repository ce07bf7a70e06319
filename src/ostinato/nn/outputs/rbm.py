"""RBM: the notes of a frame tied by hidden units, with biases that follow the hidden state of the RNN.

Shapes: N frames (any leading shape), H hidden units of the RNN, V visible (88 notes), J hidden units of the
RBM. Source: Boulanger-Lewandowski, Bengio & Vincent 2012 (RNN-RBM).
"""

import math
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ostinato.nn.devices import permutation
from ostinato.nn.kernels.by_stream import affine, recorder
from ostinato.nn.kernels.operator import full_precision
from ostinato.nn.outputs.agreement import Annealing
from ostinato.nn.outputs.base import JOINT, Cost, Objective, OutputSpec
from ostinato.nn.outputs.distribution import check_binary
from ostinato.nn.outputs.mixing import ChainRecord
from ostinato.nn.outputs.nade import STATE_SCALE
from ostinato.nn.outputs.rbm_frames import GIBBS_STEPS, RBMFrames, gibbs_step

# Training watches the pseudo-log-likelihood of every so many notes.
SCORE_STRIDE = 8


class RBM(nn.Module):
    """Output layer: an RBM whose visible and hidden biases are affine in the hidden state of the RNN.

    Parameters: `weight` (V + J, H) and `bias` (V + J), which give b and c; `interaction`, W (V, J).

    Args:
        hidden_size: H.
        visible_size: V.
        rbm_size: J.
        cd_steps: k, Gibbs steps of contrastive divergence.
        persistent_chains: chains kept from one update to the next (persistent contrastive divergence);
            0 starts from the data each time.
        annealing: how much work an estimate of log p takes.
        gibbs_steps: of chains that draw frames, at most: fewer where they mix before.
        state_scale: s, what the state is multiplied by on its way in, as for `NADE`.
        generator: source of randomness for the weights.

    Example:
        >>> output = RBM(5, 88, 10, generator=torch.Generator().manual_seed(0))
        >>> output(torch.zeros(7, 2, 5)).sample(generator=torch.Generator().manual_seed(0)).shape
        torch.Size([7, 2, 88])
    """

    chains: Tensor | None

    def __init__(
        self,
        hidden_size: int,
        visible_size: int,
        rbm_size: int = 150,
        *,
        cd_steps: int = 15,
        persistent_chains: int = 0,
        annealing: Annealing = Annealing(),  # noqa: B008 (frozen)
        gibbs_steps: int = GIBBS_STEPS,
        state_scale: float = STATE_SCALE,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.hidden_size, self.visible_size, self.rbm_size = hidden_size, visible_size, rbm_size
        self.cd_steps, self.annealing = cd_steps, annealing
        self.sampling = ChainRecord(gibbs_steps)
        kind: dict[str, Any] = {"device": device, "dtype": dtype}
        self.state_scale = state_scale
        bound, rows = 1 / math.sqrt(hidden_size), visible_size + rbm_size
        self.weight = nn.Parameter(
            torch.empty(rows, hidden_size, **kind).uniform_(-bound, bound, generator=generator)
        )
        self.bias = nn.Parameter(torch.zeros(rows, **kind))
        drawn = torch.empty(visible_size, rbm_size, **kind).normal_(0, 0.01, generator=generator)
        self.interaction = nn.Parameter(drawn)
        chains = torch.zeros(persistent_chains, visible_size, **kind) if persistent_chains else None
        self.register_buffer("chains", chains)

    def forward(self, hidden: Tensor) -> RBMFrames:
        """The distribution of the next frame for every state (..., H)."""
        biases = affine(self.state_scale * hidden, self.weight, self.bias).to(self.weight.dtype)
        return RBMFrames.of_layer(biases, self.interaction, self.annealing, self.sampling)

    def nll(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """Sum over frames of -log p, exact or estimated as `RBMFrames.log_prob`; slow, not for training.

        Differentiable to any order where it is exact; where it is estimated, a backward pass raises.

        Raises:
            ValueError: targets other than 0 and 1.
        """
        check_binary(targets)
        return -self(hidden)._log_prob(targets).sum()

    def training_score(
        self, hidden: Tensor, targets: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """An unbiased estimate of the sum over frames of the pseudo-log-likelihood, from every 8th note."""
        return self.estimated_score(self(hidden), targets, generator)

    def estimated_score(
        self, frames: RBMFrames, targets: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """`training_score` of frames (N, V) under distributions that this RBM has made."""
        check_binary(targets)
        stride = min(SCORE_STRIDE, frames.variables)
        place = None if generator is None else generator.device
        first = int(torch.randint(stride, (), generator=generator, device=place))
        notes = torch.arange(first, frames.variables, stride, device=frames.biases.device)
        with torch.no_grad():
            return stride * frames.pseudo_log_prob(targets, notes).sum()

    def training_loss(
        self, hidden: Tensor, targets: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Contrastive divergence: sum over frames of F(data) - F(v), v after k Gibbs steps.

        Its gradient is the approximate gradient of -log p (Hinton 2002; from persistent chains Tieleman
        2008, here under the biases of whatever frame a chain is dealt to); its value means nothing. Nor would
        its second derivatives, which leave out how v depends on the parameters: to ask for them raises
        `NotImplementedError`.

        Args:
            hidden: states (N, H).
            targets: frames (N, V).
            generator: source of randomness.
        """
        return self.contrasted(self(hidden), targets, generator)

    def contrasted(
        self, frames: RBMFrames, targets: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """`training_loss` of frames (N, V) under distributions that this RBM has made."""
        check_binary(targets)
        data = targets.to(self.weight.dtype)
        with full_precision(data.device):
            values = self._chained(frames, data, generator)
            if recorder(self.interaction) is not None:  # which refuses second derivatives itself
                return (frames.free_energy(data) - frames.free_energy(values)).sum()
            parts = [frames.first_order().free_energy(x) for x in (data, values)]
            return (parts[0] - parts[1]).sum()

    @torch.no_grad()
    def _chained(self, frames: RBMFrames, data: Tensor, generator: torch.Generator | None) -> Tensor:
        """The frames that the chains come to after k steps, (N, V)."""
        b, c = frames.split_biases()
        chosen = None if self.chains is None else self._deal(len(data), generator)
        values = data if chosen is None or self.chains is None else self.chains[chosen]
        for _ in range(self.cd_steps):
            values = gibbs_step(values, b, c, self.interaction, generator, frames.units)
        if chosen is not None and self.chains is not None:
            self.chains[chosen] = values
        return values

    def mean_field_loss(self, hidden: Tensor, targets: Tensor, *, asked: Tensor | None = None) -> Tensor:
        """Cross-entropy of the visible biases alone: what the RNN is pre-trained on.

        Of the notes that are `asked` for alone, boolean (N, V), where others are certain.
        """
        check_binary(targets, shares=True)
        visible = self.visible_size
        logits = F.linear(self.state_scale * hidden, self.weight[:visible], self.bias[:visible])
        weight = None if asked is None else asked.to(logits.dtype)
        return F.binary_cross_entropy_with_logits(logits, targets.to(logits.dtype), weight, reduction="sum")

    def without_rnn(self, hidden: Tensor) -> Tensor:
        """States (N, H) of zero."""
        return hidden * 0

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """See `objectives_of`."""
        return objectives_of(self)

    @classmethod
    def from_settings(cls, spec: OutputSpec) -> "RBM":
        """See `ostinato.nn.outputs.base.FromSettings`."""
        return cls(
            spec.hidden_size,
            spec.size,
            spec.settings["rbm_size"],
            cd_steps=spec.settings["cd_steps"],
            persistent_chains=spec.settings["persistent_chains"],
            annealing=Annealing(
                spec.settings["ais_steps"], spec.settings["ais_chains"], spec.settings["ais_frames"]
            ),
            gibbs_steps=spec.settings["gibbs_steps"],
            state_scale=spec.settings["state_scale"],
            generator=spec.generator,
            dtype=spec.dtype,
        )

    def initialize_bias_(self, frequencies: Tensor) -> None:
        """Set the visible biases to the log-odds of the note frequencies (V,)."""
        with torch.no_grad():
            self.bias[: self.visible_size].copy_(torch.logit(frequencies.to(self.bias.dtype)))

    def extra_repr(self) -> str:
        """The sizes."""
        return f"{self.hidden_size}, {self.visible_size}, rbm_size={self.rbm_size}"

    def _deal(self, frames: int, generator: torch.Generator | None) -> Tensor:
        """A persistent chain for each frame; where there are more frames than chains, some serve twice."""
        assert self.chains is not None
        count = len(self.chains)
        order = permutation(count, self.chains.device, generator)
        return order.repeat(-(-frames // count))[:frames]


class Contrasted(Protocol):
    """An output layer that is trained by contrastive divergence, after pre-training: RBMs."""

    def training_loss(self, hidden: Tensor, targets: Tensor, generator: torch.Generator | None) -> Tensor:
        """Contrastive divergence."""

    def training_score(self, hidden: Tensor, targets: Tensor, generator: torch.Generator | None) -> Tensor:
        """The score to watch, summed over frames."""

    def mean_field_loss(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy of the visible biases alone."""

    def without_rnn(self, hidden: Tensor) -> Tensor:
        """What the layer reads when the RNN says nothing."""


def objectives_of(layer: Contrasted) -> tuple[Objective, ...]:
    """First the RBM alone learns single frames, then the RNN the visible biases, then both together."""
    score = "pseudo_log_likelihood"

    def watched(loss: Tensor, hidden: Tensor, values: Tensor, generator: torch.Generator | None) -> Cost:
        return Cost(loss, -layer.training_score(hidden.detach(), values, generator))

    def frames_alone(hidden: Tensor, values: Tensor, generator: torch.Generator | None) -> Cost:
        return together(layer.without_rnn(hidden), values, generator)

    def visible_biases(hidden: Tensor, values: Tensor, generator: torch.Generator | None) -> Cost:
        return watched(layer.mean_field_loss(hidden, values), hidden, values, generator)

    def together(hidden: Tensor, values: Tensor, generator: torch.Generator | None) -> Cost:
        return watched(layer.training_loss(hidden, values, generator), hidden, values, generator)

    return (
        Objective("frames", frames_alone, score),
        Objective("rnn", visible_biases, score),
        Objective(JOINT, together, score),
    )
