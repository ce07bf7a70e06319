import math
from pathlib import Path

import numpy as np
import pytest

from ostinato.errors import UserError
from ostinato.evaluation.scores import Score
from ostinato.runs import compare
from ostinato.runs.compare import Comparison, Scored
from ostinato.runs.folder import Run

COUNTS = np.array([10.0, 20.0, 30.0])


def scored(per_frame: float, interval: tuple[float, float] | None = None, **how: bool) -> Scored:
    score = Score(per_frame, "nats/frame", "pooled", 60, 3, 0.1)
    if interval is not None:
        score = score.estimated(0.01, interval, "annealed", bound=True, **how)
    return Scored(Run(Path("runs/a")), score, per_frame * COUNTS, COUNTS, "songs", None)


def test_an_interval_widens_the_difference_by_what_is_not_known() -> None:
    exact, bound = scored(-6.5), scored(-6.0, (-6.1, -5.8))
    found = compare._difference(bound, exact, 100, 0)
    assert found.value == pytest.approx(0.5)
    assert found.interval == pytest.approx((0.4, 0.7))
    assert found.p_value == 0.01
    turned = compare._difference(exact, bound, 100, 0)
    assert turned.interval == pytest.approx((-0.7, -0.4))
    # two of them, and nothing is sure
    other = compare._difference(bound, scored(-6.05, (-6.2, -5.9)), 100, 0)
    assert other.interval == pytest.approx((0.05 - 0.1 - 0.15, 0.05 + 0.2 + 0.15))
    assert other.p_value == 1


def test_no_difference_from_a_score_that_is_not_told() -> None:
    untold = scored(-5.0, (-7.0, -4.0), told=False)
    found = compare._difference(untold, scored(-6.5), 100, 0)
    assert math.isnan(found.value)
    assert math.isnan(found.p_value)
    assert found.interval == pytest.approx((-0.5, 2.5))
    row = Comparison("test", (scored(-6.5), untold), (found,)).to_dict()["runs"][1]
    assert row["difference"]["value"] is None
    assert row["difference"]["p_value"] is None
    assert row["score"]["value"] is None


def test_conventions_that_differ_are_refused_and_how_one_was_estimated_is_none() -> None:
    compare._check_same_convention([scored(-6.0), scored(-6.0, (-7.0, -5.0))])
    other = Scored(
        Run(Path("runs/b")), Score(-6.0, "nats/frame", "by song", 60, 3, 0.1), COUNTS, COUNTS, "songs", None
    )
    with pytest.raises(UserError, match="expected scores of one convention, found 'pooled' in runs/a"):
        compare._check_same_convention([scored(-6.0), other])
