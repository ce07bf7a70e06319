"""Text in commands: `generate` writes it, and `score` gives the log-probability of every sentence."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ostinato.domains.answer import Answer, Asked, Notice, Part, Raw
from ostinato.domains.seed import seeded
from ostinato.domains.text.generate import Sampling, generate_tokens, pieces
from ostinato.domains.text.options import GenerateOptions, ScoreOptions
from ostinato.domains.text.reading.vocabulary import Vocabulary
from ostinato.domains.text.rescore import fit_mixture
from ostinato.domains.text.score import (
    MixtureScorer,
    ScoredText,
    Scorer,
    load_scorer,
    read_text,
    score_text,
    unigram_scores,
)
from ostinato.errors import UserError, argument
from ostinato.evaluation.numbers import counted, number, setting
from ostinato.evaluation.numbers import score as shown
from ostinato.evaluation.tables import Column, Table, number_columns
from ostinato.nn import SequenceModel
from ostinato.runs.folder import Run
from ostinato.runs.trained import load_model


def write_text(run: Path, asked: Asked, own: GenerateOptions) -> Answer:
    """Generate words or characters, which are printed as they come."""
    prime, sampling = asked.prime or "", how(own)
    opened = Run.open(run)
    model, vocabulary = load_model(opened, device=asked.device).model, Vocabulary.read(opened.folder)
    text = written(model, vocabulary, prime, asked.seed, sampling, own.tokens)

    def record() -> dict[str, Any]:
        return {"prime": prime, "text": "".join(text), "seed": asked.seed, "tokens": own.tokens}

    return Answer(record, map(Raw, itertools.chain([prime], text, ["\n"])))


def how(own: GenerateOptions) -> Sampling:
    """How tokens are chosen; a `UserError` where what was asked makes no sense."""
    if own.tokens < 1:
        raise UserError(f"expected {argument('tokens')} of at least 1, found {own.tokens}")
    return Sampling(own.temperature, own.top_k, own.top_p, own.unknown)


def written(
    model: SequenceModel, vocabulary: Vocabulary, prime: str, seed: int, sampling: Sampling, tokens: int
) -> Iterator[str]:
    """Pieces of a text that continues `prime`, as they come."""
    drawn = generate_tokens(model, vocabulary, sampling, prime=prime, generator=seeded(seed))
    return pieces(itertools.islice(drawn, tokens), vocabulary.unit, new_line=not prime)


def score_file(run: Path, files: list[Path], own: ScoreOptions) -> Answer:
    """Score each sentence (line) of a text file."""
    if len(files) != 1:
        raise UserError(f"expected one text to score, found {len(files)} files; score one after the other")
    (file,) = files
    if own.independent and own.dynamic:
        raise UserError(
            f"expected {argument('independent')} or {argument('dynamic')}, found both; dynamic evaluation "
            "carries its state"
        )
    scorer, notices = with_mixture(
        load_scorer(run, dynamic=own.dynamic_rate if own.dynamic else None),
        own.mix_with,
        own.mix_weight,
        own.fit_on,
        independent=own.independent,
    )
    scored = score_text(scorer, read_text(file), independent=own.independent)
    unigram = unigram_scores(scorer, scored.tokens)

    def parts() -> Iterator[Part]:
        yield _table(scored, unigram, f"{file} under {run}", per_token=own.per_token)

    return Answer(lambda: _as_dict(scored, unigram, per_token=own.per_token), parts(), notices)


# What `ScoredText.scores` gives.
_SCORE = ("value", "standard_error", "unit")


def with_mixture(
    first: Scorer,
    mix_with: Path | None,
    weight: float | None,
    fit_on: Path | None,
    *,
    independent: bool,
) -> tuple[Scorer, list[Notice]]:
    """The first model, or its mixture with a second one, the weight as given or fitted, which is noticed."""
    both = f"{argument('mix_weight')} or {argument('fit_on')}"
    if mix_with is None:
        if weight is not None or fit_on is not None:
            raise UserError(f"expected {argument('mix_with')} MODEL with {both}, found no second model")
        return first, []
    if (weight is None) == (fit_on is None):
        raise UserError(f"expected either {both} with {argument('mix_with')}")
    second = load_scorer(mix_with)
    if second.unit != first.unit:
        raise UserError(f"expected two models of {first.unit}, found one of {second.unit}")
    notices = []
    if fit_on is not None:
        weight = fit_mixture(first, second, read_text(fit_on), independent=independent)
        notices = [Notice(f"weight of {mix_with} fitted on {fit_on}: {setting(weight)}")]
    if weight is None or not 0 <= weight <= 1:
        raise UserError(f"expected {argument('mix_weight')} in [0, 1], found {weight}")
    return MixtureScorer(first, second, weight), notices


def _sentences(scored: ScoredText, *, per_token: bool) -> list[dict[str, Any]]:
    join = " ".join if scored.unit == "words" else "".join
    rows = []
    for place in scored.sentences():
        tokens, log_probs = scored.tokens[place], scored.log_probs[place]
        row: dict[str, Any] = {
            "sentence": join(t for t in tokens if t not in ("</s>", "\n")),
            "tokens": len(tokens),
            "unknown": int((~scored.known[place]).sum()),
            "log_prob": float(log_probs.sum()),
        }
        if per_token:
            row["log_probs"] = [[t, float(p)] for t, p in zip(tokens, log_probs, strict=True)]
        rows.append(row)
    return rows


def _as_dict(scored: ScoredText, unigram: ScoredText | None, *, per_token: bool) -> dict[str, Any]:
    _, error, unit = scored.scores
    return {
        "tokens": len(scored.tokens),
        "unknown": int((~scored.known).sum()),
        "log_prob": scored.log_prob,
        "perplexity": scored.perplexity,
        "bits_per_token": scored.bits_per_token,
        "standard_error": {"unit": unit, "value": error},
        "baselines": {} if unigram is None else {"1-gram": dict(zip(_SCORE, unigram.scores, strict=True))},
        "sentences": _sentences(scored, per_token=per_token),
    }


def _table(scored: ScoredText, unigram: ScoredText | None, title: str, *, per_token: bool) -> Table:
    headings = ("log p\n(nats)", "tokens", "unknown")
    table = Table([*number_columns(*headings), Column("sentence", text=True)], title)
    for row in _sentences(scored, per_token=per_token):
        text = row["sentence"]
        if per_token:
            text = "  ".join(f"{token!r} {number(p, 'nats')}" for token, p in row["log_probs"])
        table.add(number(row["log_prob"], "nats"), str(row["tokens"]), str(row["unknown"]), text)
    end = "sentence ends" if scored.unit == "words" else "line ends"
    baseline = "" if unigram is None else f" (1-gram of the training text: {_measure(unigram)})"
    unknown = int((~scored.known).sum())
    table.notes = [
        f"log p {number(scored.log_prob, 'nats')} nats over {counted(len(scored.tokens), 'token')} ({end} "
        f"included): {_measure(scored)}{baseline}; {counted(unknown, 'unknown token')} "
        f"{'is' if unknown == 1 else 'are'} scored as the one unknown token; ± standard error over "
        "blocks of neighbouring sentences"
    ]
    return table


def _measure(scored: ScoredText) -> str:
    value, error, unit = scored.scores
    text = shown(value, unit, error)
    return f"perplexity {text}" if unit == "perplexity" else f"{text} bits per character"
