"""`ostinato rescore`: n-best lists read, ranked, and shown."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ostinato.domains.answer import Answer, Notice, Part, Raw
from ostinato.domains.text.commands import check_remembers, with_mixture
from ostinato.domains.text.mixture import MixtureScorer
from ostinato.domains.text.nbest import Format, Hypothesis, load_nbest, read_by_utterance
from ostinato.domains.text.reading.words import told_of_marks, without_marks
from ostinato.domains.text.rescore import Ranked, Rescored, Weights, rescore
from ostinato.domains.text.score import Scorer, load_scorer, read_text
from ostinato.domains.text.tune import Setting, Tuned, tune
from ostinato.domains.text.unknown import UnknownWords
from ostinato.errors import UserError, argument, check_installed
from ostinato.evaluation.numbers import counted, number, setting
from ostinato.evaluation.tables import Table, table_of


@dataclass(frozen=True, kw_only=True)
class RescoreOptions:
    """Of `ostinato rescore`; see there."""

    format: Format = "table"
    costs: tuple[Path, ...] = ()
    score_weights: tuple[float, ...] = ()
    lm_weight: float = 1.0
    word_bonus: float = 0.0
    mix_with: tuple[Path, ...] = ()
    mix_weight: tuple[float, ...] = ()
    fit_on: Path | None = None
    unknown_types: int | None = None
    unknown_penalty: float | None = None
    carry: bool = False
    conversations: Path | None = None
    dynamic: bool = False
    dynamic_rate: float = 0.1
    tune: Path | None = None
    lines: bool = False
    base: Literal["e", "10"] = "e"
    all: bool = False


def rescore_lists(run: Path, lists: list[Path], own: RescoreOptions) -> Answer:
    """Rank the hypotheses of n-best lists, or tune the weights that they are ranked by."""
    _check(own)
    rate = own.dynamic_rate if own.dynamic else None
    carry = own.carry or own.conversations is not None
    # before the list: a run that is none on text is told first
    first = load_scorer(run, dynamic=rate, carry=carry, unknown_types=own.unknown_types)
    hypotheses, told = load_nbest(lists, own.format, own.costs)
    notices = [Notice(text) for text in told]
    scorer, more = with_mixture(
        first, own.mix_with, own.mix_weight, own.fit_on, independent=True, carry=carry, dynamic=rate
    )
    notices += more
    if own.dynamic or carry:
        asked = "dynamic" if own.dynamic else "carry" if own.carry else "conversations"
        models = scorer.together.models if isinstance(scorer, MixtureScorer) else [first]
        check_remembers(list(zip((run, *own.mix_with), models, strict=True)), asked)
    conversations = None
    if own.conversations is not None:
        conversations = read_by_utterance(read_text(own.conversations), str(own.conversations))
    weights = Weights(own.score_weights or None, own.lm_weight, own.word_bonus)
    unknown = UnknownWords(shared=True, penalty=own.unknown_penalty)
    if own.tune is not None:
        references, marked = _without_marks(read_by_utterance(read_text(own.tune), str(own.tune)))
        notices += [Notice(told_of_marks(marked, str(own.tune)))] if marked else []
        notices += _unmatched(hypotheses, references)
        tuned = tune(
            scorer, hypotheses, references, weights=weights, unknown=unknown, conversations=conversations
        )
        return Answer(lambda: _tuned_record(tuned), _tuned_parts(tuned), notices)
    rescored = rescore(scorer, hypotheses, weights=weights, unknown=unknown, conversations=conversations)
    notices += _impossible(rescored, scorer)
    return Answer(lambda: _record(rescored, own, hypotheses), _shown(rescored, own, hypotheses), notices)


def _check(own: RescoreOptions) -> None:
    if own.unknown_types is not None and own.unknown_types < 1:
        raise UserError(f"expected {argument('unknown_types')} of at least 1, found {own.unknown_types}")
    if own.tune is not None:
        check_installed("text", "rapidfuzz")
    if own.lines and (own.all or own.tune is not None):
        other = "all" if own.all else "tune"
        raise UserError(f"expected {argument('lines')} or {argument(other)}, found both")


def _without_marks(references: dict[str, str]) -> tuple[dict[str, str], int]:
    """References as the hypotheses are, without marks of sentences, and how many had any."""
    bare, marked = without_marks("\n".join(references.values()))
    return dict(zip(references, bare.split("\n"), strict=True)), marked


def _unmatched(hypotheses: list[Hypothesis], references: dict[str, str]) -> list[Notice]:
    named = dict.fromkeys(one.utterance for one in hypotheses)
    without = [name for name in named if name not in references]
    other = len(references.keys() - named.keys())
    found = []
    if without:
        found.append(
            Notice(f"{counted(len(without), 'utterance')} without a reference left out: {without[0]}")
        )
    if other:
        found.append(Notice(f"{counted(other, 'reference')} without hypotheses left out"))
    return found


def _impossible(rescored: Rescored, scorer: Scorer) -> list[Notice]:
    if not rescored.impossible:
        return []
    count, first = len(rescored.impossible), rescored.impossible[0]
    return [
        Notice(
            f"{counted(count, 'utterance')} whose every hypothesis is impossible under the model, say "
            f"{first}: their other scores alone decide; a penalty of unknown words gives them a worth"
        )
    ]


def _in_order(rescored: Rescored, hypotheses: list[Hypothesis], base: str) -> np.ndarray:
    """log p of each hypothesis in the order of the list."""
    found = {id(r.hypothesis): r.log_prob for each in rescored.utterances for r in each}
    return np.array([found[id(one)] for one in hypotheses]) / (math.log(10) if base == "10" else 1.0)


def _record(rescored: Rescored, own: RescoreOptions, hypotheses: list[Hypothesis]) -> dict[str, Any]:
    if own.lines:
        return {"base": own.base, "log_probs": _in_order(rescored, hypotheses, own.base).tolist()}
    return {
        "utterances": [
            [_as_dict(r) for r in (each if own.all else each[:1])] for each in rescored.utterances
        ],
        "impossible": rescored.impossible,
    }


def _shown(rescored: Rescored, own: RescoreOptions, hypotheses: list[Hypothesis]) -> Iterator[Part]:
    if own.lines:
        values = _in_order(rescored, hypotheses, own.base)
        yield Raw("".join(f"{value!r}\n" for value in values.tolist()))
        return
    for each in rescored.utterances:
        for one in each if own.all else each[:1]:
            detail = f"{number(one.total, 'nats')}\t{number(one.log_prob, 'nats')}\t" if own.all else ""
            yield Raw(f"{one.hypothesis.utterance}\t{detail}{one.hypothesis.words}\n")


def _as_dict(ranked: Ranked) -> dict[str, object]:
    return {
        "utterance": ranked.hypothesis.utterance,
        "words": ranked.hypothesis.words,
        "total": ranked.total,
        "log_prob": ranked.log_prob,
        "scores": list(ranked.hypothesis.scores),
    }


# What a tuned bench shows, in this order.
_SYSTEMS = {
    "first": "first hypothesis",
    "before": "as given",
    "after": "tuned",
    "oracle": "oracle: the best hypothesis there is",
}


def _tuned_parts(tuned: Tuned) -> Iterator[Part]:
    yield tuned_table(tuned)
    yield "tuned: " + " ".join(options_of(tuned.after))


def tuned_table(tuned: Tuned) -> Table:
    """Word error rates on the half that was not tuned on, and their difference."""
    table = table_of("", "word errors, %", title="word error rate of the utterances that were not tuned on")
    for system, label in _SYSTEMS.items():
        table.add(label, number(tuned.rate(system), "%"), bold=system == "after")
    low, high = tuned.difference.interval
    table.notes = [
        f"over {counted(int(tuned.words.sum()), 'word')} of {counted(tuned.tried_on, 'utterance')}; tuned on "
        f"{tuned.tuned_on:,} others",
        f"tuned less as given: {number(tuned.difference.value, '%', plus=True)} points, 95 % interval "
        f"[{number(low, '%', plus=True)}, {number(high, '%', plus=True)}], paired bootstrap",
    ]
    return table


def options_of(found: Setting) -> list[str]:
    """What a user types for a setting.

    Example:
        >>> options_of(Setting(9.5, 0.25, (0.25, 0.75), 8.0))[:2]
        ['--lm-weight 9.5', '--word-bonus 0.25']
    """
    given = [("lm_weight", found.lm_weight), ("word_bonus", found.word_bonus)]
    given += [("mix_weight", weight) for weight in found.mixture[1:]]
    if found.unknown_penalty is not None:
        given.append(("unknown_penalty", found.unknown_penalty))
    return [f"--{name.replace('_', '-')} {setting(value)}" for name, value in given]


def _tuned_record(tuned: Tuned) -> dict[str, Any]:
    low, high = tuned.difference.interval
    return {
        "before": _setting_record(tuned.before),
        "after": _setting_record(tuned.after),
        "options": " ".join(options_of(tuned.after)),
        "utterances": {"tuned_on": tuned.tuned_on, "tried_on": tuned.tried_on},
        "reference_words": int(tuned.words.sum()),
        "word_error_rate": {system: tuned.rate(system) for system in _SYSTEMS},
        "difference": {
            "value": tuned.difference.value,
            "interval": [low, high],
            "p_value": tuned.difference.p_value,
        },
    }


def _setting_record(found: Setting) -> dict[str, Any]:
    return {
        "lm_weight": found.lm_weight,
        "word_bonus": found.word_bonus,
        "mixture": list(found.mixture),
        "unknown_penalty": found.unknown_penalty,
    }
