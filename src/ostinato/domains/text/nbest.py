"""N-best lists of recognizers: a table, Kaldi's archives, SRILM's files.

A table has one hypothesis a line, its fields separated by tabs:

    UTTERANCE <tab> WORDS
    UTTERANCE <tab> SCORE <tab> WORDS               one score: acoustic log-likelihood (natural logarithm)
    UTTERANCE <tab> SCORE ... SCORE <tab> WORDS     more scores, each with a weight

Kaldi (`nbest-to-linear`, `lattice-to-nbest`) has a text archive, `UTTERANCE-N WORDS` a line, and beside it
archives of costs, `UTTERANCE-N COST` a line; a cost is taken for a score of the opposite sign.

SRILM has a file for each utterance, with `ACOUSTIC LM NUMBER-OF-WORDS WORDS` a line, logarithms to base 10,
or `(SCORE) WORDS` under a line NBestList1.0, SCORE in bytelogs. Source: SRILM's nbest-format(5).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ostinato import foreign
from ostinato.domains.text.reading.words import lines_of, splitter, told_of_marks, without_marks
from ostinato.domains.text.score import read_text
from ostinato.errors import UserError, argument
from ostinato.evaluation.numbers import counted

Format = Literal["table", "kaldi", "srilm"]

# A bytelog is a logarithm to the base exp(1024 / 10000.5).
_BYTELOG = 1024 / 10000.5
_SRILM_FIELDS = 3
# Of a score's size: whatever it is weighted with, sums stay finite.
_MOST_SCORE = 1e200
_words = splitter("ascii")


@dataclass(frozen=True)
class Hypothesis:
    """One line of an n-best list.

    Arguments:
        utterance: whose hypothesis it is.
        scores: the scores that came with it, the larger the better, natural logarithms.
        words: what was said.
    """

    utterance: str
    scores: tuple[float, ...]
    words: str


def load_nbest(
    paths: Sequence[Path], kind: Format = "table", costs: Sequence[Path] = ()
) -> tuple[list[Hypothesis], list[str]]:
    """The hypotheses of lists in files, in their order, and what a user should know of how they were read.

    Args:
        paths: of the lists; - is standard input.
        kind: the format.
        costs: Kaldi's archives of costs.

    Raises:
        UserError: a list cannot be read; says in which line.
    """
    if costs and kind != "kaldi":
        raise UserError(f"{argument('costs')} is for {argument('format')} kaldi, found {kind}; leave it out")
    found: list[Hypothesis] = []
    notices = []
    for path in foreign.Memory("these lists").along(paths, every=1):
        text, name = read_text(path), str(path)
        if kind == "table":
            own = read_nbest(text, name, found[0] if found else None)
        elif kind == "srilm":
            own = read_srilm(text, name, utterance=_stem(path))
        else:
            own = read_kaldi(text, name)
        bare, marked = without_marks("\n".join(one.words for one in own))
        if marked:
            notices.append(told_of_marks(marked, name))
            own = [replace(one, words=words) for one, words in zip(own, bare.split("\n"), strict=True)]
        if found and len(own[0].scores) != len(found[0].scores):
            raise UserError(
                f"expected {counted(len(found[0].scores), 'score')} of each hypothesis of {name}, as in "
                f"{paths[0]}, found {len(own[0].scores)}; rescore lists with other scores by themselves"
            )
        found += own
    if kind == "kaldi":
        found, unused = _with_costs(found, [(read_text(path), str(path)) for path in costs])
        notices += [
            f"{counted(n, 'cost')} without a hypothesis left out of {path}"
            for n, path in zip(unused, costs, strict=True)
            if n
        ]
    return found, notices


def _stem(path: Path) -> str:
    name = path.name.removesuffix(".gz")
    return name.removesuffix(Path(name).suffix)


def read_nbest(text: str, name: str, first: Hypothesis | None = None) -> list[Hypothesis]:
    """The hypotheses of a table; blank lines are passed over.

    Args:
        text: the table.
        name: of the file, for messages.
        first: a hypothesis of a list before, with as many scores.

    Raises:
        UserError: a line lacks a field or has a score that is no finite number; says which.

    Example:
        >>> read_nbest("u1\\t-12.5\\tthe cat\\n", "list.txt")
        [Hypothesis(utterance='u1', scores=(-12.5,), words='the cat')]
    """
    found: list[Hypothesis] = []
    for number, line in _lines(text, name):
        fields = line.split("\t")
        if len(fields) < 2 or not fields[0].strip():
            raise UserError(
                f"expected UTTERANCE <tab> [SCORES <tab>] WORDS in line {number} of {name}, "
                f"found {counted(len(fields), 'field')}: {line[:60]!r}"
            )
        utterance, *scores, words = fields
        values = tuple(
            _score(score, f"numbers between utterance and words in line {number} of {name}")
            for score in scores
        )
        first = first or Hypothesis(utterance, values, words)
        if len(values) != len(first.scores):
            raise UserError(
                f"expected {len(first.scores)} score(s) in line {number} of {name}, as in the first line, "
                f"found {len(values)}"
            )
        found.append(Hypothesis(utterance.strip(), values, words.strip()))
    return _some(found, name)


def read_kaldi(text: str, name: str) -> list[Hypothesis]:
    """The hypotheses of Kaldi's text archive, without scores; the utterance is their name with its number.

    Example:
        >>> read_kaldi("utt-1-1 the cat\\nutt-1-2\\n", "text")[1]
        Hypothesis(utterance='utt-1-2', scores=(), words='')
    """
    found = []
    for number, line in _lines(text, name):
        key, *words = _words(line)
        if not key.rpartition("-")[0] or not key.rpartition("-")[2].isdecimal():
            raise UserError(
                f"expected UTTERANCE-NUMBER WORDS in line {number} of {name}, found {line[:60]!r}"
            )
        found.append(Hypothesis(key, (), " ".join(words)))
    return _some(found, name)


def _with_costs(
    hypotheses: Sequence[Hypothesis], costs: Sequence[tuple[str, str]]
) -> tuple[list[Hypothesis], list[int]]:
    """With a score from each archive of costs, and named by their utterance alone; how many costs of each
    archive are of no hypothesis.
    """
    tables = [_costs(text, name) for text, name in costs]
    found, named = [], set()
    for one in hypotheses:
        if one.utterance in named:
            raise UserError(f"expected each UTTERANCE-NUMBER once in {argument('format')} kaldi, found "
                            f"{one.utterance} again; number the hypotheses of an utterance")  # fmt: skip
        named.add(one.utterance)
        for table, (_, name) in zip(tables, costs, strict=True):
            if one.utterance not in table:
                raise UserError(f"expected a cost of {one.utterance} in {name}, found none")
        scores = tuple(-table[one.utterance] for table in tables)
        found.append(Hypothesis(one.utterance.rpartition("-")[0], scores, one.words))
    return found, [len(table.keys() - named) for table in tables]


def _costs(text: str, name: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for number, line in _lines(text, name):
        fields = _words(line)
        if len(fields) != 2:
            raise UserError(f"expected UTTERANCE-NUMBER COST in line {number} of {name}, found {line[:60]!r}")
        if fields[0] in found:
            raise UserError(f"expected each cost once in {name}, found {fields[0]} again in line {number}")
        found[fields[0]] = _score(fields[1], f"a cost in line {number} of {name}")
    return found


def read_srilm(text: str, name: str, utterance: str) -> list[Hypothesis]:
    """The hypotheses of an utterance in one of SRILM's files, with natural logarithms.

    Example:
        >>> read_srilm("-100.0 -4.0 2 the cat\\n", "u1.nbest", "u1")[0].words
        'the cat'
        >>> round(read_srilm("NBestList1.0\\n(-1000) the cat\\n", "u1.nbest", "u1")[0].scores[0], 3)
        -102.395
    """
    found = []
    lines = list(_lines(text, name))
    header = lines[0][1].strip() if lines else ""
    if header.startswith("NBestList") and header != "NBestList1.0":
        raise UserError(
            f"expected NBestList1.0, or ACOUSTIC LM NUMBER-OF-WORDS WORDS, in {name}, found {header}"
        )
    bytelogs = header == "NBestList1.0"
    for number, line in lines[1:] if bytelogs else lines:
        where = f"line {number} of {name}"
        fields = _words(line)
        if bytelogs:
            if not (fields[0].startswith("(") and fields[0].endswith(")")):
                raise UserError(f"expected (SCORE) WORDS in {where}, found {line[:60]!r}")
            scores: tuple[float, ...] = (_score(fields[0][1:-1], f"a score in {where}") * _BYTELOG,)
            words = fields[1:]
        else:
            if len(fields) < _SRILM_FIELDS:
                raise UserError(f"expected ACOUSTIC LM NUMBER-OF-WORDS WORDS in {where}, found {line[:60]!r}")
            given = [
                _score(field, f"numbers before the words in {where}") for field in fields[:_SRILM_FIELDS]
            ]
            scores = (given[0] * math.log(10), given[1] * math.log(10))
            words = fields[_SRILM_FIELDS:]
        found.append(Hypothesis(utterance, scores, " ".join(words)))
    return _some(found, name)


def read_by_utterance(text: str, name: str) -> dict[str, str]:
    """What is said of each utterance: `UTTERANCE WORDS` a line, separated by white space, as Kaldi has it.

    Raises:
        UserError: an utterance is named twice, or none.

    Example:
        >>> read_by_utterance("u1 the cat\\nu2\\n", "text")
        {'u1': 'the cat', 'u2': ''}
    """
    found: dict[str, str] = {}
    for number, line in _lines(text, name):
        key, *words = _words(line)
        if key in found:
            raise UserError(f"expected each utterance once in {name}, found {key} again in line {number}")
        found[key] = " ".join(words)
    if not found:
        raise UserError(f"expected UTTERANCE WORDS, one a line, in {name}, found none")
    return found


def _lines(text: str, name: str) -> Iterator[tuple[int, str]]:
    lines = ((number, line) for number, line in enumerate(lines_of(text), 1) if line.strip())
    return foreign.Memory(name, share=0.4).along(lines)


def _score(text: str, expected: str) -> float:
    try:
        value = float(text)
        if not abs(value) <= _MOST_SCORE:
            raise ValueError
    except ValueError:
        raise UserError(
            f"expected {expected}, finite and of at most {_MOST_SCORE:g} in size, found {text.strip()!r}"
        ) from None
    return value


def _some(found: list[Hypothesis], name: str) -> list[Hypothesis]:
    if not found:
        raise UserError(f"expected hypotheses in {name}, found none")
    return found
