"""What is in a text data set, in numbers and a few lines of it.

Shapes: N tokens, V vocabulary.
"""

from typing import Any

import numpy as np

from ostinato.data.sequences import SPLITS
from ostinato.domains.text.reading.text_data import TextData
from ostinato.domains.text.reading.vocabulary import END_ID, NO_ID, Vocabulary

_FREQUENT = 12
_SAMPLE_LINES, _SAMPLE_TOKENS = 3, 400


def of(tokens: np.ndarray, vocabulary: Vocabulary) -> dict[str, Any]:
    """Counts over the token ids (N,) of a text.

    `sentences` counts ends of sentences, which of characters are ends of lines; `unknown` is the share of
    tokens outside the vocabulary.

    Example:
        >>> vocabulary = Vocabulary.count("words", ["the cat saw the dog\\n", "the cat saw\\n"])
        >>> of(vocabulary.encode("the bird saw\\nthe cat\\n"), vocabulary)
        {'tokens': 7, 'sentences': 2, 'distinct': 5, 'unknown': 0.14285714285714285}
    """
    counts = np.bincount(tokens, minlength=len(vocabulary))
    return {
        "tokens": len(tokens),
        "sentences": int(counts[END_ID]),
        "distinct": int(np.count_nonzero(counts)),
        "unknown": 0.0
        if vocabulary.unknown_id == NO_ID
        else float(counts[vocabulary.unknown_id] / max(len(tokens), 1)),
    }


def describe(data: TextData) -> dict[str, Any]:
    """A whole data set: each split, its vocabulary, how it was made, and how it begins, as a model sees it.

    Example:
        >>> from ostinato.domains.text.reading import data_sets as text
        >>> found = describe(text.load("pydoc", "chars"))
        >>> found["vocabulary"]["unit"], found["vocabulary"]["frequent"][0][0]
        ('chars', ' ')
    """
    vocabulary = data.vocabulary
    ranked = sorted(zip(vocabulary.tokens, vocabulary.counts, strict=True), key=lambda pair: -pair[1])
    return {
        "name": data.name,
        "kind": data.kind,
        "version": data.version,
        "details": data.details,
        "vocabulary": {
            "unit": vocabulary.unit,
            "size": len(vocabulary),
            "frequent": [[token, count] for token, count in ranked[:_FREQUENT]],
        },
        "splits": {split: of(data[split], vocabulary) for split in SPLITS},
        "sample": beginning(data.train, vocabulary),
        "skipped": [{"path": skip.path, "reason": skip.reason} for skip in data.skipped],
    }


def beginning(tokens: np.ndarray, vocabulary: Vocabulary) -> list[str]:
    """The first lines of a text, words outside the vocabulary as the unknown token; cut where they are long.

    Example:
        >>> vocabulary = Vocabulary.count("words", ["the cat saw the dog\\n", "the cat saw\\n"])
        >>> beginning(vocabulary.encode("the bird saw\\nthe cat\\n"), vocabulary)
        ['the <unk> saw', 'the cat']
    """
    text = vocabulary.decode(tokens[:_SAMPLE_TOKENS].tolist())
    lines = [line for line in text.split("\n") if line.strip()]
    return lines[:_SAMPLE_LINES]
