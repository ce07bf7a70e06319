"""Text in commands: `generate` writes it, and `score` gives the log-probability of every sentence."""

import itertools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ostinato.domains.answer import Answer, Asked, Notice, Part, Raw
from ostinato.domains.seed import seeded
from ostinato.domains.text.generate import Sampling, generate_tokens, pieces, prime_tokens
from ostinato.domains.text.language_model import LanguageModel
from ostinato.domains.text.mixture import mixture_of
from ostinato.domains.text.options import GenerateOptions, ScoreOptions
from ostinato.domains.text.reading.vocabulary import Vocabulary
from ostinato.domains.text.reading.words import told_of_marks
from ostinato.domains.text.score import (
    RunScorer,
    Scorer,
    line_scores,
    load_scorer,
    read_sentences,
    read_text,
    score_text,
    unigram_scores,
)
from ostinato.domains.text.scored import as_dict, score_table
from ostinato.domains.text.unknown import UnknownWords
from ostinato.errors import UserError, argument
from ostinato.evaluation.numbers import counted, setting
from ostinato.nn import SequenceModel
from ostinato.runs.folder import Run
from ostinato.runs.trained import load_model


def write_text(run: Path, asked: Asked, own: GenerateOptions) -> Answer:
    """Generate words or characters, which are printed as they come."""
    prime, sampling = _prime(asked, own), how(own)
    opened = Run.open(run)
    model, vocabulary = load_model(opened, device=asked.device).model, Vocabulary.read(opened.folder)
    text = written(model, vocabulary, prime, asked.seed, sampling, own.tokens)
    notices = unknown_in(vocabulary, prime)

    def record() -> dict[str, Any]:
        return {"prime": prime, "text": "".join(text), "seed": asked.seed, "tokens": own.tokens}

    return Answer(record, map(Raw, itertools.chain([prime], text, ["\n"])), notices)


def _prime(asked: Asked, own: GenerateOptions) -> str:
    """What is to be continued: a text, or what a file holds, but for the end of its last line."""
    if own.prime_file is None:
        return asked.prime or ""
    if asked.prime is not None:
        raise UserError(f"expected {argument('prime')} or {argument('prime_file')}, found both")
    return read_text(own.prime_file).removesuffix("\n")


def unknown_in(vocabulary: Vocabulary, prime: str) -> list[Notice]:
    """What a user should know of a text to continue: which of its tokens the model reads as unknown."""
    unknown = [token for token in prime_tokens(vocabulary, prime) if token not in vocabulary.ids]
    if not unknown:
        return []
    kind = "word" if vocabulary.unit == "words" else "character"
    shown = " ".join(map(repr, dict.fromkeys(unknown).keys() if len(unknown) < 6 else unknown[:5]))
    return [Notice(f"{counted(len(unknown), f'{kind} of the prime is', f'{kind}s of the prime are')} "
                   f"unknown to the model, which reads them so: {shown}")]  # fmt: skip


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
    new_line = not prime or prime.endswith("\n")
    return pieces(itertools.islice(drawn, tokens), vocabulary, new_line=new_line)


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
    first = load_scorer(run, dynamic=own.dynamic_rate if own.dynamic else None)
    if own.dynamic:
        check_remembers([(run, first)], "dynamic")
    unknown = UnknownWords(penalty=own.unknown_penalty)
    scorer, notices = with_mixture(
        first, own.mix_with, own.mix_weight, own.fit_on, independent=own.independent
    )
    text, marked = read_sentences(file, scorer.unit)
    notices += [Notice(told_of_marks(marked, str(file)))] if marked else []
    if own.lines:
        return _line_by_line(scorer, text, own, unknown, notices)
    scored = score_text(scorer, text, independent=own.independent, unknown=unknown)
    if not scored.tokens:
        raise UserError(f"expected text in {file}, found none but white space")
    unigram = unigram_scores(first, scored)

    def parts() -> Iterator[Part]:
        yield score_table(scored, unigram, f"{file} under {run}", text, per_token=own.per_token)

    return Answer(lambda: as_dict(scored, unigram, text, per_token=own.per_token), parts(), notices)


def check_remembers(models: Sequence[tuple[Path, Scorer]], asked: str) -> None:
    """See that sentences can be scored after each other, as an option asks.

    Raises:
        UserError: a run is on independent sentences, or there are n-grams alone, which remember no sentence.
    """
    for path, model in models:
        if isinstance(model, RunScorer) and model.independent:
            raise UserError(
                f"{argument(asked)} carries its state, found a run on independent sentences: {path}; leave "
                "it out"
            )
    # conversations are also what is resampled as a whole, whatever the model
    if asked != "conversations" and not any(isinstance(model, RunScorer) for _, model in models):
        found = ", ".join(str(path) for path, _ in models)
        raise UserError(
            f"{argument(asked)} carries a state from sentence to sentence, found n-grams, which have none: "
            f"{found}; leave it out"
        )


def export_file(run: Path, file: Path) -> Answer:
    """Write one step of the model as an ONNX file."""
    if file.suffix != ".onnx":
        raise UserError(f"expected a name that ends in .onnx, found {file}")
    LanguageModel.open(run).export_onnx(file)
    return Answer(lambda: {"file": str(file)}, [f"wrote {file}"])


def _line_by_line(
    scorer: Scorer, text: str, own: ScoreOptions, unknown: UnknownWords, notices: list[Notice]
) -> Answer:
    """One log-probability for each line of the text, in order."""
    found = line_scores(scorer, text, independent=own.independent, unknown=unknown)
    found = found / math.log(10) if own.base == "10" else found
    lines = "".join(f"{value!r}\n" for value in found.tolist())
    return Answer(lambda: {"base": own.base, "log_probs": found.tolist()}, [Raw(lines)], notices)


def with_mixture(
    first: Scorer,
    mix_with: Sequence[Path],
    weights: Sequence[float],
    fit_on: Path | None,
    *,
    independent: bool,
    carry: bool = False,
    dynamic: float | None = None,
) -> tuple[Scorer, list[Notice]]:
    """The first model, or its mixture with others, the weights as given or fitted, which is noticed."""
    both = f"{argument('mix_weight')} or {argument('fit_on')}"
    if not mix_with:
        if weights or fit_on is not None:
            raise UserError(f"expected {argument('mix_with')} MODEL with {both}, found no second model")
        return first, []
    if bool(weights) == (fit_on is not None):
        raise UserError(f"expected either {both} with {argument('mix_with')}")
    models = [first, *(load_scorer(path, carry=carry, dynamic=dynamic) for path in mix_with)]
    text = None if fit_on is None else read_sentences(fit_on, first.unit)[0]
    scorer, found = mixture_of(models, None if text is not None else weights, text, independent=independent)
    if fit_on is None:
        return scorer, []
    told = ", ".join(f"{path} {setting(float(w))}" for path, w in zip(mix_with, found[1:], strict=True))
    return scorer, [Notice(f"weights fitted on {fit_on}: {told}")]
