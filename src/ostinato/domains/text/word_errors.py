"""Word errors: how many words have to be changed, added or left out to make one sentence of another.

The word error rate is their sum over the number of words of the references, in per cent.
"""

from collections.abc import Sequence

from ostinato.errors import needs


def word_errors(reference: Sequence[str], words: Sequence[str]) -> int:
    """The least number of substitutions, insertions and deletions (Levenshtein 1966).

    Raises:
        MissingExtra: RapidFuzz is not installed.

    Example:
        >>> word_errors("the cat sat".split(), "a cat sat down".split())
        2
    """
    with needs("text"):
        from rapidfuzz.distance import Levenshtein

    return int(Levenshtein.distance(list(reference), list(words)))
