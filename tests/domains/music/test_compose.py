import itertools

import numpy as np
import pytest
import torch

from ostinato.data.sequences import Sequence
from ostinato.data.side import Side, inputs
from ostinato.domains.music.compose import generate
from ostinato.domains.music.evaluation.baselines import fit_baseline
from ostinato.errors import UserError
from ostinato.nn import RNN, SequenceModel
from ostinato.nn.outputs import Bernoulli

V = 3


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tiny(seed: int = 0) -> SequenceModel:
    generator = seeded(seed)
    rnn = RNN(V, 5, generator=generator, dtype=torch.float64)
    model = SequenceModel(rnn, Bernoulli(5, V, generator=generator, dtype=torch.float64)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    return model


def every_sequence(steps: int) -> torch.Tensor:
    """All of them, (T, N, V)."""
    bits = torch.tensor(list(itertools.product([0, 1], repeat=steps * V)), dtype=torch.uint8)
    return bits.reshape(-1, steps, V).transpose(0, 1)


def log_prob(model: SequenceModel, frames: torch.Tensor) -> torch.Tensor:
    """Of whole sequences (T, N, V), shape (N,)."""
    inputs = torch.cat([torch.zeros_like(frames[:1]), frames[:-1]])
    with torch.no_grad():
        return model(inputs)[0].log_prob(frames).sum(0)


def test_generated_sequences_follow_the_model() -> None:
    model = tiny()
    sequences = every_sequence(2)
    exact = log_prob(model, sequences).exp()
    assert float(exact.sum()) == pytest.approx(1)
    drawn = generate(model, 2, visible_size=V, count=20_000, generator=seeded(1))
    codes = drawn.reshape(len(drawn), -1) @ (2 ** np.arange(2 * V)[::-1])
    observed = np.bincount(codes, minlength=len(exact))
    expected = exact.numpy() * len(drawn)
    chi_square = ((observed - expected) ** 2 / expected).sum()
    # 63 degrees of freedom: above 103 in one of a thousand
    assert chi_square < 103


def test_generated_sequences_follow_a_model_that_reads_more_than_the_frame_before() -> None:
    side = Side(np.eye(4, dtype=np.uint8), np.array([[0], [0], [2], [3]]))
    rnn = RNN(side.size(V), 5, generator=seeded(4), dtype=torch.float64)
    model = SequenceModel(rnn, Bernoulli(5, V, generator=seeded(5), dtype=torch.float64)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4)
    prime = np.array([[1, 0, 1], [0, 1, 1]], np.uint8)
    after = every_sequence(2)
    expected = np.zeros(after.shape[1])
    for k in range(len(expected)):
        whole = np.concatenate([prime, after[:, k].numpy()])
        with torch.no_grad():
            found = model(torch.from_numpy(inputs(whole, side))[:, None])[0]
        expected[k] = found.log_prob(torch.from_numpy(whole)[:, None])[2:].sum().exp()
    assert expected.sum() == pytest.approx(1)
    drawn = generate(model, 2, visible_size=V, count=20_000, prime=prime, side=side, generator=seeded(1))
    codes = drawn[:, 2:].reshape(len(drawn), -1) @ (2 ** np.arange(2 * V)[::-1])
    observed = np.bincount(codes, minlength=len(expected))
    chi_square = ((observed - expected * len(drawn)) ** 2 / (expected * len(drawn))).sum()
    # 63 degrees of freedom: above 103 in one of a thousand
    assert chi_square < 103
    with pytest.raises(ValueError, match="a side of 4 frames"):
        generate(model, 2, visible_size=V, prime=prime, side=side[:3], generator=seeded())


def test_a_continuation_follows_the_model_given_its_beginning() -> None:
    model = tiny()
    prime = np.array([[1, 0, 1], [0, 1, 1]], np.uint8)
    inputs = torch.cat([torch.zeros(1, 1, V, dtype=torch.uint8), torch.from_numpy(prime)[:, None]])
    with torch.no_grad():
        expected = model(inputs)[0].mean[-1, 0]
    drawn = generate(model, 3, visible_size=V, count=20_000, prime=prime, generator=seeded())
    assert drawn.shape == (20_000, 5, V)
    assert (drawn[:, :2] == prime).all()
    np.testing.assert_allclose(drawn[:, 2].mean(0), expected, atol=0.015)


def test_temperature_divides_the_logits() -> None:
    model = tiny()
    with torch.no_grad():
        logits = model(torch.zeros(1, 1, V, dtype=torch.uint8))[0].logits[0, 0]
    drawn = generate(model, 1, visible_size=V, count=20_000, temperature=2.0, generator=seeded())
    np.testing.assert_allclose(drawn[:, 0].mean(0), torch.sigmoid(logits / 2), atol=0.015)
    cold = generate(model, 1, visible_size=V, count=50, temperature=1e-3, generator=seeded())
    assert (cold[:, 0] == (logits > 0).numpy()).all()


def test_a_seed_makes_one_piece_and_another_seed_another() -> None:
    first, again, other = (generate(tiny(), 20, visible_size=V, generator=seeded(seed)) for seed in (5, 5, 6))
    assert (first == again).all()
    assert (first != other).any()


def test_a_baseline_generates_too() -> None:
    songs = [Sequence("a", np.tile(np.array([[1, 0, 0]], np.uint8), (99, 1)))]
    drawn = generate(
        fit_baseline("1-gram", songs), 50, visible_size=V, prime=songs[0].values, generator=seeded()
    )
    assert drawn[:, 99:, 0].mean() > 0.9


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"steps": 5, "count": 0}, {"steps": 5, "temperature": 1e-4}])
def test_what_cannot_be_is_said(wrong: dict[str, float]) -> None:
    with pytest.raises(UserError, match="expected"):
        generate(tiny(), visible_size=V, generator=seeded(), **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [9, 0.5, np.nan])
def test_a_beginning_of_other_values_than_0_and_1_is_refused(value: float) -> None:
    with pytest.raises(UserError, match="expected prime of 0 and 1, found other values"):
        generate(tiny(), 3, visible_size=V, prime=np.full((1, V), value), generator=seeded())
