"""Tables of what language models come to, and of what is in a text."""

from collections.abc import Iterator
from typing import Any

from ostinato.data.sequences import SPLITS
from ostinato.domains.answer import Part
from ostinato.domains.domain import Each, Scores
from ostinato.domains.text.reading.text_data import TextData
from ostinato.domains.text.results import score_sentences, scored_tokens
from ostinato.evaluation.numbers import number
from ostinato.evaluation.tables import Column, Table, number_columns, show, table_of
from ostinato.nn import SequenceModel

NAMES = {
    "perplexity": "perplexity",
    "perplexity_known": "without unknown words",
    "bits_per_character": "bits per character",
}
# A token's count is shown for so many tokens.
_TOKENS = 8


def text_table(scores: Scores, title: str) -> Table:
    """Systems against splits; under it, what was counted."""
    splits = [split for split in SPLITS if any(split in by for by in scores.values())]
    table = table_of("", *splits, title=title)
    for system, by_split in scores.items():
        for name, label in NAMES.items():
            if any(name in by_split[split] for split in splits):
                cells = [show(by_split[split].get(name)) for split in splits]
                table.add(f"{system}: {label}", *cells, bold=system == "model")
    counted = (next(iter(scores.values()))[split]["log_likelihood"].convention for split in splits)
    table.notes = [
        "± standard error over blocks of neighbouring sentences",
        *(f"{split}: {convention}" for split, convention in zip(splits, counted, strict=True)),
    ]
    return table


def each_sentence(model: SequenceModel, data: TextData, split: str) -> Each:
    """The log-probability of each sentence of a split."""
    sentences = score_sentences(
        model, data.vocabulary, scored_tokens(data, split), independent=data.independent
    )
    columns = [*number_columns("log-probability", "tokens"), Column("sentence", text=True)]
    table = Table(columns, f"log-probability of each sentence of {split} (nats)")
    for sentence in sentences:
        table.add(number(sentence["log_prob"], "nats"), str(sentence["tokens"]), sentence["sentence"])
    return Each("sentences", sentences, table)


def described(found: dict[str, Any]) -> Iterator[Part]:
    """What `statistics.describe` found."""
    vocabulary, unit = found["vocabulary"], found["vocabulary"]["unit"]
    yield f"{unit}, split {found['details']['split']}"
    lines = "sentences" if unit == "words" else "lines"
    table = table_of("split", unit, lines, f"different {unit}", "unknown")
    for split, own in found["splits"].items():
        numbers = (f"{own[name]:,}" for name in ("tokens", "sentences", "distinct"))
        table.add(split, *numbers, f"{own['unknown']:.2%}")
    yield table
    frequent = ", ".join(f"{_shown(token)} {count:,}" for token, count in vocabulary["frequent"][:_TOKENS])
    yield f"vocabulary: {vocabulary['size']:,} {unit}; most frequent in train: {frequent}"
    yield "train begins:"
    yield from (f"  {line}" for line in found["sample"])


def _shown(token: str) -> str:
    r"""A token that can be seen: characters such as a space or a line's end by their names in Python.

    Example:
        >>> _shown("the"), _shown(" "), _shown("\n")
        ('the', "' '", "'\\n'")
    """
    return token if token.isprintable() and not token.isspace() else repr(token)
