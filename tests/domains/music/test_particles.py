import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch

from ostinato.data.side import Side, inputs
from ostinato.domains.music.particles import effective_size, sample_conditioned, systematic
from ostinato.errors import UserError
from ostinato.nn import RNN, SequenceModel
from ostinato.nn.outputs import NADE, Bernoulli, BernoulliFrames

V, T = 3, 4


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


OUTPUTS = ("bernoulli", "low-to-high", "high-to-low")


def tiny(output: str = "bernoulli") -> SequenceModel:
    """Weights large enough that what comes later tells much about what came before."""
    generator = seeded()
    rnn = RNN(V, 5, generator=generator, dtype=torch.float64)
    layer: Any = (
        Bernoulli(5, V, generator=generator, dtype=torch.float64)
        if output == "bernoulli"
        else NADE(5, V, 4, order=output, generator=generator, dtype=torch.float64)
    )
    model = SequenceModel(rnn, layer).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4)
    return model


def constraint() -> tuple[np.ndarray, np.ndarray]:
    """A melody in the top row, a note that must not sound, and a last frame given whole."""
    fixed, values = np.zeros((T, V), bool), np.zeros((T, V), np.uint8)
    fixed[:, 2] = True
    values[:, 2] = [1, 0, 1, 1]
    fixed[2, 0] = True
    fixed[3], values[3] = True, [1, 0, 1]
    return fixed, values


def exact(model: SequenceModel, temperature: float = 1.0) -> tuple[float, np.ndarray]:
    """Probability of the fixed notes and P(note on | fixed), over all 4096 sequences."""
    bits = torch.tensor(list(itertools.product([0, 1], repeat=T * V)), dtype=torch.uint8)
    sequences = bits.reshape(-1, T, V).transpose(0, 1)
    inputs = torch.cat([torch.zeros_like(sequences[:1]), sequences[:-1]])
    with torch.no_grad():
        p = model(inputs)[0].tempered(temperature).log_prob(sequences).sum(0).exp()
    assert float(p.sum()) == pytest.approx(1)
    fixed, values = constraint()
    agree = (
        ((sequences == torch.from_numpy(values)[:, None]) | ~torch.from_numpy(fixed)[:, None]).all(-1).all(0)
    )
    evidence = p[agree].sum()
    marginals = (sequences[:, agree].double() * p[agree, None]).sum(1) / evidence
    return float(evidence), marginals.numpy()


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize(("particles", "threshold"), [(1, 0.0), (2, 1.0), (8, 0.5)])
def test_the_evidence_is_unbiased_with_any_number_of_particles(
    output: str, particles: int, threshold: float
) -> None:
    model, generator = tiny(output), seeded(1)
    evidence, _ = exact(model)
    fixed, values = constraint()
    estimates = np.array(
        [
            math.exp(
                sample_conditioned(
                    model, fixed, values, particles=particles, threshold=threshold, generator=generator
                ).log_evidence
                or 0.0
            )
            for _ in range(300)
        ]
    )
    error = estimates.std(ddof=1) / math.sqrt(len(estimates))
    assert abs(estimates.mean() - evidence) < 4 * error
    # the estimate says something: it is not all noise
    assert error < 0.25 * evidence


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_the_particles_have_the_marginals_of_the_posterior(output: str, temperature: float) -> None:
    model = tiny(output)
    evidence, marginals = exact(model, temperature)
    fixed, values = constraint()
    found = sample_conditioned(
        model, fixed, values, particles=20_000, temperature=temperature, generator=seeded(2)
    )
    np.testing.assert_allclose(found.marginals(), marginals, atol=0.03)
    assert found.log_evidence == pytest.approx(math.log(evidence), abs=0.03)
    # without the weights the marginals are others: the test can fail
    blind = sample_conditioned(
        model, fixed & (np.arange(T) < 0)[:, None], values, particles=20_000, generator=seeded(2)
    )
    assert np.abs(blind.marginals() - marginals)[:2].max() > 0.06


def test_what_is_known_of_each_frame_is_read_along_each_path() -> None:
    generator = seeded(3)
    back = np.array([[0, 0], [1, 0], [2, 1], [2, 3]])
    side = Side(np.random.default_rng(0).integers(0, 2, (T, 2)), back)
    rnn = RNN(side.size(V), 5, generator=generator, dtype=torch.float64)
    model = SequenceModel(rnn, Bernoulli(5, V, generator=generator, dtype=torch.float64)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4)
    fixed, values = constraint()
    evidence, marginals, plain = 0.0, np.zeros((T, V)), 0.0
    for bits in itertools.product([0, 1], repeat=T * V):
        sequence = np.array(bits, np.uint8).reshape(T, V)
        if (sequence == values)[fixed].all():
            for one in (side, Side(side.features, 0 * back)):
                with torch.no_grad():
                    read = torch.from_numpy(inputs(sequence, one))[:, None]
                    p = float(model(read)[0].log_prob(torch.from_numpy(sequence)[:, None]).sum().exp())
                if one is side:
                    evidence, marginals = evidence + p, marginals + p * sequence
                else:
                    plain += p
    found = sample_conditioned(model, fixed, values, side=side, particles=20_000, generator=seeded(2))
    assert found.log_evidence == pytest.approx(math.log(evidence), abs=0.03)
    np.testing.assert_allclose(found.marginals(), marginals / evidence, atol=0.03)
    # what lies further back matters: the test can fail
    assert abs(math.log(plain / evidence)) > 0.1
    with pytest.raises(ValueError, match="a side of 4 frames"):
        sample_conditioned(model, fixed, values, side=side[:3], particles=2, generator=generator)


def test_fixed_notes_are_held_and_a_draw_is_one_of_the_particles() -> None:
    fixed, values = constraint()
    found = sample_conditioned(tiny(), fixed, values, particles=50, generator=seeded())
    assert (found.frames[:, fixed] == values[fixed]).all()
    drawn = found.draw(seeded(3))
    assert (found.frames == drawn).all((1, 2)).any()
    assert found.weights.sum() == pytest.approx(1)


def test_nothing_fixed_is_evidence_1_and_everything_fixed_is_the_likelihood() -> None:
    model = tiny()
    nothing = np.zeros((T, V), bool)
    values = constraint()[1]
    assert sample_conditioned(model, nothing, values, particles=7, generator=seeded()).log_evidence == 0
    found = sample_conditioned(model, ~nothing, values, particles=7, generator=seeded())
    inputs = np.concatenate([np.zeros((1, V), np.uint8), values[:-1]])[:, None]
    with torch.no_grad():
        log_prob = model(torch.from_numpy(inputs))[0].log_prob(torch.from_numpy(values)[:, None]).sum()
    assert found.log_evidence == pytest.approx(float(log_prob))
    assert found.effective_sizes == pytest.approx(7)


def test_paths_follow_their_ancestors() -> None:
    """Two notes are repeated for ever: a path with frames of another particle would change them."""

    class Model:
        def __call__(self, inputs, states=None, starts=None):  # type: ignore[no-untyped-def]
            logits = torch.zeros(inputs.shape, dtype=torch.float64)
            if states is not None:
                logits[..., 1:] = 40.0 * (2.0 * inputs[..., 1:] - 1)
            # a note that is fixed below, and whose probability depends on the particle
            logits[..., 0] = 2.0 * inputs[..., 1] - 1
            return BernoulliFrames(logits), inputs

    fixed = np.zeros((12, V), bool)
    fixed[:, 0] = True
    found = sample_conditioned(
        Model(), fixed, np.ones((12, V)), particles=40, threshold=1.0, generator=seeded()
    )
    assert (found.frames[:, :, 1:] == found.frames[:, :1, 1:]).all()
    assert (np.diff(found.ancestors) >= 0).all()


def test_an_output_that_cannot_weigh_claims_no_evidence() -> None:
    class Clamped:
        def sample_given(self, fixed, values, *, generator):  # type: ignore[no-untyped-def]
            drawn = torch.randint(0, 2, (1, 6, V), generator=generator, dtype=torch.uint8)
            return torch.where(fixed, values.to(torch.uint8), drawn), None

    fixed, values = constraint()
    found = sample_conditioned(
        lambda inputs, states=None, starts=None: (Clamped(), None),
        fixed,
        values,
        particles=6,
        generator=seeded(),
    )
    assert found.log_evidence is None
    assert found.weights == pytest.approx(1 / 6)
    assert (found.frames[:, fixed] == values[fixed]).all()


def test_systematic_resampling_draws_the_expected_numbers() -> None:
    weights = torch.tensor([0.07, 0.5, 0.0, 0.18, 0.25], dtype=torch.float64)
    counts = np.zeros(5)
    for seed in range(2000):
        drawn = np.bincount(systematic(weights.log(), seeded(seed)), minlength=5)
        assert (np.abs(drawn - 5 * weights.numpy()) < 1).all()
        counts += drawn
    np.testing.assert_allclose(counts / 2000 / 5, weights, atol=0.008)
    assert effective_size(weights.log()) == pytest.approx(1 / float((weights**2).sum()))


def test_no_particles_is_a_mistake() -> None:
    with pytest.raises(UserError, match="particles of at least 1"):
        sample_conditioned(tiny(), *constraint(), particles=0, generator=seeded())


def test_fixed_notes_of_other_values_than_0_and_1_are_refused() -> None:
    fixed, values = constraint()
    wrong = np.where(fixed, 9, values)
    with pytest.raises(ValueError, match="values of 0 and 1 where notes are fixed"):
        sample_conditioned(tiny(), fixed, wrong, particles=2, generator=seeded())
    unasked = np.where(fixed, values, 9)
    found = sample_conditioned(tiny(), fixed, unasked, particles=2, generator=seeded())
    assert int(found.frames.max()) <= 1
