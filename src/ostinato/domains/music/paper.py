"""Table 1 of the paper, to stand beside a run's own scores."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ostinato.domains.declared import Figures, Published
from ostinato.domains.paper import PAPER


@dataclass(frozen=True)
class Table1Cell:
    """One cell of Table 1.

    Arguments:
        train: log-likelihood of the training songs, nats per frame; None where the paper has none.
        test: the same of the test songs.
        accuracy: expected frame-level accuracy of the test songs, %.
    """

    train: float | None
    test: float
    accuracy: float


# Music, by row and data set.
PAPER_TABLE1: dict[str, dict[str, Table1Cell]] = {
    "RNN (SGD)": {
        "piano-midi": Table1Cell(-7.10, -7.86, 22.84),
        "nottingham": Table1Cell(-3.49, -3.75, 66.90),
        "musedata": Table1Cell(-6.93, -7.20, 27.97),
        "jsb": Table1Cell(-7.88, -8.65, 29.97),
    },
    "RNN (SGD+C)": {
        "piano-midi": Table1Cell(-7.15, -7.59, 22.98),
        "nottingham": Table1Cell(-3.40, -3.67, 67.47),
        "musedata": Table1Cell(-6.79, -7.04, 30.53),
        "jsb": Table1Cell(-7.81, -8.65, 29.98),
    },
    "RNN (SGD+CL)": {
        "piano-midi": Table1Cell(-7.04, -7.57, 22.97),
        "nottingham": Table1Cell(-3.31, -3.57, 67.97),
        "musedata": Table1Cell(-6.47, -6.99, 31.53),
        "jsb": Table1Cell(-7.78, -8.63, 29.98),
    },
    "RNN (SGD+CLR)": {
        "piano-midi": Table1Cell(-6.40, -7.80, 24.22),
        "nottingham": Table1Cell(-2.99, -3.55, 70.20),
        "musedata": Table1Cell(-6.70, -7.34, 29.06),
        "jsb": Table1Cell(-7.67, -9.47, 29.98),
    },
    "RNN (SGD+CRM)": {
        "piano-midi": Table1Cell(-6.92, -7.73, 23.71),
        "nottingham": Table1Cell(-3.20, -3.43, 68.47),
        "musedata": Table1Cell(-7.01, -7.24, 29.13),
        "jsb": Table1Cell(-8.08, -8.81, 29.52),
    },
    "RNN (HF)": {
        "piano-midi": Table1Cell(-7.00, -7.58, 22.93),
        "nottingham": Table1Cell(-3.47, -3.76, 66.71),
        "musedata": Table1Cell(-6.76, -7.12, 29.77),
        "jsb": Table1Cell(-8.11, -8.58, 29.41),
    },
    "RNN-RBM": {
        "piano-midi": Table1Cell(None, -7.09, 28.92),
        "nottingham": Table1Cell(None, -2.39, 75.40),
        "musedata": Table1Cell(None, -6.01, 34.02),
        "jsb": Table1Cell(None, -6.27, 33.12),
    },
    "RNN-NADE (SGD)": {
        "piano-midi": Table1Cell(-7.23, -7.48, 20.69),
        "nottingham": Table1Cell(-2.85, -2.91, 64.95),
        "musedata": Table1Cell(-6.86, -6.74, 24.91),
        "jsb": Table1Cell(-5.46, -5.83, 32.11),
    },
    "RNN-NADE (SGD+CR)": {
        "piano-midi": Table1Cell(-6.70, -7.34, 21.22),
        "nottingham": Table1Cell(-2.14, -2.51, 69.80),
        "musedata": Table1Cell(-6.27, -6.37, 26.60),
        "jsb": Table1Cell(-4.44, -5.33, 34.52),
    },
    "RNN-NADE (SGD+CRM)": {
        "piano-midi": Table1Cell(-6.61, -7.34, 22.12),
        "nottingham": Table1Cell(-2.11, -2.49, 69.54),
        "musedata": Table1Cell(-5.99, -6.19, 29.62),
        "jsb": Table1Cell(-4.26, -5.19, 35.08),
    },
    "RNN-NADE (HF)": {
        "piano-midi": Table1Cell(-6.32, -7.05, 23.42),
        "nottingham": Table1Cell(-1.81, -2.31, 71.50),
        "musedata": Table1Cell(-5.20, -5.60, 32.60),
        "jsb": Table1Cell(-4.91, -5.56, 32.50),
    },
}

_PREFIX = {"nade": "RNN-NADE", "bernoulli": "RNN"}


def table1_row(recipe: Mapping[str, Any]) -> str | None:
    """The row of Table 1 that a recipe's settings stand for; None where the paper has no such system.

    Example:
        >>> table1_row({"recipe": "SGD+CR", "output": "nade"})
        'RNN-NADE (SGD+CR)'
        >>> table1_row({"recipe": "SGD+CM", "output": "rbm"}), table1_row({"recipe": "SGD+CM"})
        ('RNN-RBM', None)
    """
    output = recipe.get("output", "bernoulli")
    # Its row has no letters: the paper took the figures from elsewhere.
    row = "RNN-RBM" if output == "rbm" else f"{_PREFIX.get(output)} ({recipe.get('recipe', 'SGD')})"
    return row if row in PAPER_TABLE1 else None


def figures(recipe: Mapping[str, Any], data: str) -> tuple[str, Figures] | None:
    """The row and figures of Table 1 that a run compares with, if there are any.

    Example:
        >>> figures({"recipe": "SGD+C"}, "jsb")[1]["log_likelihood", "test"]
        -8.65
    """
    row = table1_row(recipe)
    if row is None or data not in PAPER_TABLE1[row]:
        return None
    cell = PAPER_TABLE1[row][data]
    return row, {
        ("log_likelihood", "train"): cell.train,
        ("log_likelihood", "test"): cell.test,
        ("accuracy_per_frame", "test"): cell.accuracy,
    }


TABLE1 = Published(
    source=PAPER,
    figures=figures,
    note="The paper does not define its accuracy: (b) is the one that its baselines agree with.",
)
