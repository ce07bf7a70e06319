import numpy as np
import pytest

from ostinato.domains.text.reading.overlap import overlap, seen_tokens


@pytest.mark.parametrize("run", [1, 2, 5])
def test_runs_are_those_that_a_search_by_hand_finds(run) -> None:
    rng = np.random.default_rng(run)
    training, tokens = rng.integers(0, 4, 60), rng.integers(0, 4, 80)
    known = {tuple(training[k : k + run]) for k in range(len(training) - run + 1)}
    expected = np.zeros(len(tokens), bool)
    for begin in range(len(tokens) - run + 1):
        if tuple(tokens[begin : begin + run]) in known:
            expected[begin : begin + run] = True
    assert seen_tokens(training, tokens.astype(np.int32), run).tolist() == expected.tolist()


def test_orders_and_small_ids_are_told_apart() -> None:
    rng = np.random.default_rng(0)
    training = rng.integers(0, 200, 200_000)
    tokens = rng.integers(0, 200, 100_000)
    # by chance a run of 8 of 200 ids comes again once in 200^8 / 200,000 places
    assert not seen_tokens(training, tokens, 8).any()
    assert not seen_tokens(np.arange(100), np.arange(100)[::-1], 3).any()
    assert not seen_tokens(np.arange(5), np.arange(5), 8).any()


def test_a_sentence_counts_by_the_share_of_its_tokens() -> None:
    training = np.array([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0])
    half = [9, 9, 9, 9, 9, 9, 9, 1, 2, 3, 4, 5, 6, 7, 8, 0]
    less = [9, 9, 9, 9, 9, 9, 9, 9, 1, 2, 3, 4, 5, 6, 7, 8, 0]
    found = overlap(training, np.array(half + less), "words")
    assert found.shares.tolist() == pytest.approx([8 / 16, 8 / 17])
    assert found.seen.tolist() == [True, False]
