"""What the paper's letters stand for: C clipping, L leaky units, R rectifiers with L1, M Nesterov momentum.

Bengio, Boulanger-Lewandowski & Pascanu 2012, table 1. A domain and an output may mean something else by a
letter: their declarations say so. docs/experiments.md tells how the values were chosen.
"""

from collections.abc import Collection
from typing import Any

from ostinato.errors import UserError
from ostinato.optim.declared import OPTIMIZERS

LETTERS: dict[str, dict[str, Any]] = {
    "C": {"clip": "quantile"},
    "L": {"leak_fraction": 0.5, "leak_low": 0.8, "leak_high": 0.98},
    "R": {"nonlinearity": "relu", "l1": 1e-4},
    "M": {"optimizer": "nesterov", "momentum": 0.9, "learning_rate": 0.01},
}

# HF in the place of SGD: Hessian-free optimisation, in large minibatches and with long segments. Any other
# optimizer that is no kind of SGD stands there with its name: adam+C.
BASES: dict[str, dict[str, Any]] = {"SGD": {}, "HF": {"optimizer": "hessian-free", "segment_length": 250}}

# Letters that do not go with a base: it has no such technique. With another optimizer it is momentum.
_NOT_WITH = {"SGD": "", "HF": "CM"}
_NOT_WITH_OTHERS = "M"

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
        >>> canonical("sgd+rc"), canonical("Adam+c")
        ('SGD+CR', 'adam+C')
    """
    first, plus, rest = letters.strip().partition("+")
    base, rest = _base(first), rest.upper()
    known = set(LETTERS) - set(_NOT_WITH.get(base, _NOT_WITH_OTHERS))
    if not base or not known >= set(rest) or (plus and not rest) or len(set(rest)) != len(rest):
        raise UserError(
            f"expected a recipe like SGD, SGD+C, SGD+CLR, SGD+CRM (C clipping, L leaky units, R rectifiers "
            f"with L1, M Nesterov momentum), HF, HF+LR (Hessian-free), or adam+CL (another optimizer, "
            f"without M), found {letters!r}"
        )
    return _joined(base, rest)


def named(letters: str, optimizer: str) -> str:
    """A recipe's letters with what stands before them when this optimizer is used.

    Example:
        >>> named("SGD+CM", "adam"), named("adam+C", "classical"), named("SGD+CM", "nesterov")
        ('adam+C', 'SGD+C', 'SGD+CM')
    """
    _, _, rest = canonical(letters).partition("+")
    base = OPTIMIZERS[optimizer].base
    return _joined(base, set(rest) - set(_NOT_WITH.get(base, _NOT_WITH_OTHERS)))


def base_settings(base: str) -> dict[str, Any]:
    """What stands before the letters means.

    Example:
        >>> base_settings("SGD"), base_settings("adam")
        ({}, {'optimizer': 'adam'})
    """
    return BASES.get(base, {"optimizer": base})


def base_with(optimizer: str) -> str:
    """What stands before letters that are not HF's with this optimizer.

    Example:
        >>> base_with("adam"), base_with("nesterov")
        ('adam', 'SGD')
    """
    base = OPTIMIZERS[optimizer].base
    return "SGD" if base in BASES else base


def with_optimizer(letters: str, optimizer: str) -> str:
    """Letters that begin with one optimizer's name, with another; SGD's and HF's as they are.

    Example:
        >>> with_optimizer("adam+C", "sgd"), with_optimizer("SGD+C", "adam")
        ('SGD+C', 'SGD+C')
    """
    base, _, rest = canonical(letters).partition("+")
    return letters if base in BASES else _joined(base_with(optimizer), rest)


def _base(text: str) -> str:
    """SGD, HF or an optimizer's name; nothing where it is none."""
    if text.upper() in BASES:
        return text.upper()
    try:
        found = OPTIMIZERS[text.lower()]
    except UserError:
        return ""
    return "" if found.base in BASES else found.base


def _joined(base: str, letters: Collection[str]) -> str:
    return base + ("+" if letters else "") + "".join(letter for letter in LETTERS if letter in letters)
