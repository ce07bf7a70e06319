"""Words of a text: what white space separates them, and the marks of sentences that are none of them."""

import re
from collections.abc import Callable, Iterator
from typing import Literal

from ostinato.errors import UserError

WhiteSpace = Literal["unicode", "ascii"]
BEGIN, END = "<s>", "</s>"

# What str.split takes for white space and ASCII does not, among it the no-break and the ideographic space;
# \x1c to \x1f are in ASCII, but no white space of C.
_MORE = re.compile("[\x1c-\x1f\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]")
_ASCII_WORD = re.compile(r"[^ \t\n\v\f\r]+")


def splitter(white_space: WhiteSpace) -> Callable[[str], list[str]]:
    r"""What splits a text at white space: all of Unicode's, or that of ASCII, which leaves others in words.

    Example:
        >>> splitter("unicode")("10\u00a0000 b"), splitter("ascii")("10\u00a0000 b")
        (['10', '000', 'b'], ['10\xa0000', 'b'])
    """
    return str.split if white_space == "unicode" else _split_ascii


def _split_ascii(text: str) -> list[str]:
    return _ASCII_WORD.findall(text) if _MORE.search(text) else text.split()


def split_words(text: str, white_space: WhiteSpace = "unicode") -> list[str]:
    """The words of a text and its sentence ends: one at every line end; lines without words are left out.

    Example:
        >>> split_words("a b\\n\\n c\\n")
        ['a', 'b', '</s>', 'c', '</s>']
        >>> split_words("a b ")
        ['a', 'b']
    """
    *lines, unfinished = text.split("\n")
    split = splitter(white_space)
    whole = [line for line in lines if line and not is_blank(line, white_space)]
    return split(f"{f' {END} '.join(whole)} {END if whole else ''} {unfinished}")


def is_blank(line: str, white_space: WhiteSpace = "unicode") -> bool:
    """Whether a line has no word.

    Example:
        >>> is_blank(" \\t"), is_blank("\u3000"), is_blank("\u3000", "ascii")
        (True, True, False)
    """
    if white_space == "unicode":
        return not line or line.isspace()
    return _ASCII_WORD.search(line) is None


def word_lines(text: str, white_space: WhiteSpace = "unicode") -> Iterator[list[str]]:
    """The words of each line that has any.

    Example:
        >>> list(word_lines("a  b\\n\\nc\\n"))
        [['a', 'b'], ['c']]
    """
    split = splitter(white_space)
    return (words for line in lines_of(text) if (words := split(line)))


def lines_of(text: str) -> Iterator[str]:
    r"""The lines of a text, one at a time: a list of them may take many times the text's memory.

    Example:
        >>> list(lines_of("a\n\nb"))
        ['a', '', 'b']
    """
    begin = 0
    while (end := text.find("\n", begin)) >= 0:
        yield text[begin:end]
        begin = end + 1
    yield text[begin:]


def without_marks(text: str) -> tuple[str, int]:
    """A text without <s> before and </s> behind its sentences: a model adds its own. And how many had any.

    Raises:
        UserError: a mark stands within a line.

    Example:
        >>> without_marks("<s> the cat </s>\\nthe dog\\n")
        ('the cat\\nthe dog\\n', 1)
    """
    if BEGIN not in text and END not in text:
        return text, 0
    lines, found = text.split("\n"), 0
    for number, line in enumerate(lines, 1):
        if BEGIN not in line and END not in line:
            continue
        bare = re.sub(r"^\s*<s>(?=\s|$)\s*", "", line)
        bare = re.sub(r"(^|\s+)</s>\s*$", "", bare)
        if BEGIN in bare.split() or END in bare.split():
            raise UserError(
                f"expected {BEGIN} and {END} at the ends of a line alone, where they are left out, found one "
                f"within line {number:,}: {line.strip()[:60]!r}; write one sentence a line"
            )
        found += bare != line
        lines[number - 1] = bare
    return "\n".join(lines), found


def told_of_marks(found: int, where: str) -> str:
    """What a user is told of sentences whose marks were left out.

    Example:
        >>> told_of_marks(2, "a.txt")
        '<s> and </s> left out of 2 lines of a.txt: a model adds its own'
    """
    lines = "line" if found == 1 else "lines"
    return f"{BEGIN} and {END} left out of {found:,} {lines} of {where}: a model adds its own"
