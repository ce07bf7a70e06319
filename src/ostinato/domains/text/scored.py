"""A scored text for people and as a record: its sentences, its perplexity or bits, and what was unknown."""

import math
from typing import Any

from ostinato.domains.text.score import ScoredText
from ostinato.evaluation.numbers import counted, number
from ostinato.evaluation.numbers import score as shown
from ostinato.evaluation.tables import Column, Table, number_columns

# What `ScoredText.scores` gives.
_SCORE = ("value", "standard_error", "unit")
_ENDS = {"words": "sentence ends", "subwords": "sentence ends", "chars": "line ends", "bytes": "line ends"}


def sentences(scored: ScoredText, text: str, *, per_token: bool) -> list[dict[str, Any]]:
    """Every line of a text as it was scored, in order; where words are scored, one without any has nothing.

    Args:
        scored: the text's tokens.
        text: as it was read.
        per_token: with the log-probability of each token.
    """
    rows: list[dict[str, Any]] = []
    places = iter(scored.sentences())
    lines = text.removesuffix("\n").split("\n")
    for line in lines:
        if scored.is_blank(line):
            rows.append({"sentence": "", "tokens": 0, "unknown": 0, "log_prob": 0.0})
            if per_token:
                rows[-1]["log_probs"] = []
            continue
        place = next(places)
        tokens, log_probs = scored.tokens[place], scored.log_probs[place]
        row: dict[str, Any] = {
            "sentence": scored.joined(tokens),
            "tokens": len(tokens),
            "unknown": int((~scored.known[place]).sum()),
            "log_prob": float(log_probs.sum()),
        }
        if per_token:
            row["log_probs"] = [[t, float(p)] for t, p in zip(tokens, log_probs, strict=True)]
        rows.append(row)
    return rows


def as_dict(scored: ScoredText, unigram: ScoredText | None, text: str, *, per_token: bool) -> dict[str, Any]:
    """What is printed as JSON."""
    _, error, unit = scored.scores
    return {
        "tokens": len(scored.tokens),
        "unknown": int((~scored.known).sum()),
        "log_prob": scored.log_prob,
        "perplexity": finite_or_told(scored.perplexity, scored),
        "perplexity_known": scored.perplexity_known,
        "perplexity_per_word": finite_or_told(scored.per_word, scored),
        "bits_per_token": finite_or_told(scored.bits_per_token, scored),
        "bits_per_character": finite_or_told(scored.bits_per_character, scored),
        "standard_error": {"unit": unit, "value": error},
        "baselines": {} if unigram is None else {"1-gram": dict(zip(_SCORE, unigram.scores, strict=True))},
        "sentences": sentences(scored, text, per_token=per_token),
    }


def finite_or_told(value: float, scored: ScoredText) -> float | str:
    """A perplexity, or why there is none."""
    return value if math.isfinite(value) else told_infinite(scored)


def told_infinite(scored: ScoredText) -> str:
    """That a perplexity is infinite, and of how many unknown words; of other tokens where none is unknown."""
    impossible = ~(scored.log_probs > -math.inf)
    unknown = int((impossible & ~scored.known).sum())
    if unknown == int(impossible.sum()) and unknown > 0:
        return f"infinite: {counted(unknown, 'unknown word')}"
    if not impossible.any():
        return "infinite: above the largest number there is"
    return f"infinite: {counted(int(impossible.sum()), 'token')} without probability"


def score_table(
    scored: ScoredText, unigram: ScoredText | None, title: str, text: str, *, per_token: bool
) -> Table:
    """A line for each of the text, and under it what they come to."""
    headings = ("log p\n(nats)", "tokens", "unknown")
    table = Table([*number_columns(*headings), Column("sentence", text=True)], title)
    for row in sentences(scored, text, per_token=per_token):
        told = row["sentence"]
        if per_token:
            told = "  ".join(f"{token!r} {number(p, 'nats')}" for token, p in row["log_probs"])
        table.add(number(row["log_prob"], "nats"), str(row["tokens"]), str(row["unknown"]), told)
    baseline = "" if unigram is None else f" (1-gram of the training text: {_measure(unigram)})"
    unknown = int((~scored.known).sum())
    how = f"{'is' if unknown == 1 else 'are'} scored as the one unknown token"
    if not math.isfinite(scored.log_prob):
        how = "in all"
    without = ""
    if 0 < unknown < len(scored.tokens):
        without = f"; without them perplexity {shown(scored.perplexity_known, 'perplexity')}"
    table.notes = [
        f"log p {number(scored.log_prob, 'nats')} nats over {counted(len(scored.tokens), 'token')} "
        f"({_ENDS[scored.unit]} included): {_measure(scored)}{baseline}; {counted(unknown, 'unknown token')} "
        f"{how}{without}; ± standard error over "
        "blocks of neighbouring sentences",
        _other_measure(scored),
    ]
    return table


def _measure(scored: ScoredText) -> str:
    value, error, unit = scored.scores
    if not math.isfinite(value):
        return f"perplexity {told_infinite(scored)}"
    text = shown(value, unit, error)
    return f"perplexity {text}" if unit == "perplexity" else f"{text} bits per character"


def _other_measure(scored: ScoredText) -> str:
    """So that models of different units compare."""
    if not math.isfinite(scored.per_word):
        return "bits per character are infinite, too"
    if scored.unit in ("words", "subwords"):
        return f"{shown(scored.bits_per_character, 'bits/character')} bits per character of the text"
    return f"perplexity {shown(scored.per_word, 'perplexity')} by word of the text"
