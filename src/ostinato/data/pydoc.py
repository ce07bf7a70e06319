"""The text of Python's own documentation topics: always there, since it comes with Python.

Another version of Python brings another text; a run remembers the one it was trained on by its checksum.
"""

import platform
import re
from typing import Any

from ostinato.data.sequences import SPLITS
from ostinato.data.vocabulary import Unit

LICENCE = "Python Software Foundation License"

# Of ten topics in alphabetical order, one is for test and one for validation: these, by the last digit.
_HELD_OUT = {0: "test", 5: "valid"}


def texts(unit: Unit) -> dict[str, str]:
    """The text of each split: whole topics; paragraphs that occur more than once are kept once.

    As words: prose without code, one sentence a line, punctuation apart. As characters: all of it as it is.
    """
    from pydoc_data.topics import topics

    seen: set[str] = set()
    parts: dict[str, list[str]] = {split: [] for split in SPLITS}
    for place, name in enumerate(sorted(topics)):
        split = _HELD_OUT.get(place % 10, "train")
        for paragraph in re.split(r"\n\s*\n", topics[name]):
            words = " ".join(paragraph.split())
            if words and words not in seen:
                seen.add(words)
                parts[split] += _sentences(paragraph) if unit == "words" else [paragraph.strip("\n"), ""]
    return {split: "\n".join(lines) + "\n" for split, lines in parts.items()}


def details() -> dict[str, Any]:
    """Where the text comes from."""
    return {"source": f"pydoc_data.topics of Python {platform.python_version()}", "split": "whole topics"}


def _sentences(paragraph: str) -> list[str]:
    """The sentences of a paragraph of prose, words and punctuation separated by spaces; none of code.

    Example:
        >>> _sentences('The "for" statement\\n*******')
        ['The for statement']
        >>> _sentences("It ends.  Does it?")
        ['It ends .', 'Does it ?']
    """
    # Lines without a letter are rules and borders of tables.
    lines = [line for line in paragraph.split("\n") if re.search(r"[^\W\d_]", line)]
    if all(line.startswith("   ") for line in lines):
        return []
    # Quotation marks and stars are markup here: they set code and terms apart.
    prose = " ".join(re.sub(r'["*`]', "", " ".join(lines)).split())
    sentences = re.split(r"(?<=[.!?:])\s+(?=[“(A-Z])", prose)
    spaced = [" ".join(re.findall(r"\w+(?:[-\u2019'._]\w+)*|\.\.\.|[^\w\s]", s)) for s in sentences]
    return [sentence for sentence in spaced if sentence]
