"""The figures that the paper prints, to stand beside a run's own.

Bengio, Boulanger-Lewandowski & Pascanu, "Advances in Optimizing Recurrent Networks", 2012 (arXiv 1212.0901).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PAPER = "Bengio, Boulanger-Lewandowski & Pascanu 2012"


@dataclass(frozen=True)
class Figures:
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
PAPER_TABLE1: dict[str, dict[str, Figures]] = {
    "RNN (SGD)": {
        "piano-midi": Figures(-7.10, -7.86, 22.84),
        "nottingham": Figures(-3.49, -3.75, 66.90),
        "musedata": Figures(-6.93, -7.20, 27.97),
        "jsb": Figures(-7.88, -8.65, 29.97),
    },
    "RNN (SGD+C)": {
        "piano-midi": Figures(-7.15, -7.59, 22.98),
        "nottingham": Figures(-3.40, -3.67, 67.47),
        "musedata": Figures(-6.79, -7.04, 30.53),
        "jsb": Figures(-7.81, -8.65, 29.98),
    },
    "RNN (SGD+CL)": {
        "piano-midi": Figures(-7.04, -7.57, 22.97),
        "nottingham": Figures(-3.31, -3.57, 67.97),
        "musedata": Figures(-6.47, -6.99, 31.53),
        "jsb": Figures(-7.78, -8.63, 29.98),
    },
    "RNN (SGD+CLR)": {
        "piano-midi": Figures(-6.40, -7.80, 24.22),
        "nottingham": Figures(-2.99, -3.55, 70.20),
        "musedata": Figures(-6.70, -7.34, 29.06),
        "jsb": Figures(-7.67, -9.47, 29.98),
    },
    "RNN (SGD+CRM)": {
        "piano-midi": Figures(-6.92, -7.73, 23.71),
        "nottingham": Figures(-3.20, -3.43, 68.47),
        "musedata": Figures(-7.01, -7.24, 29.13),
        "jsb": Figures(-8.08, -8.81, 29.52),
    },
    "RNN (HF)": {
        "piano-midi": Figures(-7.00, -7.58, 22.93),
        "nottingham": Figures(-3.47, -3.76, 66.71),
        "musedata": Figures(-6.76, -7.12, 29.77),
        "jsb": Figures(-8.11, -8.58, 29.41),
    },
    "RNN-RBM": {
        "piano-midi": Figures(None, -7.09, 28.92),
        "nottingham": Figures(None, -2.39, 75.40),
        "musedata": Figures(None, -6.01, 34.02),
        "jsb": Figures(None, -6.27, 33.12),
    },
    "RNN-NADE (SGD)": {
        "piano-midi": Figures(-7.23, -7.48, 20.69),
        "nottingham": Figures(-2.85, -2.91, 64.95),
        "musedata": Figures(-6.86, -6.74, 24.91),
        "jsb": Figures(-5.46, -5.83, 32.11),
    },
    "RNN-NADE (SGD+CR)": {
        "piano-midi": Figures(-6.70, -7.34, 21.22),
        "nottingham": Figures(-2.14, -2.51, 69.80),
        "musedata": Figures(-6.27, -6.37, 26.60),
        "jsb": Figures(-4.44, -5.33, 34.52),
    },
    "RNN-NADE (SGD+CRM)": {
        "piano-midi": Figures(-6.61, -7.34, 22.12),
        "nottingham": Figures(-2.11, -2.49, 69.54),
        "musedata": Figures(-5.99, -6.19, 29.62),
        "jsb": Figures(-4.26, -5.19, 35.08),
    },
    "RNN-NADE (HF)": {
        "piano-midi": Figures(-6.32, -7.05, 23.42),
        "nottingham": Figures(-1.81, -2.31, 71.50),
        "musedata": Figures(-5.20, -5.60, 32.60),
        "jsb": Figures(-4.91, -5.56, 32.50),
    },
}

# Penn Treebank: (train, test), perplexity of words and bits per character.
PAPER_TABLE2: dict[str, dict[str, tuple[float, float]]] = {
    "RNN (SGD)": {"words": (112.11, 145.16), "chars": (1.78, 1.76)},
    "RNN (SGD+C)": {"words": (78.71, 136.63), "chars": (1.40, 1.44)},
    "RNN (SGD+CL)": {"words": (76.70, 129.83), "chars": (1.56, 1.56)},
    "RNN (SGD+CLR)": {"words": (75.45, 128.35), "chars": (1.45, 1.49)},
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


def table2_row(recipe: Mapping[str, Any]) -> str | None:
    """The row of Table 2 that a recipe's settings stand for; None where the paper has no such system.

    Example:
        >>> table2_row({"task": "words", "recipe": "SGD+CLR"}), table2_row({"recipe": "SGD+CLRM"})
        ('RNN (SGD+CLR)', None)
    """
    row = f"RNN ({recipe.get('recipe', 'SGD')})"
    return row if row in PAPER_TABLE2 else None


def music_figures(recipe: Mapping[str, Any], data: str) -> tuple[str, Figures] | None:
    """The row and figures of Table 1 that a run on music compares with, if there are any."""
    row = table1_row(recipe) if recipe.get("task", "music") == "music" else None
    return (row, PAPER_TABLE1[row][data]) if row and data in PAPER_TABLE1[row] else None


def text_figures(recipe: Mapping[str, Any], data: str) -> tuple[str, tuple[float, float]] | None:
    """The row and figures of Table 2 that a run on the Penn Treebank compares with, if there are any."""
    row, unit = table2_row(recipe), recipe.get("task")
    return (row, PAPER_TABLE2[row][unit]) if row and data == "ptb" and unit in ("words", "chars") else None
