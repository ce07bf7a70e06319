"""`ostinato score` for a run on text: log-probability of every sentence."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from ostinato.cli.output import human, print_json, print_table
from ostinato.errors import UserError

if TYPE_CHECKING:
    from ostinato.text_scoring import ScoredText, Scorer


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
    from ostinato.text_scoring import load_scorer, read_text, score_text

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
    if json:
        print_json(_as_dict(scored, per_token=own.per_token))
    else:
        _print(scored, f"{file} under {run}", per_token=own.per_token)
    return 0


def with_mixture(
    first: Scorer,
    mix_with: Path | None,
    weight: float | None,
    fit_on: Path | None,
    *,
    independent: bool,
) -> Scorer:
    """The first model, or its mixture with a second one, the weight as given or fitted."""
    from ostinato.rescoring import fit_mixture
    from ostinato.text_scoring import MixtureScorer, load_scorer, read_text

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
        human().print(f"weight of {mix_with} fitted on {fit_on}: {weight:.4f}", markup=False)
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


def _as_dict(scored: ScoredText, *, per_token: bool) -> dict[str, Any]:
    return {
        "tokens": len(scored.tokens),
        "unknown": int((~scored.known).sum()),
        "log_prob": scored.log_prob,
        "perplexity": scored.perplexity,
        "bits_per_token": scored.bits_per_token,
        "sentences": _sentences(scored, per_token=per_token),
    }


def _print(scored: ScoredText, title: str, *, per_token: bool) -> None:
    table = Table(title=title, title_justify="left", caption_justify="left")
    for column in ("log p (nats)", "tokens", "unknown", "sentence"):
        table.add_column(column, justify="left" if column == "sentence" else "right")
    for row in _sentences(scored, per_token=per_token):
        shown = row["sentence"]
        if per_token:
            shown = "  ".join(f"{token!r} {p:.2f}" for token, p in row["log_probs"])
        table.add_row(f"{row['log_prob']:.3f}", str(row["tokens"]), str(row["unknown"]), shown)
    end = "sentence ends" if scored.unit == "words" else "line ends"
    measure = (
        f"perplexity {scored.perplexity:.2f}"
        if scored.unit == "words"
        else f"{scored.bits_per_token:.4f} bits per character"
    )
    table.caption = (
        f"log p {scored.log_prob:.3f} nats over {len(scored.tokens):,} tokens ({end} included): {measure}; "
        f"{int((~scored.known).sum()):,} unknown tokens are scored as the one unknown token"
    )
    print_table(table)
