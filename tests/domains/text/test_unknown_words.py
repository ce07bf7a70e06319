"""An unknown word wins no n-best list by the probability of all words that a model does not know."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import ostinato
from nbest_lists import bigrams, grammar
from ostinato.domains.text.nbest import Hypothesis
from ostinato.domains.text.rescore import rescore
from ostinato.domains.text.score import Scorer, load_scorer
from ostinato.domains.text.unknown import SHARED, WHOLE, UnknownWords

KINDS = ("said", "known", "unknown")


def chosen(scorer: Scorer, utterances: list[Hypothesis], unknown: UnknownWords) -> dict[str, float]:
    """How often each kind of hypothesis is the best."""
    ranked = rescore(scorer, utterances, unknown=unknown).utterances
    kinds = {id(one): KINDS[k % 3] for k, one in enumerate(utterances)}
    found = Counter(kinds[id(each[0].hypothesis)] for each in ranked)
    return {kind: found[kind] / len(ranked) for kind in KINDS}


@pytest.mark.slow
def test_what_was_said_is_chosen_as_often_as_by_ngrams(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    names = iter(range(100_000))

    def sentence() -> list[str]:
        """Every third word or so is a name that occurs once: what the unknown word is learned from."""
        return [f"name{next(names)}" if draw.random() < 0.2 else word for word in grammar(draw)]

    text = [sentence() for _ in range(1_500)]
    ostinato.train(
        out=tmp_path / "run",
        data=["".join(" ".join(words) + "\n" for words in text)],
        domain="words",
        hidden_size=16,
        epochs=4,
        classes=5,
        patience=4,
    )
    model, known = (
        load_scorer(tmp_path / "run"),
        {w for words in text for w in words if not w.startswith("name")},
    )
    ngrams = bigrams([[w if w in known else "<unk>" for w in words] for words in text])
    utterances = []
    for number in range(300):
        said = grammar(draw)
        place = int(draw.integers(len(said)))
        wrong = [word for word in sorted(known) if word != said[place]]
        for word in (said[place], str(draw.choice(wrong)), "zyzzyva"):
            words = " ".join([*said[:place], word, *said[place + 1 :]])
            utterances.append(Hypothesis(f"{number}", (0.0,), words))
    shared, whole = (chosen(model, utterances, unknown) for unknown in (SHARED, WHOLE))
    # n-grams by the same rule, of a text with the same names
    types = UnknownWords(penalty=float(np.log(model.unknown_types)))
    assert shared["said"] >= chosen(ngrams, utterances, types)["said"] - 0.02
    assert shared["unknown"] < 0.02
    assert whole["unknown"] > 0.3
