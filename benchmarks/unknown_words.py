"""How often a language model chooses what was said, where the rivals are a wrong word that it knows and one
that it does not know; beside a 3-gram of the same text.

    python benchmarks/unknown_words.py [--words 200000] [--utterances 2000] [--epochs 15] [--run FOLDER]

Trains on the first words of the Penn Treebank and takes sentences of its test text whose words are all known;
the validation text chooses the epoch. Of each there are three hypotheses with equal acoustic scores: what was
said; the same with one word replaced by another known one, drawn by its frequency in training; and with that
word replaced by one that nobody knows. The 3-gram is interpolated Kneser-Ney, discount 0.75 for every order,
written as an ARPA file and read again, with an unknown word that has a type's share of the uniform
distribution, as KenLM has it: the text's own <unk> is left out, as by KenLM's --skip_symbols. --run scores a
run that is there already.
"""

import argparse
import math
import tempfile
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import torch

import ostinato
from ostinato.domains.text.nbest import Hypothesis
from ostinato.domains.text.reading import data_sets
from ostinato.domains.text.rescore import rescore
from ostinato.domains.text.score import Scorer, load_scorer
from ostinato.domains.text.unknown import SHARED, WHOLE, UnknownWords

DISCOUNT = 0.75
KINDS = ("said", "known", "unknown")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--words", type=int, default=200_000)
    parser.add_argument("--utterances", type=int, default=2_000)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--keep", type=Path, help="folder for the run that is trained")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        train, valid, held = texts(arguments.words)
        (place / "train.txt").write_text("".join(f"{line}\n" for line in train))
        (place / "valid.txt").write_text("".join(f"{line}\n" for line in valid))
        write_arpa([line.replace("<unk>", " ").split() for line in train], place / "three.arpa")
        run = arguments.run or trained(place, arguments.keep or place / "run", arguments.epochs)
        model, ngrams = load_scorer(run), load_scorer(place / "three.arpa")
        utterances = made(held, model, ngrams, train, arguments.utterances)
        print(
            f"{len(utterances) // 3:,} utterances; the unknown word stands for {model.unknown_types:,} types"
        )
        for name, scorer, unknown in (
            ("3-gram", ngrams, SHARED),
            ("run, an unknown word with the whole probability", model, WHOLE),
            ("run, with a share of it", model, SHARED),
        ):
            print(f"{name:50} {told(scorer, utterances, unknown)}")


def texts(words: int) -> tuple[list[str], list[str], list[str]]:
    """The first words of the training text, in whole sentences; validation and test text."""
    data = data_sets.load("ptb")
    lines, count = [], 0
    for line in data.vocabulary.decode(data.train[: 2 * words].tolist()).splitlines():
        if count >= words:
            break
        lines.append(line)
        count += len(line.split())
    valid, test = (data.vocabulary.decode(data[s].tolist()).splitlines() for s in ("valid", "test"))
    return lines, valid, test


def trained(place: Path, out: Path, epochs: int) -> Path:
    """A run on the training text, with shipped settings."""
    data = f"{place}/train.txt"
    run = ostinato.train(
        "SGD+CLR", data, domain="words", valid_data=f"{place}/valid.txt", epochs=epochs,
        out=out, threads=1,
    )  # fmt: skip
    return Path(run.folder)


def made(held: list[str], model: Scorer, ngrams: Scorer, train: list[str], most: int) -> list[Hypothesis]:
    """Three hypotheses of each utterance."""
    draw = np.random.default_rng(0)
    both = model.words & ngrams.words
    counts = Counter(word for line in train for word in line.split() if word in both)
    words, weights = list(counts), np.array(list(counts.values()), dtype=float)
    known = [line.split() for line in held if len(line.split()) > 2 and all(w in both for w in line.split())]
    draw.shuffle(known)
    found = []
    for number, said in enumerate(known[:most]):
        place = int(draw.integers(len(said)))
        other = said[place]
        while other == said[place]:
            other = words[draw.choice(len(words), p=weights / weights.sum())]
        for word in (said[place], other, "zyzzyvas"):
            text = " ".join([*said[:place], word, *said[place + 1 :]])
            found.append(Hypothesis(f"{number}", (0.0,), text))
    return found


def told(scorer: Scorer, utterances: list[Hypothesis], unknown: UnknownWords) -> str:
    """How often each kind is the best."""
    # random places in the list: ties would go to the first
    order = np.random.default_rng(1).permutation(len(utterances))
    kinds = {id(one): KINDS[k % 3] for k, one in enumerate(utterances)}
    ranked = rescore(scorer, [utterances[k] for k in order], unknown=unknown).utterances
    chosen = Counter(kinds[id(each[0].hypothesis)] for each in ranked)
    return "  ".join(f"{kind} {100 * chosen[kind] / len(ranked):5.1f} %" for kind in KINDS)


def write_arpa(sentences: list[list[str]], path: Path, order: int = 3) -> None:
    """Interpolated Kneser-Ney, as a back-off model."""
    counts = [Counter() for _ in range(order)]
    for words in sentences:
        padded = ["<s>", *words, "</s>"]
        for n in range(1, order + 1):
            counts[n - 1].update(tuple(padded[k : k + n]) for k in range(len(padded) - n + 1))
    # lower orders count the words before, but for what nothing can stand before
    for n in range(order - 1, 0, -1):
        before, whole = Counter(ngram[1:] for ngram in counts[n]), counts[n - 1]
        counts[n - 1] = Counter({g: whole[g] if g[0] == "<s>" else before[g] for g in whole})
    del counts[0][("<s>",)]
    vocabulary = [word for (word,) in counts[0]]
    uniform = 1 / (len(vocabulary) + 1)  # and the unknown word
    lower, total = {}, sum(counts[0].values())
    rest = DISCOUNT * len(counts[0]) / total
    for word in vocabulary:
        lower[(word,)] = max(counts[0][(word,)] - DISCOUNT, 0) / total + rest * uniform
    lower[("<unk>",)] = rest * uniform
    tables, backoffs = [lower], [{}]
    for n in range(2, order + 1):
        contexts, kinds = defaultdict(int), defaultdict(int)
        for ngram, count in counts[n - 1].items():
            contexts[ngram[:-1]] += count
            kinds[ngram[:-1]] += 1
        weights = {h: DISCOUNT * kinds[h] / contexts[h] for h in contexts}
        tables.append(
            {
                g: max(c - DISCOUNT, 0) / contexts[g[:-1]] + weights[g[:-1]] * tables[-1][g[1:]]
                for g, c in counts[n - 1].items()
            }
        )
        backoffs[-1] = weights
        backoffs.append({})
    with path.open("w") as file:
        file.write("\\data\\\n")
        for n, table in enumerate(tables, 1):
            file.write(f"ngram {n}={len(table) + (n == 1)}\n")
        for n, (table, backoff) in enumerate(zip(tables, backoffs, strict=True), 1):
            file.write(f"\n\\{n}-grams:\n")
            if n == 1:
                file.write(f"-99\t<s>\t{math.log10(backoff[('<s>',)])}\n")
            for ngram, p in table.items():
                line = f"{math.log10(p)}\t{' '.join(ngram)}"
                file.write(line + (f"\t{math.log10(backoff[ngram])}\n" if ngram in backoff else "\n"))
        file.write("\n\\end\\\n")


if __name__ == "__main__":
    main()
