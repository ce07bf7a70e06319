"""Texts of users as they are shown: nothing in them moves the cursor or colours the terminal."""

import unicodedata

# Control characters, what is left of undecodable bytes, line and paragraph separators.
_HIDDEN = ("Cc", "Cs", "Zl", "Zp")
# These turn around the order in which a terminal shows what follows.
_TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# What a terminal without Unicode shows instead.
_PLAIN = {
    "±": "+/-",
    "≈": "~",
    "≤": "<=",
    "≥": ">=",
    "\u2212": "-",
    "\u2013": "-",
    "\u2019": "'",
    "…": "...",
    "─": "-",
    "♯": "#",
    "♭": "b",
}


def visible(text: str, keep: str = "") -> str:
    r"""A text with its control characters written out, but for those to keep.

    Args:
        text: such as a file's name.
        keep: control characters that are meant, such as a line break.

    Example:
        >>> visible("\x1b[2Jsong [live].mid"), visible("a\nb", keep="\n")
        ('\\x1b[2Jsong [live].mid', 'a\nb')
    """
    if text.isprintable():
        return text
    return "".join(_escaped(c) if c not in keep and _is_hidden(c) else c for c in text)


def encodable(text: str, encoding: str) -> str:
    r"""A text that can be written in this encoding: common signs in plain letters, others as escapes.

    Example:
        >>> encodable("≈ -6.80 ± 0.08, 春.mid", "ascii"), encodable("≈ -6.80 ± 0.08", "utf-8")
        ('~ -6.80 +/- 0.08, \\u6625.mid', '≈ -6.80 ± 0.08')
    """
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return "".join(_written(c, encoding) for c in text)
    return text


def _is_hidden(character: str) -> bool:
    return unicodedata.category(character) in _HIDDEN or character in _TURNING


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _written(character: str, encoding: str) -> str:
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        return _PLAIN.get(character, _escaped(character))
    return character
