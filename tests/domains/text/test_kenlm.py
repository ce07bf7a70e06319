"""ARPA models as KenLM reads them: log10 of every word, by its own package in an environment of its own."""

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from decoder_programs import environment, output_of
from ostinato.domains.text.evaluation.arpa import read_arpa
from ostinato.errors import UserError

PROGRAM = """
import json, sys
import kenlm

model = kenlm.Model(sys.argv[1])
with open(sys.argv[2]) as file:
    sentences = json.load(file)
print(json.dumps([[score for score, *_ in model.full_scores(line)] for line in sentences]))
"""


def model(path: Path, seed: int, *, words: int = 40, sentences: int = 400) -> list[str]:
    """A trigram model with back-off weights; the words of sentences, some of them unknown to it."""
    rng = np.random.default_rng(seed)
    known = [f"w{k}" for k in range(words)]
    spoken = [*known, "<unk>"]  # n-grams of the unknown word too
    text = [["<s>", *rng.choice(spoken, size=rng.integers(1, 9)), "</s>"] for _ in range(sentences)]
    grams: list[dict[tuple[str, ...], None]] = [
        {gram: None for line in text for gram in zip(*(line[k:] for k in range(order)), strict=False)}
        for order in (1, 2, 3)
    ]
    grams[0] |= {("<unk>",): None}
    lines = ["\\data\\", *(f"ngram {n}={len(own)}" for n, own in enumerate(grams, 1)), ""]
    for order, own in enumerate(grams, 1):
        lines.append(f"\\{order}-grams:")
        for gram in own:
            log_p = -99.0 if gram == ("<s>",) else -rng.uniform(0.1, 4)
            ends = order == 3 or gram[-1] == "</s>"
            lines.append(f"{log_p:.6f}\t{' '.join(gram)}" + ("" if ends else f"\t{-rng.uniform(0, 2):.6f}"))
        lines.append("")
    path.write_text("\n".join([*lines, "\\end\\"]) + "\n")
    return [*known, "never", "seen"]


# Two words, the ends of sentences, an unknown word with a back-off weight and in contexts of its own.
SMALL = """\\data\\
ngram 1=5
ngram 2=5
ngram 3=2

\\1-grams:
-99\t<s>\t-0.5
-0.8\t</s>
-1.2\t<unk>\t-0.25
-0.4\ta\t-0.3
-0.7\tb

\\2-grams:
-0.2\t<s> a\t-0.1
-0.6\ta b\t-0.05
-0.3\tb </s>
-0.9\t<unk> a\t-0.15
-1.5\ta <unk>\t-0.35

\\3-grams:
-0.01\t<s> a b
-0.02\ta <unk> a

\\end\\
"""


def test_back_off_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "small.arpa"
    path.write_text(SMALL)
    log10 = {
        "a b </s>": [
            -0.2,  # <s> a
            -0.01,  # <s> a b
            -0.05 - 0.3,  # b(a b) p(b </s>)
        ],
        "b b a </s>": [
            -0.5 - 0.7,  # b(<s>) p(b)
            -0.7,  # neither <s> b nor b has a weight
            -0.4,
            -0.3 - 0.8,  # b(a) p(</s>)
        ],
        "a never a seen </s>": [
            -0.2,
            -0.1 - 1.5,  # b(<s> a) p(a <unk>)
            -0.02,  # a <unk> a
            -0.15 - 1.5,  # b(<unk> a) p(a <unk>)
            -0.35 - 0.25 - 0.8,  # b(a <unk>) b(<unk>) p(</s>)
        ],
        "never b </s>": [-0.5 - 1.2, -0.25 - 0.7, -0.3],
    }
    lines = [line.split() for line in log10]
    found = read_arpa(path).score(list(itertools.chain.from_iterable(lines))) / math.log(10)
    np.testing.assert_allclose(found, np.concatenate(list(log10.values())), atol=1e-12, rtol=0)


@pytest.mark.long
def test_every_word_has_the_log10_of_kenlm(tmp_path: Path) -> None:
    python, _ = environment(tmp_path / "python", "kenlm")
    for seed in range(3):
        path = tmp_path / f"{seed}.arpa"
        words = model(path, seed)
        rng = np.random.default_rng(seed + 100)
        sentences = [list(map(str, rng.choice(words, size=rng.integers(1, 12)))) for _ in range(500)]
        (tmp_path / "lines.json").write_text(json.dumps([" ".join(line) for line in sentences]))
        theirs = output_of(python, PROGRAM, str(path), str(tmp_path / "lines.json"))
        ours = read_arpa(path)
        tokens = list(itertools.chain.from_iterable([*line, "</s>"] for line in sentences))
        found = ours.score(tokens) / math.log(10)
        np.testing.assert_allclose(found, np.concatenate(theirs), atol=1e-5, rtol=0)
        assert sum(token in ("never", "seen") for token in tokens) > 50


def test_a_model_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "small.arpa"
    path.write_text(SMALL.replace("-0.4\ta", "0.4\ta"))
    with pytest.raises(
        UserError, match=r"expected a log-probability of at most 0, 1 word and .* in line 10 of"
    ):
        read_arpa(path)
    path.write_text(SMALL.replace("-0.8\t</s>\n", "").replace("ngram 1=5", "ngram 1=4"))
    with pytest.raises(UserError, match="expected </s> among the 1-grams"):
        read_arpa(path)


def test_a_perplexity_above_all_numbers_is_told(tmp_path: Path, ostinato: Any) -> None:
    path = tmp_path / "small.arpa"
    path.write_text(SMALL.replace("-0.7\tb", "-1e300\tb"))
    (tmp_path / "text").write_text("b\n")
    _, out, _ = ostinato("score", path, tmp_path / "text", "--json")
    assert json.loads(out)["perplexity"] == "infinite: above the largest number there is"
