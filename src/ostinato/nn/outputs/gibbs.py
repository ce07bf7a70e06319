"""Block Gibbs steps of RBMs, and the many Bernoulli draws that sampling and annealing take.

Shapes: N rows (frames, or chains of frames), V visible, J hidden units.
"""

import numpy as np
import torch
from torch import Tensor

from ostinato.nn.outputs.visible_units import BINARY, VisibleUnits

# Steps of the mean-field iteration that finds independent notes near an RBM.
MEAN_FIELD_STEPS = 10


class BernoulliDraws:
    """Independent 0s and 1s, several times as fast as from a generator of PyTorch on the CPU.

    The bits are those of numpy's SFC64, seeded by one number of the generator: 32 for each draw, compared
    with the probability as a float32 uniform would be. The same generator gives the same draws on every
    device.

    Args:
        generator: source of the seed.

    Example:
        >>> draws = BernoulliDraws(torch.Generator().manual_seed(0))
        >>> draws(torch.tensor([0.0, 1.0, 1.0])).int().tolist()
        [0, 1, 1]
    """

    def __init__(self, generator: torch.Generator | None) -> None:
        place = None if generator is None else generator.device
        seed = int(torch.randint(2**63 - 1, (), generator=generator, device=place))
        self._bits = np.random.SFC64(seed)

    def __call__(self, p: Tensor) -> Tensor:
        """1 with probability p, of p's shape, type and device."""
        count = p.numel()
        raw = self._bits.random_raw((count + 1) // 2).view(np.int32)[:count].reshape(p.shape)
        drawn = torch.from_numpy(raw).to(p.dtype if p.dtype == torch.float64 else torch.float32)
        # minus a uniform number in [0, 1): where p is larger, the sum is above 0, and at most 1
        drawn = drawn.mul_(2.0**-32).sub_(0.5).to(p.device)
        return drawn.add_(p).ceil_().clamp_(0, 1).to(p.dtype)


def gibbs_chain(
    values: Tensor,
    visible_bias: Tensor,
    hidden_bias: Tensor,
    weight: Tensor,
    steps: int,
    draws: BernoulliDraws,
    units: VisibleUnits = BINARY,
) -> Tensor:
    """The notes (N, V) after some block steps: hidden units given the notes, then notes given these.

    Args:
        values: the notes that the chains are at, (N, V), of the biases' type.
        visible_bias: b, (N, V).
        hidden_bias: c, (N, J).
        weight: W, (V, J).
        steps: how many.
        draws: source of randomness.
        units: what the visible ones are.
    """
    for _ in range(steps):
        hidden = draws(torch.sigmoid(torch.addmm(hidden_bias, values, weight)))
        values = units.drawn(torch.addmm(visible_bias, hidden, weight.T), draws)
    return values


def mean_field_logits(
    visible_bias: Tensor, hidden_bias: Tensor, weight: Tensor, units: VisibleUnits = BINARY
) -> Tensor:
    """Logits (N, V) of independent units near the RBM: a few damped steps of mean field."""
    hidden = torch.sigmoid(hidden_bias)
    for _ in range(MEAN_FIELD_STEPS):
        visible = units.mean(visible_bias + hidden @ weight.T)
        hidden = 0.5 * (hidden + torch.sigmoid(hidden_bias + visible @ weight))
    return visible_bias + hidden @ weight.T
