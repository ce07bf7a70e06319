import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

from ostinato.errors import UserError
from ostinato.evaluation.bootstrap import Difference
from ostinato.evaluation.scores import Score
from ostinato.runs import compare
from ostinato.runs.compare import Scored
from ostinato.runs.folder import Run

COUNTS = np.array([10.0, 20.0, 30.0])


def scored(per_frame: float, interval: tuple[float, float] | None = None, **how: bool) -> Scored:
    score = Score(per_frame, "nats/frame", "pooled", 60, 3, 0.1)
    if interval is not None:
        score = score.estimated(0.01, interval, "annealed", bound=True, **how)
    run = Run(Path("runs/a"))
    return Scored((run,), score, per_frame * COUNTS[None], COUNTS, "songs", ordered=False, measure=None)


def difference(one: Scored, first: Scored) -> Difference:
    return compare._compared("test", [first, one], 100, 0).differences[0]


def test_an_interval_widens_the_difference_by_what_is_not_known() -> None:
    exact, bound = scored(-6.5), scored(-6.0, (-6.1, -5.8))
    found = difference(bound, exact)
    assert found.value == pytest.approx(0.5)
    assert found.interval == pytest.approx((0.4, 0.7))
    assert found.p_value == 0.01
    turned = difference(exact, bound)
    assert turned.interval == pytest.approx((-0.7, -0.4))
    # two of them, and nothing is sure
    other = difference(bound, scored(-6.05, (-6.2, -5.9)))
    assert other.interval == pytest.approx((0.05 - 0.1 - 0.15, 0.05 + 0.2 + 0.15))
    assert other.p_value == 1


def test_no_difference_from_a_score_that_is_not_told() -> None:
    untold = scored(-5.0, (-7.0, -4.0), told=False)
    found = difference(untold, scored(-6.5))
    assert math.isnan(found.value)
    assert math.isnan(found.p_value)
    assert found.interval == pytest.approx((-0.5, 2.5))
    row = compare._compared("test", [scored(-6.5), untold], 100, 0).to_dict()["runs"][1]
    assert row["difference"]["value"] is None
    assert row["difference"]["p_value"] is None
    assert row["score"]["value"] is None


def test_conventions_that_differ_are_refused_and_how_one_was_estimated_is_none() -> None:
    compare._check_same_convention([scored(-6.0), scored(-6.0, (-7.0, -5.0))])
    by_song = Score(-6.0, "nats/frame", "by song", 60, 3, 0.1)
    other = dataclasses.replace(scored(-6.0), score=by_song)
    with pytest.raises(UserError, match="expected scores of one convention, found 'pooled' in runs/a"):
        compare._check_same_convention([scored(-6.0), other])


def test_estimates_of_several_seeds_are_told_together_or_not() -> None:
    first, second = scored(-6.0, (-6.1, -5.8)), scored(-6.2, (-6.4, -6.1))
    together = compare._together([first, second])
    assert together.score.value == pytest.approx(-6.1)
    assert together.score.interval == pytest.approx((-6.25, -5.95))
    assert together.score.bound
    assert compare._margins(together) == pytest.approx((0.15, 0.15))
    untold = compare._together([first, scored(-6.2, (-9.4, -3.1), told=False)])
    assert not untold.score.told
    assert math.isnan(difference(untold, scored(-6.5)).value)
