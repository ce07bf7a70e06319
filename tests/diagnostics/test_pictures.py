"""Axes of pictures hold all that is drawn on them."""

import pytest
from matplotlib.figure import Figure

from ostinato.diagnostics.pictures import PANELS


@pytest.mark.parametrize("carried", [[0.2, 1.3], [0.2, 40.0], [0.15, 0.16]])
def test_an_axis_of_less_than_a_decade_holds_every_curve(carried):
    axes = Figure().add_subplot()
    PANELS["states"](axes, {"norms": [0.15, 0.16, 0.155], "carried": carried}, {})
    low, high = axes.get_ylim()
    assert low < 0.15
    assert high > max(carried)
    assert high > 9 * low
