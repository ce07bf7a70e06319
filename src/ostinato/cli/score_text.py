"""`ostinato score` for a run on text: log-probability of every sentence."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ostinato.cli.output import human, print_json, print_table
from ostinato.cli.tables import Column, Table, number_columns
from ostinato.errors import UserError
from ostinato.evaluation.numbers import number, setting
from ostinato.evaluation.numbers import score as shown

if TYPE_CHECKING:
    from ostinato.domains.text.score import ScoredText, Scorer


@dataclass(frozen=True, kw_only=True)
class TextOptions:
    """What only a run on text is asked.

    Parameters
    ----------
    independent
        Sentences know nothing of each other; by default the state is carried from one to the next.
    dynamic
        The model goes on learning from the text it has scored; the run stays as it is.
    dynamic_rate
        Learning rate for --dynamic.
    mix_with
        A second model: a run's folder or an ARPA file.
    mix_weight
        Weight of the second model, from 0 to 1.
    fit_on
        Fit the weight on this text by expectation maximisation instead.
    per_token
        Show the log-probability of each token too.
    """

    independent: bool = False
    dynamic: bool = False
    dynamic_rate: float = 0.1
    mix_with: Path | None = None
    mix_weight: float | None = None
    fit_on: Path | None = None
    per_token: bool = False


def score_text_file(run: Path, files: list[Path], own: TextOptions | None, *, json: bool) -> int:
    """Score each sentence (line) of a text file."""
    from ostinato.domains.text.score import load_scorer, read_text, score_text, unigram_scores

    own = own or TextOptions()
    if len(files) != 1:
        raise UserError(f"expected one text to score, found {len(files)} files; score one after the other")
    (file,) = files
    if own.independent and own.dynamic:
        raise UserError(
            "expected --independent or --dynamic, found both; dynamic evaluation carries its state"
        )
    scorer = with_mixture(
        load_scorer(run, dynamic=own.dynamic_rate if own.dynamic else None),
        own.mix_with,
        own.mix_weight,
        own.fit_on,
        independent=own.independent,
    )
    scored = score_text(scorer, read_text(file), independent=own.independent)
    unigram = unigram_scores(scorer, scored.tokens)
    if json:
        print_json(_as_dict(scored, unigram, per_token=own.per_token))
    else:
        _print(scored, unigram, f"{file} under {run}", per_token=own.per_token)
    return 0


# What `ScoredText.scores` gives.
_SCORE = ("value", "standard_error", "unit")


def with_mixture(
    first: Scorer,
    mix_with: Path | None,
    weight: float | None,
    fit_on: Path | None,
    *,
    independent: bool,
) -> Scorer:
    """The first model, or its mixture with a second one, the weight as given or fitted."""
    from ostinato.domains.text.rescore import fit_mixture
    from ostinato.domains.text.score import MixtureScorer, load_scorer, read_text

    if mix_with is None:
        if weight is not None or fit_on is not None:
            raise UserError("expected --mix-with MODEL with --mix-weight or --fit-on, found no second model")
        return first
    if (weight is None) == (fit_on is None):
        raise UserError("expected either --mix-weight or --fit-on with --mix-with")
    second = load_scorer(mix_with)
    if second.unit != first.unit:
        raise UserError(f"expected two models of {first.unit}, found one of {second.unit}")
    if fit_on is not None:
        weight = fit_mixture(first, second, read_text(fit_on), independent=independent)
        human().print(f"weight of {mix_with} fitted on {fit_on}: {setting(weight)}")
    if weight is None or not 0 <= weight <= 1:
        raise UserError(f"expected --mix-weight in [0, 1], found {weight}")
    return MixtureScorer(first, second, weight)


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


def _print(scored: ScoredText, unigram: ScoredText | None, title: str, *, per_token: bool) -> None:
    headings = ("log p\n(nats)", "tokens", "unknown")
    table = Table([*number_columns(*headings), Column("sentence", text=True)], title)
    for row in _sentences(scored, per_token=per_token):
        text = row["sentence"]
        if per_token:
            text = "  ".join(f"{token!r} {number(p, 'nats')}" for token, p in row["log_probs"])
        table.add(number(row["log_prob"], "nats"), str(row["tokens"]), str(row["unknown"]), text)
    end = "sentence ends" if scored.unit == "words" else "line ends"
    baseline = "" if unigram is None else f" (1-gram of the training text: {_measure(unigram)})"
    table.notes = [
        f"log p {number(scored.log_prob, 'nats')} nats over {len(scored.tokens):,} tokens ({end} included): "
        f"{_measure(scored)}{baseline}; {int((~scored.known).sum()):,} unknown tokens are scored as the one "
        "unknown token; ± standard error over sentences"
    ]
    print_table(table)


def _measure(scored: ScoredText) -> str:
    value, error, unit = scored.scores
    text = shown(value, unit, error)
    return f"perplexity {text}" if unit == "perplexity" else f"{text} bits per character"
