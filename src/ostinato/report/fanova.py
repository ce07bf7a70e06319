"""fANOVA: how much of the variation of a score over the searched space each setting explains alone.

Hutter, Hoos & Leyton-Brown, "An efficient approach for assessing hyperparameter importance", ICML 2014: a
random forest is fitted to the trials; each tree is constant on boxes, so that its mean over all other
settings, and the variance of that mean over one setting, are exact sums over its leaves.

The errors are those of Wager, Hastie & Efron, "Confidence intervals for random forests: the jackknife and the
infinitesimal jackknife", JMLR 2014: a share is a mean over trees, each of which has seen the trials
resampled; how it moves with the number of times that a trial is in the sample tells how it moves with the
trials. The same goes for the difference of two shares.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ostinato.errors import needs

TREES = 300


@dataclass(frozen=True)
class Axis:
    """A setting as the forest sees it.

    Args:
        values: of each trial: in [0, 1] for an interval, the place of its choice for choices.
        choices: how many choices there are; 0: it is an interval.
    """

    values: np.ndarray
    choices: int = 0

    @property
    def span(self) -> tuple[float, float]:
        """The ends of the searched range, such that a choice is in the middle of its cell."""
        return (-0.5, self.choices - 0.5) if self.choices else (0.0, 1.0)


@dataclass(frozen=True)
class Shares:
    """What came of it.

    Arguments:
        mean: [settings], each setting's share of the variance.
        covariance: [settings, settings] of the errors of the means.
        explained: the share of the scores' variance that the forest foretells for trials that a tree has not
            seen ("out of the bag"); below 0 where it foretells worse than the mean would.
    """

    mean: np.ndarray
    covariance: np.ndarray
    explained: float

    def error(self, setting: int) -> float:
        """Standard error of a setting's share."""
        return float(np.sqrt(self.covariance[setting, setting]))

    def separation(self, one: int, other: int) -> float:
        """By how many standard errors one share is above another."""
        cov = self.covariance
        variance = cov[one, one] + cov[other, other] - 2 * cov[one, other]
        return float((self.mean[one] - self.mean[other]) / np.sqrt(max(variance, 1e-12)))


def shares(axes: list[Axis], scores: np.ndarray, trees: int = TREES, seed: int = 0) -> Shares:
    """Each setting's share of the variance of the score, with errors.

    Args:
        axes: the settings, with a value for each trial.
        scores: [trials].
        trees: of the forest.
        seed: of the forest.
    """
    with needs("report"):
        from sklearn.ensemble import RandomForestRegressor

    inputs = np.stack([axis.values for axis in axes], axis=1)
    forest = RandomForestRegressor(n_estimators=trees, random_state=seed, bootstrap=True)
    forest.fit(inputs, scores)
    spans = np.array([axis.span for axis in axes])
    own = np.array([tree_shares(tree.tree_, axes, spans) for tree in forest.estimators_])
    counts = np.stack(
        [np.bincount(sample, minlength=len(scores)) for sample in forest.estimators_samples_]
    ).astype(float)
    mean = own.mean(axis=0)
    moved = (counts - 1).T @ (own - mean) / trees  # [trials, settings]
    # of finitely many trees some of it is chance, which is taken off
    noise = len(scores) / trees * np.cov(own, rowvar=False, bias=True).reshape(len(axes), len(axes))
    return Shares(mean, _positive(moved.T @ moved - noise), _explained(forest, inputs, scores, counts))


def tree_shares(tree: Any, axes: list[Axis], spans: np.ndarray) -> np.ndarray:
    """Each setting's share of the variance of one tree over the whole space; all 0 for a tree of one leaf."""
    low, high, values = _leaves(tree, spans)
    widths = (high - low) / (spans[:, 1] - spans[:, 0])
    sides = np.stack(
        [_measure(axis, low[:, j], high[:, j], widths[:, j]) for j, axis in enumerate(axes)], axis=1
    )
    volumes = sides.prod(axis=1)
    average = volumes @ values
    total = volumes @ (values - average) ** 2
    if total <= 1e-12 * max(average**2, 1e-300):
        return np.zeros(len(axes))
    found = np.empty(len(axes))
    for j, axis in enumerate(axes):
        others = np.delete(sides, j, axis=1).prod(axis=1)
        places, weights = _cells(axis, low[:, j], spans[j])
        inside = (low[:, j] < places[:, None]) & (places[:, None] <= high[:, j])
        found[j] = weights @ (inside @ (others * values) - average) ** 2
    return found / total


def _leaves(tree: Any, spans: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The boxes of a tree's leaves, and their values."""
    lows, highs = np.empty((tree.node_count, len(spans))), np.empty((tree.node_count, len(spans)))
    lows[0], highs[0] = spans[:, 0], spans[:, 1]
    left, right, feature, cut = tree.children_left, tree.children_right, tree.feature, tree.threshold
    for node in range(tree.node_count):  # a parent comes before its children
        if left[node] >= 0:
            for child in (left[node], right[node]):
                lows[child], highs[child] = lows[node], highs[node]
            highs[left[node], feature[node]] = cut[node]
            lows[right[node], feature[node]] = cut[node]
    leaf = left < 0
    return lows[leaf], highs[leaf], tree.value[leaf, 0, 0]


def _measure(axis: Axis, low: np.ndarray, high: np.ndarray, width: np.ndarray) -> np.ndarray:
    """The share of a setting's range that each box takes."""
    if not axis.choices:
        return width
    places = np.arange(axis.choices)
    return ((low[:, None] < places) & (places <= high[:, None])).mean(axis=1)


def _cells(axis: Axis, low: np.ndarray, span: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points between which the mean over the other settings does not change, and how much each stands for."""
    if axis.choices:
        return np.arange(axis.choices), np.full(axis.choices, 1 / axis.choices)
    edges = np.unique(np.append(low, span))
    return (edges[1:] + edges[:-1]) / 2, np.diff(edges) / (span[1] - span[0])


def _positive(matrix: np.ndarray) -> np.ndarray:
    """The matrix without its negative directions, which only chance has made so."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    return (vectors * np.maximum(values, 0.0)) @ vectors.T


def _explained(forest: Any, inputs: np.ndarray, scores: np.ndarray, counts: np.ndarray) -> float:
    guesses = np.stack([tree.predict(inputs) for tree in forest.estimators_])
    unseen = counts == 0
    seen_by_all = unseen.sum(axis=0) == 0
    mean = (guesses * unseen).sum(axis=0) / np.maximum(unseen.sum(axis=0), 1)
    kept = ~seen_by_all
    spread = ((scores[kept] - scores[kept].mean()) ** 2).sum()
    return float(1 - ((scores[kept] - mean[kept]) ** 2).sum() / spread) if spread > 0 else 0.0
