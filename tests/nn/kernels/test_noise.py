"""Noise by counter: the published generator, the definition, and the distribution it is to have."""

import math

import pytest
import torch

from ostinato.nn.kernels import cpu, noise

native = pytest.mark.skipif(not cpu.has_noise(), reason="the extension is not built")


@pytest.fixture
def by_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "has_noise", lambda: False)


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [  # the known answers that its authors publish, Random123's kat_vectors
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((2**32 - 1,) * 4, (2**32 - 1,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox(counter: tuple[int, ...], key: tuple[int, int], expected: tuple[int, ...]) -> None:
    made = noise.philox(*(torch.tensor(x) for x in counter), key[0] + (key[1] << 32))
    assert tuple(int(x) for x in made) == expected


@pytest.mark.usefixtures("by_definition")
def test_a_number_is_made_of_the_words_that_the_page_says() -> None:
    key, t, b, h = 12345678901234567890, 2, 1, 83  # word 1 of counter 16 + 3
    words = noise.philox(*(torch.tensor(x) for x in (19, b, t, 0)), key)
    radius = math.sqrt(-2 * math.log(((int(words[0]) >> 1) + 0.5) / 2**31))
    expected = radius * math.sin(2 * math.pi * int(words[1]) / 2**32)
    assert noise.normal(key, (3, 2, 90), torch.float64)[t, b, h].item() == pytest.approx(expected, rel=1e-14)


@native
@pytest.mark.parametrize("size", [(1, 1, 1), (5, 3, 64), (7, 2, 100), (2, 17, 600)])
@pytest.mark.parametrize("key", [0, 1, 2**63 + 12345678901, 2**64 - 1])
@pytest.mark.parametrize("instruction_set", cpu.instruction_sets())
def test_native_code_follows_the_definition(
    size: tuple[int, int, int], key: int, instruction_set: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu, "extension", lambda: cpu.Kernel(instruction_set).native)
    wide, narrow = (noise.normal(key, size, dtype) for dtype in (torch.float64, torch.float32))
    monkeypatch.setattr(cpu, "has_noise", lambda: False)
    expected = noise.normal(key, size, torch.float64)
    torch.testing.assert_close(wide, expected, rtol=1e-13, atol=1e-14)
    # a radius near zero is the root of a difference
    torch.testing.assert_close(narrow.double(), expected, rtol=1e-5, atol=1e-4)
    assert (narrow - expected).abs().mean() < 1e-6


@native
def test_threads_and_the_rest_of_a_size_change_no_number() -> None:
    expected = noise.normal(3, (9, 4, 200), torch.float32)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert torch.equal(noise.normal(3, (9, 4, 200), torch.float32), expected)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(noise.normal(3, (2, 3, 70), torch.float32), expected[:2, :3, :70])


def test_it_is_standard_normal_and_independent() -> None:
    x = noise.normal(11, (64, 64, 128), torch.float64)
    count = x.numel()
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96), (6, 15, 10170)):
        assert abs((x**power).mean().item() - moment) < 4 * math.sqrt(variance / count)
    grid = torch.linspace(-3, 3, 61, dtype=torch.float64)
    below = torch.stack([(x < z).double().mean() for z in grid])
    assert (below - torch.special.ndtr(grid)).abs().max() < 1.63 / math.sqrt(count)  # Kolmogorov, 1 %
    for other in (
        x.roll(1, 0),
        x.roll(1, 1),
        x.roll(1, 2),
        x.roll(16, 2),
        noise.normal(12, x.shape, x.dtype),
    ):
        for f in (lambda y: y, torch.square, torch.abs):
            a, b = (f(y) - f(y).mean() for y in (x, other))
            assert abs((a * b).mean() / (a.std() * b.std())) < 4.5 / math.sqrt(count)


def test_nothing_to_make() -> None:
    assert noise.normal(0, (0, 2, 3), torch.float32).shape == (0, 2, 3)
