"""What a language model's run has to show: its scores on every split, beside those of a 1-gram."""

from typing import Any

import numpy as np

from ostinato.data.sequences import SPLITS
from ostinato.domains.text.evaluation.scores import score_tokens, sentence_totals, text_scores
from ostinato.domains.text.reading.text_data import TextData
from ostinato.domains.text.reading.vocabulary import Vocabulary
from ostinato.evaluation.scores import Score
from ostinato.nn import SequenceModel

# Training text is scored on a part of it that takes no longer than the other splits.
MOST_TRAINING_TOKENS = 500_000


def scored_tokens(data: TextData, split: str) -> np.ndarray:
    """The tokens of a split that are scored: all of them, or the first 500,000 of training."""
    return data[split][:MOST_TRAINING_TOKENS] if split == "train" else data[split]


def score_text(model: SequenceModel, data: TextData, split: str) -> dict[str, Score]:
    """A model's scores on one split, read in one sequential pass; sentences by themselves where they are."""
    tokens, independent = scored_tokens(data, split), data.independent
    log_probs = score_tokens(model, tokens, independent=independent)
    return text_scores(data.vocabulary, log_probs, tokens, data.extents.get(split), independent=independent)


def unigram_scores(
    data: TextData, splits: tuple[str, ...] = SPLITS
) -> dict[str, dict[str, dict[str, Score]]]:
    """What token frequencies alone give, add-1/2 smoothed."""
    log_p = np.log(data.vocabulary.frequencies())
    each = {split: scored_tokens(data, split) for split in splits}
    return {
        "1-gram": {
            split: text_scores(data.vocabulary, log_p[tokens], tokens, data.extents.get(split))
            for split, tokens in each.items()
        }
    }


def score_sentences(
    model: SequenceModel, vocabulary: Vocabulary, tokens: np.ndarray, *, independent: bool = False
) -> list[dict[str, Any]]:
    """Log-probability in nats and tokens (with the end) of every sentence, the state carried over them.

    Of independent sentences it is not carried.
    """
    totals, counts = sentence_totals(score_tokens(model, tokens, independent=independent), tokens)
    ends = np.cumsum(counts)
    return [
        {
            "sentence": vocabulary.decode(tokens[end - count : end]).rstrip("\n"),
            "tokens": int(count),
            "log_prob": float(total),
        }
        for total, count, end in zip(totals, counts, ends, strict=True)
    ]
