"""Splits, scaling, and what the network reads: who sees what, and what counts how often."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ostinato.data.sequences import Sequence
from ostinato.domains.series.reading import Collection
from ostinato.domains.series.scaling import Scaling
from ostinato.domains.series.splits import CONTEXT, Part, pieces, select, split
from ostinato.domains.series.streams import SeriesStreams, cut_for, encode
from ostinato.errors import UserError

NAN = math.nan


def collection(*lengths: int, size: int = 2) -> Collection:
    draw = np.random.default_rng(0)
    series = tuple(Sequence(f"s{k}", draw.standard_normal((n, size))) for k, n in enumerate(lengths))
    return Collection("made", tuple("xyz"[:size]), series, "a test")


# Splits


def test_whole_series_are_dealt_by_seed():
    given_ = collection(*[30] * 10)
    data = split(given_)
    assert [len(data[name]) for name in ("train", "valid", "test")] == [6, 2, 2]
    found = {p.name: p for _, parts in data.items() for p in parts}
    assert sorted(found) == sorted(s.name for s in given_.series)
    assert all(p.context == 0 for p in found.values())
    assert data.kind == "series"
    assert data.details["columns"] == ["x", "y"]
    assert data.details["missing"] is False
    assert split(given_).version == data.version
    assert any(split(given_, seed).version != data.version for seed in (1, 2, 3))


def test_equal_series_are_in_the_same_split():
    base = collection(*[30] * 6)
    copies = tuple(Sequence(f"copy of {s.name}", s.values.copy()) for s in base.series)
    both = Collection("made", base.columns, base.series + copies, "a test")
    for seed in range(5):
        data = split(both, seed)
        where = {p.name: name for name, parts in data.items() for p in parts}
        assert all(where[s.name] == where[f"copy of {s.name}"] for s in base.series)


@pytest.mark.parametrize("lengths", [(1000,), (1000, 400), (30,)])
def test_one_or_two_series_are_cut_in_time_and_every_step_is_scored_once(lengths):
    given_ = collection(*lengths)
    data = split(given_)
    for whole in given_.series:
        parts = {name: p for name, ps in data.items() for p in ps if p.name.startswith(whole.name)}
        scored = np.concatenate([parts[n].values[parts[n].context :] for n in ("train", "valid", "test")])
        np.testing.assert_array_equal(scored, whole.values)
        assert parts["train"].context == 0
        assert parts["valid"].context == min(CONTEXT, len(whole) * 3 // 5)
        end = len(parts["train"])
        np.testing.assert_array_equal(
            parts["valid"].values[: parts["valid"].context],
            whole.values[end - parts["valid"].context : end],
        )
        assert parts["train"].scored > parts["valid"].scored > 0


def test_what_cannot_be_split():
    with pytest.raises(UserError, match=r"at least 25 steps in each; found 1 series, s0 of 24 steps"):
        split(collection(24))
    empty = Collection("made", ("x",), (Sequence("a", np.full((50, 1), NAN)),), "a test")
    with pytest.raises(UserError, match="found none that is not missing"):
        split(empty)


@pytest.mark.parametrize("lengths", [(300,), (30, 30, 30, 30)])
def test_a_column_that_is_constant_in_training_is_left_out_and_said(lengths):
    made = collection(*lengths, size=3)
    for series in made.series:
        series.values[:, 1] = 0.1
        series.values[::7, 1] = NAN
    later = made.series[-1].values
    later[-1, 1] = 5.0 if len(lengths) == 1 else 0.1
    data = split(replace(made, notices=("before",)))
    assert data.details["columns"] == ["x", "z"]
    assert data.details["notices"] == ["before", "constant in training and left out: 'y'"]
    assert data.details["missing"] is False
    for _, parts in data.items():
        for part in parts:
            assert part.values.shape[1] == 2
    last = data.test[-1]
    (whole,) = (s.values for s in made.series if last.name.startswith(s.name))
    np.testing.assert_array_equal(last.values[-3:], whole[-3:, [0, 2]])
    for series in made.series:
        series.values[:] = 3
    with pytest.raises(UserError, match="expected a column that changes in a test, found none in training"):
        split(made)
    for series in made.series:
        series.values[:, 2] = NAN
    with pytest.raises(UserError, match="expected values in column 'z' of the training series of a test"):
        split(made)


def test_a_model_finds_its_columns_by_name():
    made = collection(30, 40, size=3)
    chosen = select(made, ("z", "x"))
    assert chosen.columns == ("z", "x")
    np.testing.assert_array_equal(chosen.series[1].values, made.series[1].values[:, [2, 0]])
    with pytest.raises(UserError, match="expected the columns z, w in a test, found x, y, z"):
        select(made, ("z", "w"))


def test_a_series_without_values_is_left_out_and_said():
    base = collection(*[30] * 4)
    hollow = (*base.series, Sequence("hollow", np.full((30, 2), NAN)))
    data = split(Collection("made", base.columns, hollow, "a test"))
    assert len(data) == 4
    assert [str(s) for s in data.skipped] == ["hollow: every value is missing"]


@given(st.integers(1, 400), st.integers(0, 150), st.integers(1, 12), st.integers(0, 500))
def test_pieces_score_every_step_once(scored, context, count, turn):
    values = np.arange(scored + context, dtype=float).reshape(-1, 1)
    found = pieces(Part("a", values, context=context), count, turn)
    np.testing.assert_array_equal(np.concatenate([p.values for p in found]), values)
    assert [p.context for p in found] == [context] + [0] * (len(found) - 1)
    assert all(p.scored > 0 for p in found)
    assert len(found) <= count + 1
    assert max(p.scored for p in found) <= -(-scored // min(count, scored))


# Scaling


def test_training_is_standardised_over_observed_values_and_comes_back():
    values = np.array([[1.0, 10.0, 5.0], [3.0, NAN, 5.0], [5.0, 30.0, 5.0]])
    scaling = Scaling.fit(("x", "y", "z"), [values[:1], values[1:]])
    scaled = scaling.apply(values)
    np.testing.assert_allclose(np.nanmean(scaled, 0), 0, atol=1e-12)
    np.testing.assert_allclose(np.nanstd(scaled, 0), [1, 1, 0], atol=1e-12)
    np.testing.assert_allclose(scaling.invert(scaled), values)
    assert scaling.scale[2] == 1
    again = Scaling.from_dict(json.loads(json.dumps(scaling.to_dict())))
    assert again.mean.tobytes() == scaling.mean.tobytes()
    assert again.scale.tobytes() == scaling.scale.tobytes()
    assert again.columns == scaling.columns


def test_a_large_offset_and_a_constant_that_is_no_binary_fraction():
    values = np.column_stack([1e15 + np.array([0.0, 1.0] * 50), np.full(100, 0.1)])
    scaling = Scaling.fit(("x", "y"), [values])
    assert scaling.scale.tolist() == [0.5, 1.0]
    assert scaling.mean[0] == 1e15 + 0.5


def test_the_jacobian_is_of_the_observed_columns():
    scaling = Scaling(("x", "y"), np.zeros(2), np.array([2.0, 10.0]))
    observed = np.array([[True, True], [True, False], [False, False]])
    np.testing.assert_allclose(scaling.log_scale(observed), [math.log(20), math.log(2), 0])


def test_columns_that_cannot_be_scaled():
    with pytest.raises(UserError, match="expected values in column 'y' of the training series, found none"):
        Scaling.fit(("x", "y"), [np.array([[1.0, NAN]])])
    with pytest.raises(UserError, match="can be squared in column 'x', found some too large"):
        Scaling.fit(("x",), [np.array([[1e200], [-1e200]])])
    with pytest.raises(UserError, match="check its unit"):
        Scaling(("x",), np.zeros(1), np.ones(1)).apply(np.array([[1e13]]))
    with pytest.raises(UserError, match="check its unit"):
        Scaling(("x",), np.zeros(1), np.full(1, 1e-300)).apply(np.array([[NAN], [1e300]]))
    for wrong in ({}, {"columns": ["x"], "mean": [0], "scale": [0]}, {"columns": 3}):
        with pytest.raises(UserError, match="a mean and a scale above 0 each"):
            Scaling.from_dict(wrong)


# Streams


def test_a_missing_value_is_read_as_zero_and_marked():
    previous = torch.tensor([[[1.5, NAN]], [[2.0, 3.0]]])
    starts = torch.tensor([[False], [True]])
    assert encode(previous, starts, with_mask=False).tolist() == [[[1.5, 0]], [[0, 0]]]
    assert encode(previous, starts, with_mask=True).tolist() == [[[1.5, 0, 1, 0]], [[0, 0, 0, 0]]]


def identity(size: int) -> Scaling:
    return Scaling(tuple("xyz"[:size]), np.zeros(size), np.ones(size))


@settings(max_examples=40)
@given(
    lengths=st.lists(st.integers(0, 300), min_size=1, max_size=6).filter(any),
    streams=st.integers(1, 6),
    segment_length=st.integers(1, 90),
    seed=st.none() | st.integers(0, 20),
)
def test_every_observed_step_counts_once_and_is_predicted_from_the_one_before(
    lengths, streams, segment_length, seed
):
    draw = np.random.default_rng(7)
    # every value is of one place only; some are missing, some whole steps
    values = draw.permutation(2 * sum(lengths)).reshape(-1, 2).astype(float)
    holes = draw.random(values.shape) < 0.1
    series = np.split(np.where(holes, NAN, values), np.cumsum(lengths)[:-1])
    parts = [Part(f"s{k}", x, context=min(len(x), k % 3)) for k, x in enumerate(series)]
    if not any(p.scored for p in parts):
        return
    generator = None if seed is None else np.random.default_rng(seed)
    layout = SeriesStreams(
        parts, identity(2), streams, segment_length, generator, with_mask=True, dtype=torch.float64
    )
    before = {}
    expected = []
    for part in parts:
        for t in range(len(part)):
            before[tuple(np.nan_to_num(part.values[t], nan=-1))] = part.values[t - 1] if t else None
            if t >= part.context and not np.isnan(part.values[t]).all():
                expected.append(tuple(np.nan_to_num(part.values[t], nan=-1)))
    counted, begun = [], 0
    for segment in layout:
        mask = torch.ones_like(segment.starts) if segment.mask is None else segment.mask
        for target, read, start in zip(
            segment.targets[mask].numpy(),
            segment.inputs[mask].numpy(),
            segment.starts[mask].tolist(),
            strict=True,
        ):
            key = tuple(np.nan_to_num(target, nan=-1))
            counted.append(key)
            was = before[key]
            if start:
                # of a series, or of a piece of one
                assert not read.any()
                begun += 1
            else:
                assert was is not None
                np.testing.assert_array_equal(read[:2], np.nan_to_num(was))
                np.testing.assert_array_equal(read[2:], ~np.isnan(was))
    assert sorted(counted) == sorted(expected)
    assert layout.frames == len(expected)
    assert begun <= 2 * max(streams, len(parts))


def test_one_series_fills_all_streams_and_is_cut_elsewhere_each_epoch():
    part = Part("a", np.random.default_rng(0).standard_normal((1000, 1)))
    layouts = [
        SeriesStreams([part], identity(1), 8, 50, np.random.default_rng(seed), with_mask=False)
        for seed in (0, 0, 1)
    ]
    assert layouts[0].streams == 8
    assert layouts[0].frames == 1000
    first, again, other = (layout[0].targets for layout in layouts)
    assert torch.equal(first, again)
    assert first.shape != other.shape or not torch.equal(first, other)
    assert first.dtype == torch.float32
    assert [len(cut_for([part], n)) for n in (1, 3)] == [1, 3]
    assert "a steps 0-" in layouts[0].describe(0)
