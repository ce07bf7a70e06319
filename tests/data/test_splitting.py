from collections import Counter, defaultdict

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components

from ostinato.data.sequences import Sequence
from ostinato.data.splitting import assign, connected, cut_in_time, deal, same
from ostinato.errors import UserError

GROUPS = st.lists(st.integers(0, 8), min_size=3, max_size=80).filter(lambda groups: len(set(groups)) >= 3)


@given(GROUPS, st.integers(0, 5))
def test_groups_stay_together_and_no_split_is_empty(groups, seed):
    where = assign([f"{k}" for k in range(len(groups))], groups, seed=seed)
    found = defaultdict(set)
    for group, split in zip(groups, where, strict=True):
        found[group].add(split)
    assert all(len(splits) == 1 for splits in found.values())
    assert set(where) == {"train", "valid", "test"}


@given(st.integers(5, 300), st.integers(0, 5))
def test_shares_of_single_pieces_are_exact(count, seed):
    where = Counter(assign([f"{k}" for k in range(count)], range(count), seed=seed))
    assert abs(where["train"] - 0.6 * count) <= 1
    assert abs(where["test"] - 0.2 * count) <= 1


@given(st.permutations(range(30)))
def test_the_order_of_the_pieces_does_not_matter(order):
    names, groups = [f"{k}" for k in range(30)], [k // 2 for k in range(30)]
    expected = dict(zip(names, assign(names, groups), strict=True))
    shuffled = assign([names[k] for k in order], [groups[k] for k in order])
    assert dict(zip([names[k] for k in order], shuffled, strict=True)) == expected


def test_another_seed_another_split():
    names = [f"{k}" for k in range(50)]
    assert len({tuple(assign(names, range(50), seed=seed)) for seed in range(5)}) == 5


def test_the_split_is_the_same_on_every_machine_and_version():
    expected = "valid test train test train train train valid train train"
    assert assign(list("abcdefghij"), range(10)) == expected.split()


@given(st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=30))
def test_connected_is_the_smallest_equivalence(links):
    label = connected(20, links)
    assert all(label[i] == label[j] for i, j in links)
    assert len(set(label)) >= 20 - len({frozenset(link) for link in links if link[0] != link[1]})


@given(st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=30))
def test_connected_numbers_as_scipy_does(links):
    rows, columns = np.array(links, dtype=int).reshape(-1, 2).T
    graph = scipy.sparse.coo_array((np.ones(len(rows)), (rows, columns)), shape=(20, 20))
    assert connected(20, links) == connected_components(graph, directed=False)[1].tolist()


def test_same():
    assert connected(4, same(["a", None, None, "a"])) == [0, 1, 2, 0]


def test_cut_in_time_loses_nothing():
    values = np.arange(57 * 88).reshape(57, 88)
    parts = cut_in_time([Sequence("a", values), Sequence("short", values[:5])])
    assert [[song.name for song in part] for part in parts.values()] == [
        ["a [train]", "short"],
        ["a [valid]"],
        ["a [test]"],
    ]
    joined = np.concatenate([parts[split][0].values for split in ("train", "valid", "test")])
    np.testing.assert_array_equal(joined, values)


def test_too_little_to_cut():
    with pytest.raises(UserError, match="found 1, the longest of 19 frames"):
        cut_in_time([Sequence("a", np.zeros((19, 88)))])


@pytest.mark.parametrize("count", [10, 100, 1000])
def test_another_name_moves_few_of_the_others(count) -> None:
    names = [f"song {k}" for k in range(count)]
    before = dict(zip(names, deal(names, range(count)), strict=True))
    assert Counter(before.values()) == {"train": count * 3 // 5, "valid": count // 5, "test": count // 5}
    more = [*names, "another"]
    after = dict(zip(more, deal(more, range(count + 1)), strict=True))
    assert sum(before[name] != after[name] for name in names) <= 2


@given(st.lists(st.integers(0, 12), min_size=30, max_size=120), st.integers(0, 5))
def test_dealt_groups_are_whole_and_no_split_is_empty(groups, seed) -> None:
    names = [f"{k}" for k in range(len(groups))]
    where = deal(names, groups, seed=seed)
    assert all(len({w for w, g in zip(where, groups, strict=True) if g == group}) == 1 for group in groups)
    if len(set(groups)) >= 3:
        assert set(where) == {"train", "valid", "test"}
    order = np.random.default_rng(seed).permutation(len(names))
    again = deal([names[k] for k in order], [groups[k] for k in order], seed=seed)
    assert [where[k] for k in order] == again


def test_large_groups_are_balanced() -> None:
    groups = [k // 4 for k in range(120)]
    assert Counter(deal([f"{k}" for k in range(120)], groups)) == {"train": 72, "valid": 24, "test": 24}
