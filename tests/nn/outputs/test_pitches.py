import itertools

import pytest
import torch
from torch import Tensor

from ostinato.nn.outputs import BernoulliFrames, NADEFrames, RBMFrames

V, J, LEADING = 6, 4, (3, 2)


def outputs() -> dict[str, BernoulliFrames | NADEFrames | RBMFrames]:
    draw = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    downwards = torch.arange(V - 1, -1, -1)
    return {
        "bernoulli": BernoulliFrames(normal(*LEADING, V)),
        "nade": NADEFrames(normal(*LEADING, V + J), normal(V, J), normal(V, J)),
        "nade, high to low": NADEFrames(normal(*LEADING, V + J), normal(V, J), normal(V, J), downwards),
        "rbm": RBMFrames(normal(*LEADING, V + J), normal(V, J)),
    }


def by_enumeration(frames: BernoulliFrames | NADEFrames | RBMFrames, value: Tensor, note: int) -> Tensor:
    """p(the notes of `value` | those without `note`, and one note more) from the table of all 2^V frames."""
    every = torch.tensor(list(itertools.product([0, 1], repeat=V)), dtype=torch.uint8)
    table = torch.stack([frames.log_prob(v.expand(*LEADING, V)) for v in every], -1).exp()
    others = value.clone()
    others[note] = 0
    fits = (every.sum(1) == others.sum() + 1) & (every >= others).all(1)
    assert fits.sum() == V - others.sum()
    return table[..., (every == value).all(1)].squeeze(-1) / table[..., fits].sum(-1)


@pytest.mark.parametrize("name", outputs())
@pytest.mark.parametrize("value", [[1, 0, 1, 1, 0, 0], [0, 0, 0, 0, 1, 0], [1, 1, 1, 1, 1, 1]])
def test_they_are_those_of_an_enumeration_of_all_frames(name: str, value: list[int]) -> None:
    frames, wanted = outputs()[name], torch.tensor(value, dtype=torch.uint8)
    found = frames.pitch_log_probs(wanted.expand(*LEADING, V))
    assert found.shape == (*LEADING, V)
    for note in range(V):
        if value[note]:
            torch.testing.assert_close(found[..., note].exp(), by_enumeration(frames, wanted, note))
        else:
            assert (found[..., note] == 0).all()


@pytest.mark.parametrize("name", outputs())
def test_many_frames_are_worked_on_in_pieces(name: str) -> None:
    """Each frame's values do not depend on the others'; silent frames have none."""
    frames = outputs()[name]
    draw = torch.Generator().manual_seed(1)
    value = (torch.rand(50, V, generator=draw) < 0.5).to(torch.uint8)
    value[7] = 0
    if isinstance(frames, BernoulliFrames):
        together: BernoulliFrames | NADEFrames | RBMFrames = BernoulliFrames(
            frames.logits[0, 0].expand(50, -1)
        )
    elif isinstance(frames, NADEFrames):
        biases = frames.biases[0, 0].expand(50, -1)
        together = NADEFrames(biases, frames.encoder, frames.decoder, frames.order)
    else:
        together = RBMFrames(frames.biases[0, 0].expand(50, -1), frames.weight)
    found = together.pitch_log_probs(value)
    assert (found[7] == 0).all()
    for t in (0, 20, 49):
        alone = frames.pitch_log_probs(value[t].expand(*LEADING, V))[0, 0]
        torch.testing.assert_close(found[t], alone)
