"""`ostinato rescore`: the best hypothesis of each utterance of an n-best list."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ostinato.cli.output import data_text, human, print_json
from ostinato.evaluation.numbers import number

if TYPE_CHECKING:
    from ostinato.domains.text.rescore import Ranked


def rescore_list(
    run: Path,
    nbest: Path,
    *,
    score_weights: list[float] | None = None,
    lm_weight: float = 1.0,
    word_bonus: float = 0.0,
    mix_with: Path | None = None,
    mix_weight: float | None = None,
    fit_on: Path | None = None,
    all: bool = False,
    json: bool = False,
) -> int:
    """Rank the hypotheses of an n-best list; print UTTERANCE <tab> WORDS, the best of each utterance.

    A line of the list is UTTERANCE, any number of scores, and WORDS, separated by tabs.

    Parameters
    ----------
    run
        The run's folder, or an ARPA file.
    nbest
        The list.
    score_weights
        Weights of the scores that come with the list; 1 each by default.
    lm_weight
        Weight of the language model's log-probability (natural logarithm).
    word_bonus
        Added for every word.
    mix_with
        A second model: a run's folder or an ARPA file.
    mix_weight
        Weight of the second model, from 0 to 1.
    fit_on
        Fit the weight on this text by expectation maximisation instead.
    all
        Print every hypothesis with its total and log-probability, best first.
    json
        Print one JSON object.
    """
    from ostinato.domains.text.commands import with_mixture
    from ostinato.domains.text.rescore import read_nbest, rescore
    from ostinato.domains.text.score import load_scorer, read_text

    first = load_scorer(run)  # before the list: a run that is none on text is told first
    hypotheses = read_nbest(read_text(nbest), str(nbest))
    scorer, notices = with_mixture(first, mix_with, mix_weight, fit_on, independent=True)
    for notice in notices:
        human().print(notice.text)
    ranked = rescore(
        scorer, hypotheses, weights=score_weights or None, lm_weight=lm_weight, word_bonus=word_bonus
    )
    if json:
        print_json({"utterances": [[_as_dict(r) for r in (each if all else each[:1])] for each in ranked]})
        return 0
    for each in ranked:
        for one in each if all else each[:1]:
            detail = f"{number(one.total, 'nats')}\t{number(one.log_prob, 'nats')}\t" if all else ""
            print(data_text(f"{one.hypothesis.utterance}\t{detail}{one.hypothesis.words}"))
    return 0


def _as_dict(ranked: Ranked) -> dict[str, object]:
    return {
        "utterance": ranked.hypothesis.utterance,
        "words": ranked.hypothesis.words,
        "total": ranked.total,
        "log_prob": ranked.log_prob,
        "scores": list(ranked.hypothesis.scores),
    }
