import itertools

import pytest
import torch

from ostinato.nn.outputs import enumeration


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def layers(
    count: int, visible: int, hidden: int, scale: float = 0.7, dtype: torch.dtype = torch.float64
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    draw = seeded()
    sizes = ((count, visible), (count, hidden), (visible, hidden))
    b, c, weight = (torch.randn(*size, generator=draw).to(dtype) for size in sizes)
    return b, c, scale * weight


def brute_force(b: torch.Tensor, c: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """log of the sum of exp(-E(v, h)) over every v and every h."""
    v = torch.tensor(list(itertools.product([0.0, 1], repeat=b.shape[1])), dtype=torch.float64)
    h = torch.tensor(list(itertools.product([0.0, 1], repeat=c.shape[1])), dtype=torch.float64)
    together = v @ weight.double() @ h.T
    return torch.stack(
        [
            ((v @ own_b)[:, None] + (h @ own_c)[None] + together).flatten().logsumexp(0)
            for own_b, own_c in zip(b.double(), c.double(), strict=True)
        ]
    )


@pytest.mark.parametrize(("visible", "hidden"), [(1, 1), (8, 5), (5, 8), (9, 9), (10, 3)])
@pytest.mark.parametrize("scale", [0.7, 4.0])
def test_log_partition_against_every_pair_of_layers(visible: int, hidden: int, scale: float) -> None:
    made = layers(3, visible, hidden, scale)
    torch.testing.assert_close(enumeration.log_partition(*made), brute_force(*made))
    single = enumeration.log_partition(*(x.float() for x in made))
    assert single.dtype is torch.float32
    torch.testing.assert_close(single.double(), brute_force(*made), rtol=1e-6, atol=1e-4)


def test_units_beyond_those_that_are_worked_on_together() -> None:
    # 17 units: 12 to 15 of them in one table, the others around it
    b, c, weight = layers(9, 40, 17)
    states = torch.tensor(list(itertools.product([0.0, 1], repeat=17)), dtype=torch.float64)
    inner = torch.nn.functional.softplus(b[:, None] + (states @ weight.T)[None]).sum(2)
    expected = (c @ states.T + inner).logsumexp(1)
    torch.testing.assert_close(enumeration.log_partition(b, c, weight), expected)
    torch.testing.assert_close(enumeration.log_partition(b[:1], c[:1], weight), expected[:1])


def test_large_weights_take_several_products() -> None:
    b, c, weight = layers(2, 60, 6, scale=25.0)
    states = torch.tensor(list(itertools.product([0.0, 1], repeat=6)), dtype=torch.float64)
    inner = torch.nn.functional.softplus(b[:, None] + (states @ weight.T)[None]).sum(2)
    expected = (c @ states.T + inner).logsumexp(1)
    assert expected.min() > 600  # in one product this would be infinite
    torch.testing.assert_close(enumeration.log_partition(b, c, weight), expected)
    single = enumeration.log_partition(b.float(), c.float(), weight.float())
    torch.testing.assert_close(single.double(), expected, rtol=1e-6, atol=0)
    with pytest.raises(ValueError, match="larger weights"):
        enumeration.log_partition(b, c, 100 * weight)


def test_gradients_are_expectations() -> None:
    made = [x.requires_grad_() for x in layers(2, 5, 4)]
    assert torch.autograd.gradcheck(enumeration.log_partition, made)


def test_what_can_be_enumerated() -> None:
    assert enumeration.is_small(88, 24)
    assert not enumeration.is_small(88, 25)
    assert enumeration.is_quick(88, 20)
    assert not enumeration.is_quick(88, 21)
    with pytest.raises(ValueError, match="at most 24 units"):
        enumeration.log_partition(*layers(1, 25, 25))
    assert enumeration.log_partition(*(x[:0] for x in layers(1, 3, 2)[:2]), layers(1, 3, 2)[2]).shape == (0,)
