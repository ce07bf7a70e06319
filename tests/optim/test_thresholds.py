import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostinato.errors import UserError
from ostinato.optim import FixedThreshold, PassAverage, RunningQuantile

NORMS = st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=40)


@given(NORMS, st.floats(0, 1), st.integers(1, 12), st.floats(0.1, 10))
def test_the_quantile_is_that_of_the_last_norms(norms, quantile, window, factor):
    threshold = RunningQuantile(quantile, window, factor)
    assert threshold.value is None
    for seen in range(1, len(norms) + 1):
        threshold.add(norms[seen - 1])
        expected = factor * np.quantile(norms[max(0, seen - window) : seen], quantile)
        assert threshold.value == pytest.approx(expected, rel=1e-12)
        threshold.end_pass()


def test_what_is_no_norm_changes_no_quantile():
    threshold = RunningQuantile(1.0, window=2)
    for norm in (3.0, math.inf, math.nan, 0.0, 5.0):
        threshold.add(norm)
    assert threshold.state_dict() == {"norms": [3.0, 5.0]}
    assert threshold.value == 5.0


def test_equal_norms_leave_the_window_one_by_one():
    threshold = RunningQuantile(1.0, window=3)
    for norm in (2.0, 2.0, 2.0, 1.0, 1.0):
        threshold.add(norm)
    assert threshold.value == 2.0
    threshold.add(1.0)
    assert threshold.value == 1.0


@pytest.mark.parametrize(("quantile", "window"), [(-0.1, 5), (1.1, 5), (math.nan, 5), (0.5, 0)])
def test_a_quantile_out_of_its_range_is_refused(quantile, window):
    with pytest.raises(UserError, match="quantile in"):
        RunningQuantile(quantile, window)


@given(st.lists(NORMS, min_size=1, max_size=4), st.floats(0.1, 10))
def test_the_average_is_that_of_the_pass_before(passes, factor):
    threshold = PassAverage(factor)
    assert threshold.value is None
    for number, norms in enumerate(passes):
        for seen, norm in enumerate(norms):
            threshold.add(norm)
            source = passes[number - 1] if number else norms[: seen + 1]
            assert threshold.value == pytest.approx(factor * np.mean(source), rel=1e-12)
        threshold.end_pass()
        assert threshold.value == pytest.approx(factor * np.mean(norms), rel=1e-12)


def test_a_pass_without_a_usable_norm_keeps_the_average_before():
    threshold = PassAverage()
    threshold.add(math.inf)
    threshold.end_pass()
    assert threshold.value is None
    threshold.add(4.0)
    threshold.end_pass()
    threshold.add(math.nan)
    threshold.end_pass()
    assert threshold.value == 4.0


@given(NORMS, st.integers(0, 40))
@pytest.mark.parametrize("make", [lambda: RunningQuantile(0.7, 5), PassAverage, lambda: FixedThreshold(2.0)])
def test_it_goes_on_bit_for_bit_from_its_state(make, norms, stop):
    whole, first, second = make(), make(), make()

    def feed(threshold, part, begin):
        values = []
        for place, norm in enumerate(part, begin):
            threshold.add(norm)
            if place % 7 == 6:
                threshold.end_pass()
            values.append(threshold.value)
        return values

    expected = feed(whole, norms, 0)
    found = feed(first, norms[:stop], 0)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert found + feed(second, norms[stop:], min(stop, len(norms))) == expected
    assert second.state_dict() == whole.state_dict()
