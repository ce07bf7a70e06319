"""Table 2 of the paper, to stand beside a run's own scores."""

from collections.abc import Callable, Mapping
from typing import Any

from ostinato.domains.declared import Figures, Published
from ostinato.domains.paper import PAPER

# Penn Treebank: (train, test), perplexity of words and bits per character.
PAPER_TABLE2: dict[str, dict[str, tuple[float, float]]] = {
    "RNN (SGD)": {"words": (112.11, 145.16), "chars": (1.78, 1.76)},
    "RNN (SGD+C)": {"words": (78.71, 136.63), "chars": (1.40, 1.44)},
    "RNN (SGD+CL)": {"words": (76.70, 129.83), "chars": (1.56, 1.56)},
    "RNN (SGD+CLR)": {"words": (75.45, 128.35), "chars": (1.45, 1.49)},
}


def table2_row(recipe: Mapping[str, Any]) -> str | None:
    """The row of Table 2 that a recipe's settings stand for; None where the paper has no such system.

    Example:
        >>> table2_row({"recipe": "SGD+CLR"}), table2_row({"recipe": "SGD+CLRM"})
        ('RNN (SGD+CLR)', None)
    """
    row = f"RNN ({recipe.get('recipe', 'SGD')})"
    return row if row in PAPER_TABLE2 else None


def _figures_of(unit: str, score: str) -> Callable[[Mapping[str, Any], str], tuple[str, Figures] | None]:
    """What looks up the row and figures of Table 2 for words or chars."""

    def figures(recipe: Mapping[str, Any], data: str) -> tuple[str, Figures] | None:
        row = table2_row(recipe)
        if row is None or data != "ptb":
            return None
        train, test = PAPER_TABLE2[row][unit]
        return row, {(score, "train"): train, (score, "test"): test}

    return figures


TABLE2_WORDS = Published(source=PAPER, figures=_figures_of("words", "perplexity"))
TABLE2_CHARS = Published(source=PAPER, figures=_figures_of("chars", "bits_per_character"))
