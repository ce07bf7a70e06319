"""Made-up n-best lists: a confusion model deletes, inserts and replaces words, and says how sure it is."""

import numpy as np

from ostinato.domains.text.evaluation.arpa import BackoffModel
from ostinato.domains.text.score import ArpaScorer

_NOUNS, _VERBS = ["cat", "dog", "bird", "tree", "house"], ["saw", "ate", "heard"]
_ADJECTIVES, _PLACES = ["big", "small", "red", "old"], ["near", "in", "on", "by"]
WORDS = ["the", "a", "and", "ran", *_NOUNS, *_VERBS, *_ADJECTIVES, *_PLACES]


def grammar(draw: np.random.Generator) -> list[str]:
    """A sentence whose words depend on those before."""

    def noun_phrase() -> list[str]:
        adjective = [str(draw.choice(_ADJECTIVES))] if draw.random() < 0.5 else []
        return [str(draw.choice(["the", "a"])), *adjective, str(draw.choice(_NOUNS))]

    sentence = [*noun_phrase(), str(draw.choice(_VERBS)), *noun_phrase()]
    if draw.random() < 0.5:
        sentence += [str(draw.choice(_PLACES)), *noun_phrase()]
    return sentence


def heard(
    said: list[str], draw: np.random.Generator, words: list[str], rate: float = 0.12
) -> tuple[list[str], float]:
    """What a recognizer takes for what was said, and its acoustic log-likelihood.

    The score is about sounds: a wrong word costs, but the noise of a word is nearly as large, so that the
    true words are not always the most likely.
    """
    found, score = [], 0.0
    for each in said:
        word, roll = each, draw.random()
        score += draw.normal(0.0, 0.7)
        if roll < rate / 4:
            score -= draw.exponential(1.5)
            continue
        if roll < rate:
            word = str(draw.choice(words))
            score -= draw.exponential(2.0)
        found.append(word)
        if draw.random() < rate / 4:
            found.append(str(draw.choice(words)))
            score -= draw.exponential(1.5)
    return found, score


def nbest(
    sentences: list[list[str]], hypotheses: int, seed: int, words: list[str] = WORDS
) -> tuple[str, str]:
    """A list and its references, as text."""
    draw = np.random.default_rng(seed)
    lines, references = [], []
    for number, said in enumerate(sentences):
        references.append(f"u{number} {' '.join(said)}")
        found = [heard(said, draw, words) for _ in range(hypotheses)]
        found.sort(key=lambda pair: -pair[1])
        lines += [f"u{number}\t{score:.4f}\t{' '.join(own)}" for own, score in found]
    return "\n".join(lines) + "\n", "\n".join(references) + "\n"


def bigrams(sentences: list[list[str]]) -> ArpaScorer:
    """Add-one bigrams, with an unknown word."""
    words = sorted({w for s in sentences for w in s} | {"</s>", "<unk>"})
    counts = {(a, b): 1.0 for a in [*words, "<s>"] for b in words}
    for s in sentences:
        for pair in zip(["<s>", *s], [*s, "</s>"], strict=True):
            counts[pair] += 1
    given = {a: sum(counts[a, b] for b in words) for a in [*words, "<s>"]}
    ones = {(w,): (-np.log10(len(words)), 0.0) for w in words} | {("<s>",): (-99.0, 0.0)}
    return ArpaScorer(BackoffModel([ones, {p: (np.log10(n / given[p[0]]), 0.0) for p, n in counts.items()}]))
