import numpy as np
import pytest

from ostinato.domains.domain import Overlap, Totals
from ostinato.evaluation.scores import pooled_score
from ostinato.runs.results import taken_apart


@pytest.mark.parametrize("ordered", [False, True])
def test_seen_and_unseen_make_the_whole(ordered) -> None:
    rng = np.random.default_rng(0)
    counts = rng.integers(5, 30, 60).astype(float)
    sums = -counts * rng.normal(8, 1, 60)
    seen = np.arange(60) < 25
    totals = Totals(pooled_score(sums, counts, "nats/frame", "pooled"), sums, counts, "songs", ordered)
    found = taken_apart("test", totals, Overlap(seen * 0.5, seen, "by hand"))
    assert found.scores["seen"].value == pytest.approx(sums[seen].sum() / counts[seen].sum())
    assert found.scores["unseen"].value == pytest.approx(sums[~seen].sum() / counts[~seen].sum())
    assert [found.scores[name].songs for name in ("seen", "unseen")] == [25, 35]
    assert found.share == pytest.approx(0.5 * counts[seen].sum() / counts.sum())
    alone = taken_apart("test", totals, Overlap(seen * 0.0, seen & False, "by hand"))
    assert set(alone.scores) == {"all", "unseen"}
