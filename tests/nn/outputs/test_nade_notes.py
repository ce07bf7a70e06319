import itertools

import pytest
import torch

from ostinato.nn.outputs import NADE, NADEFrames


def frames(order: str) -> NADEFrames:
    generator = torch.Generator().manual_seed(0)
    output = NADE(4, 6, 5, order=order, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        for parameter in output.parameters():
            parameter.normal_(generator=generator)
        return output(torch.randn(3, 1, 4, generator=generator, dtype=torch.float64))


@pytest.mark.parametrize("order", ["low-to-high", "high-to-low"])
def test_the_notes_log_probabilities_sum_to_the_frames(order: str) -> None:
    given = frames(order)
    every = torch.tensor(list(itertools.product([0, 1], repeat=6)), dtype=torch.uint8)
    notes = given.note_log_probs(every)
    assert notes.shape == (3, 64, 6)
    torch.testing.assert_close(notes.sum(-1), given.log_prob(every))


@pytest.mark.parametrize(("order", "last"), [("low-to-high", 5), ("high-to-low", 0)])
def test_each_is_conditional_on_the_notes_before_it(order: str, last: int) -> None:
    """The last note's two values have probabilities that sum to 1, the others' then do not change."""
    given = frames(order)
    off = torch.tensor([[1, 0, 1, 1, 0, 1]], dtype=torch.uint8)
    off[:, last] = 0
    on = off.clone()
    on[:, last] = 1
    without, sounding = given.note_log_probs(off), given.note_log_probs(on)
    others = [i for i in range(6) if i != last]
    torch.testing.assert_close(without[..., others], sounding[..., others])
    total = without[..., last].exp() + sounding[..., last].exp()
    torch.testing.assert_close(total, torch.ones_like(total))
    # it does depend on them
    assert (given.note_log_probs(1 - off)[..., last] - given.note_log_probs(on)[..., last]).abs().max() > 0.1
