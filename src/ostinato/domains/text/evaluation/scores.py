"""Scoring text: log-probability of every token, perplexity of words, bits per character.

Shapes: N tokens, T time, B streams, L layers, H hidden.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ostinato.data.batches import padded
from ostinato.domains.text.reading.extents import Extents
from ostinato.domains.text.reading.vocabulary import END_ID, NO_ID, Vocabulary
from ostinato.evaluation.blocks import block_length, in_blocks, residuals
from ostinato.evaluation.predictor import Predictor
from ostinato.evaluation.scores import Score, pooled_score
from ostinato.nn import SequenceModel
from ostinato.nn.cells.state import repeat
from ostinato.nn.devices import device_of

# Steps at a time: bounds memory, and changes nothing else.
CHUNK = 1000


def score_tokens(
    predictor: Predictor, tokens: np.ndarray, *, independent: bool = False, states: Any = None
) -> np.ndarray:
    """Log-probability of each token of a text in nats, read from front to back with its state carried.

    The first token is predicted from the end of a sentence and a zero state. So is the first of every
    sentence, if they are independent.

    Args:
        predictor: a language model.
        tokens: ids (N,).
        independent: whether sentences know nothing of each other.
        states: the state to start from, instead of zero.

    Returns:
        Log-probabilities, shape (N,), float64.
    """
    result, device = np.empty(len(tokens)), device_of(predictor)
    with torch.no_grad():
        for begin in range(0, len(tokens), CHUNK):
            targets = np.asarray(tokens[begin : begin + CHUNK]).astype(np.int64)
            before = END_ID if begin == 0 else int(tokens[begin - 1])
            inputs = np.concatenate([[before], targets[:-1]])
            starts = _column(inputs == END_ID, device) if independent else None
            distribution, states = predictor(_column(inputs, device), states, starts)
            log_p: Tensor = distribution.log_prob(_column(targets, device))
            result[begin : begin + CHUNK] = log_p.squeeze(1).double().cpu().numpy()
    return result


def score_together(
    model: SequenceModel, texts: Sequence[np.ndarray], *, states: Any = None
) -> list[np.ndarray]:
    """As `score_tokens` each of several texts by itself, but at once; the shorter ones are padded.

    Args:
        model: a language model.
        texts: ids (N,), each N of at least 1.
        states: of one stream, from which all texts start, instead of zero.
    """
    targets = torch.from_numpy(padded([np.asarray(text).astype(np.int64) for text in texts]))
    inputs = torch.cat([torch.full_like(targets[:1], END_ID), targets[:-1]])
    device, found = device_of(model), []
    states = None if states is None else repeat(states, len(texts))
    with torch.no_grad():
        for begin in range(0, len(targets), CHUNK):
            part = slice(begin, begin + CHUNK)
            distribution, states = model(inputs[part].to(device), states)
            found.append(distribution.log_prob(targets[part].to(device)).double().cpu().numpy())
    log_probs = np.concatenate(found)
    return [log_probs[: len(text), b] for b, text in enumerate(texts)]


def _column(values: np.ndarray, device: torch.device) -> Tensor:
    """One stream (T, 1) of values (T,) on a device."""
    return torch.from_numpy(values).unsqueeze(1).to(device)


def sentence_totals(log_probs: np.ndarray, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums and counts of tokens by sentence, the end of the sentence included, each of shape (S,).

    Example:
        >>> sentence_totals(np.array([-1.0, -2.0, -4.0]), np.array([5, 0, 7]))
        (array([-3., -4.]), array([2, 1]))
    """
    ends = np.asarray(tokens) == END_ID
    sentence = np.cumsum(ends) - ends
    counts = np.bincount(sentence)
    return np.bincount(sentence, log_probs), counts


def text_scores(
    vocabulary: Vocabulary,
    log_probs: np.ndarray,
    tokens: np.ndarray,
    extents: Extents | None = None,
    *,
    independent: bool = False,
) -> dict[str, Score]:
    """Every score of a text by name, with conventions that say what was counted.

    Perplexity is exp of -log p by words and sentence ends; bits per character are -log2 p by characters and
    line ends, whatever the tokens are, so that models of different units compare. Standard errors are over
    blocks of neighbouring sentences, since what one is about the next one is about as well; see
    `ostinato.evaluation.blocks`.

    Args:
        vocabulary: names the tokens.
        log_probs: of each token (N,).
        tokens: ids (N,).
        extents: words and characters of each sentence; without them there is only what tokens are counted by.
        independent: whether each sentence was read by itself.

    Example:
        >>> vocabulary = Vocabulary.count("words", ["a b\\n"] * 2)
        >>> scores = text_scores(vocabulary, np.log([0.5, 0.5, 0.125]), np.array([1, 2, 0]))
        >>> round(scores["perplexity"].value, 4), scores["perplexity"].count
        (3.1748, 3)
    """
    read = "each sentence from the start state" if independent else "state carried over sentences"
    convention = f"{read}, {_convention(vocabulary, tokens)}"
    totals, each = sentence_totals(log_probs, tokens)
    length = block_length(residuals(totals, each))
    likelihood = _pooled(totals, each, length, "nats/token", convention)
    scores = {"log_likelihood": likelihood}
    if vocabulary.unit == "chars":
        scores["bits_per_character"] = _bits(likelihood, convention)
    elif vocabulary.unit == "words":
        scores["perplexity"] = _perplexity(likelihood, convention)
        scores |= _without_unknown(vocabulary, log_probs, tokens, length)
    if extents is not None:
        scores |= {
            name: score
            for name, score in _by_extent(totals, tokens, extents, convention).items()
            if name not in scores
        }
    return scores


def _bits(nats: Score, convention: str) -> Score:
    bits, unit = 1 / math.log(2), "bits/character"
    error = nats.standard_error * bits
    return Score(-nats.value * bits, unit, convention, nats.count, nats.songs, error)


def _perplexity(nats: Score, convention: str) -> Score:
    value = math.exp(-nats.value) if -nats.value <= 700 else math.inf
    # of an infinite one there is no error
    error = value * nats.standard_error if math.isfinite(value) else math.nan
    return Score(value, "perplexity", convention, nats.count, nats.songs, error)


def _without_unknown(
    vocabulary: Vocabulary, log_probs: np.ndarray, tokens: np.ndarray, length: int
) -> dict[str, Score]:
    """The perplexity of the words that are known, where some are not."""
    known = np.asarray(tokens) != vocabulary.unknown_id
    if known.all() or not known.any():
        return {}
    without = f"as perplexity, without the {int((~known).sum()):,} unknown words"
    value = -float(log_probs[known].mean())
    sums, _ = sentence_totals(np.where(known, log_probs, 0.0), tokens)
    counted, _ = sentence_totals(known.astype(float), tokens)
    pooled = _pooled(sums, counted, length, "nats/token", without)
    nats = replace(pooled, value=-value, count=int(known.sum()))
    return {"perplexity_known": _perplexity(nats, without)}


def _by_extent(totals: np.ndarray, tokens: np.ndarray, extents: Extents, convention: str) -> dict[str, Score]:
    """Perplexity by word and bits by character of the sentences that are whole."""
    whole = int((np.asarray(tokens) == END_ID).sum())
    if whole == 0:
        return {}
    found = {}
    of = f"{whole:,} whole sentences; {convention}" if whole < len(totals) else convention
    for name, counts, what in (
        ("perplexity", extents.words, "words and sentence ends"),
        ("bits_per_character", extents.characters, "characters, with spaces and line ends"),
    ):
        sums, own = totals[:whole], counts[:whole]
        if own.sum() == 0:
            continue
        told = f"by {int(own.sum()):,} {what}; {of}"
        nats = _pooled(sums, own, block_length(residuals(sums, own)), "nats", told)
        found[name] = (_perplexity if name == "perplexity" else _bits)(nats, told)
    return found


def _pooled(sums: np.ndarray, counts: np.ndarray, length: int, unit: str, convention: str) -> Score:
    """The pooled score of sentences, its error over blocks of so many of them."""
    score = pooled_score(in_blocks(sums, length), in_blocks(counts, length), unit, convention)
    return replace(score, songs=len(sums))


_KINDS = {
    "words": ("words", "sentence ends"),
    "chars": ("characters", "line ends"),
    "subwords": ("subwords", "sentence ends"),
    "bytes": ("bytes", "line ends"),
}


def _convention(vocabulary: Vocabulary, tokens: np.ndarray) -> str:
    tokens = np.asarray(tokens)
    ends, unknown = int((tokens == END_ID).sum()), int((tokens == vocabulary.unknown_id).sum())
    kind, end = _KINDS[vocabulary.unit]
    counted = f"over {len(tokens):,} tokens: {len(tokens) - ends:,} {kind} and {ends:,} {end}"
    if vocabulary.unknown_id == NO_ID:
        return f"{counted}; nothing is unknown"
    return (
        f"{counted}; {unknown:,} unknown {kind} are scored as the one token "
        f"{vocabulary.tokens[vocabulary.unknown_id]!r}"
    )
