"""Which form of a command a run asks for: `generate` and `score` differ for music and text."""

import tomllib
from collections.abc import Sequence
from pathlib import Path

TEXT_FORMS = {"generate": "generate-text", "score": "score-text"}


def with_kind(arguments: Sequence[str]) -> list[str]:
    """The arguments; before a run of text, or an ARPA file, with the command's form for text.

    Example:
        >>> with_kind(["score", "trigrams.arpa", "speech.txt"])
        ['score-text', 'trigrams.arpa', 'speech.txt']
        >>> with_kind(["score", "runs/bach-1", "song.mid"])
        ['score', 'runs/bach-1', 'song.mid']
    """
    if not arguments or arguments[0] not in TEXT_FORMS:
        return list(arguments)
    first, *rest = arguments
    # Options may come before the run: the first argument that is one decides.
    text = next((kind for kind in map(_is_text, rest) if kind is not None), False)
    return [TEXT_FORMS[first] if text else first, *rest]


def _is_text(argument: str) -> bool | None:
    """Whether an argument names a language model; None where it names no model at all."""
    if argument.endswith((".arpa", ".arpa.gz")):
        return True
    try:
        settings = tomllib.loads((Path(argument) / "config.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None  # no run, or a damaged one: the command itself says what is wrong
    return settings.get("task") in ("words", "chars")
