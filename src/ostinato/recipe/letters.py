"""What the paper's letters stand for: C clipping, L leaky units, R rectifiers with L1, M Nesterov momentum.

Bengio, Boulanger-Lewandowski & Pascanu 2012, table 1. A domain and an output may mean something else by a
letter: their declarations say so. docs/experiments.md tells how the values were chosen.
"""

from typing import Any

from ostinato.errors import UserError

LETTERS: dict[str, dict[str, Any]] = {
    "C": {"clip": "auto"},
    "L": {"leak_fraction": 0.5, "leak_low": 0.8, "leak_high": 0.98},
    "R": {"nonlinearity": "relu", "l1": 1e-4},
    "M": {"optimizer": "nesterov", "momentum": 0.9, "learning_rate": 0.01},
}

# HF in the place of SGD: Hessian-free optimisation, in large minibatches and with long segments.
BASES: dict[str, dict[str, Any]] = {"SGD": {}, "HF": {"optimizer": "hessian-free", "segment_length": 250}}

# The setting that says whether a letter's technique is used at all.
SWITCHES = {"C": "clip", "L": "leak_fraction", "R": "nonlinearity", "M": "momentum"}

# What a letter's switch is nothing without: given without the letter, it takes these from the letter.
MEANT_TOGETHER: dict[str, tuple[str, tuple[str, ...]]] = {
    "L": ("leak_fraction", ("leak_low", "leak_high")),
    "M": ("momentum", ("optimizer", "momentum_schedule")),
}


def canonical(letters: str) -> str:
    """A recipe's letters in their order.

    Raises:
        UserError: they are no recipe.

    Example:
        >>> canonical("sgd+rc")
        'SGD+CR'
    """
    base, plus, rest = letters.strip().upper().partition("+")
    unknown = [letter for letter in rest if letter not in LETTERS]
    if base == "HF":
        unknown += [letter for letter in rest if letter in "CM"]
    if base not in BASES or unknown or (plus and not rest) or len(set(rest)) != len(rest):
        raise UserError(
            f"expected a recipe like SGD, SGD+C, SGD+CLR, SGD+CRM (C clipping, L leaky units, R rectifiers "
            f"with L1, M Nesterov momentum) or HF, HF+LR (Hessian-free), found {letters!r}"
        )
    return base + plus + "".join(letter for letter in LETTERS if letter in rest)
