import numpy as np
import pytest
from scipy.stats import norm

from ostinato.evaluation.bootstrap import bootstrap_over_seeds, paired_bootstrap
from ostinato.evaluation.scores import pooled_score


def totals(songs, effect, seed=0):
    """Two systems on songs of very different difficulty, which they share."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(20, 60, songs).astype(float)
    difficulty = rng.normal(-9, 2, songs)
    noise = rng.normal(0, 0.3, (2, songs))
    return counts * (difficulty + effect + noise[0]), counts * (difficulty + noise[1]), counts


def test_the_error_is_that_of_the_linearised_ratio() -> None:
    first, second, counts = totals(200, 0.05)
    found = paired_bootstrap(first, second, counts)
    known = pooled_score(first - second, counts, "", "")
    assert found.value == pytest.approx(known.value, abs=1e-12)
    assert found.standard_error == pytest.approx(known.standard_error, rel=0.05)
    low, high = found.interval
    assert (high - low) / 2 == pytest.approx(1.96 * known.standard_error, rel=0.05)
    assert found.p_value == pytest.approx(2 * norm.sf(abs(known.value) / known.standard_error), abs=0.03)


def test_pairing_sees_what_the_songs_difficulty_hides() -> None:
    first, second, counts = totals(100, 0.2)
    found = paired_bootstrap(first, second, counts)
    alone = pooled_score(first, counts, "", "").standard_error
    assert found.standard_error < alone / 3
    assert found.interval[0] > 0
    assert found.p_value < 0.01


def test_equal_systems_do_not_differ_and_order_turns_the_sign() -> None:
    first, second, counts = totals(30, 0.1)
    same = paired_bootstrap(first, first, counts)
    assert (same.value, same.interval, same.p_value) == (0.0, (0.0, 0.0), 1.0)
    forth, back = paired_bootstrap(first, second, counts), paired_bootstrap(second, first, counts)
    assert forth.value == pytest.approx(-back.value, abs=1e-12)
    assert forth.interval == pytest.approx((-back.interval[1], -back.interval[0]), abs=1e-12)
    assert forth == paired_bootstrap(first, second, counts)


def test_under_no_effect_p_is_below_a_tenth_in_about_a_tenth_of_trials() -> None:
    small = sum(
        paired_bootstrap(*totals(60, 0.0, seed), resamples=400).p_value < 0.1 for seed in range(1, 301)
    )
    assert 15 <= small <= 50  # 30 expected; 4 standard deviations of a binomial are 21


@pytest.mark.parametrize(("songs", "other"), [(1, 1), (3, 4)])
def test_totals_that_do_not_belong_together_are_refused(songs, other) -> None:
    with pytest.raises(ValueError, match="same two or more songs"):
        paired_bootstrap(np.zeros(songs), np.zeros(other), np.ones(songs))


def over_seeds(seeds, effect, seed, songs=60):
    """Two systems, each trained several times: a seed has an effect of its own on all songs, and on each."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(20, 60, songs).astype(float)
    difficulty, liking = rng.normal(-9, 2, songs), rng.normal(0, 0.3, songs)
    sides = [
        counts * (difficulty + shift + rng.normal(0, 0.05, (seeds, 1)) + rng.normal(0, 0.1, (seeds, songs)))
        for shift in (effect + liking, 0.0)
    ]
    return sides[0], sides[1], counts


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_the_interval_over_seeds_holds_the_effect_as_often_as_it_says(seeds) -> None:
    held = 0
    for seed in range(300):
        low, high = bootstrap_over_seeds(*over_seeds(seeds, 0.1, seed), resamples=400).interval
        held += low <= 0.1 <= high
    # 285 expected; it may hold it more often, with few seeds, but not less: 4 standard deviations are 15
    assert held >= 270


def test_one_training_says_nothing_about_seeds() -> None:
    first, second, counts = over_seeds(3, 0.1, 0)
    assert bootstrap_over_seeds(first, second, counts).standard_error > 0
    for sides in ((first[:1], second), (first, second[:1])):
        with pytest.raises(ValueError, match="seeds of either system"):
            bootstrap_over_seeds(*sides, counts)
    with pytest.raises(ValueError, match="totals"):
        bootstrap_over_seeds(first, second[:, :-1], counts)
