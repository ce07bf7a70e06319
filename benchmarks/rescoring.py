"""What rescoring costs, and what tuning its weights is worth on made-up n-best lists.

    python benchmarks/rescoring.py RUN [--utterances 1000] [--hypotheses 100] [--data ptb]

RUN is a run on words. Utterances are sentences of the held-out text of its data, at most 25 words each. A
seeded confusion model hears each as often as there are hypotheses: it leaves out, puts in and replaces words,
by others of the training text as frequent as they are there, and says of each hypothesis how sure it is, with
noise of about the size of a word's error. Printed are the processor seconds of `rescore` of all hypotheses,
reading included, and what `rescore --tune` finds: word error rates on the half that was not tuned on.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from ostinato.cli.tables import print_table
from ostinato.domains.text.nbest import load_nbest, read_by_utterance
from ostinato.domains.text.reading import data_sets
from ostinato.domains.text.rescore import Weights, rescore
from ostinato.domains.text.rescoring import options_of, tuned_table
from ostinato.domains.text.score import load_scorer
from ostinato.domains.text.tune import tune
from ostinato.domains.text.unknown import SHARED

LONGEST, WRONG = 25, 0.15


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--utterances", type=int, default=1_000)
    parser.add_argument("--hypotheses", type=int, default=100)
    parser.add_argument("--data", default="ptb")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        lists, references = made(arguments, Path(folder))
        begun = time.process_time()
        scorer = load_scorer(arguments.run)
        hypotheses, _ = load_nbest([lists])
        loaded = time.process_time()
        rescore(scorer, hypotheses)
        ended = time.process_time()
        words = sum(len(one.words.split()) for one in hypotheses)
        print(f"{len(hypotheses):,} hypotheses, {words:,} words: {ended - loaded:.2f} s of processor time, ")
        print(f"and {loaded - begun:.2f} s to open the run and to read the list")
        begun = time.process_time()
        found = tune(scorer, hypotheses, references, weights=Weights(), unknown=SHARED)
        print(f"tuned in {time.process_time() - begun:.2f} s: {' '.join(options_of(found.after))}")
        print_table(tuned_table(found))


def made(arguments: argparse.Namespace, folder: Path) -> tuple[Path, dict[str, str]]:
    """The list, in a file, and what was said."""
    data = data_sets.load(arguments.data)
    vocabulary, draw = data.vocabulary, np.random.default_rng(0)
    counts = np.array(vocabulary.counts, dtype=float)
    counts[[0, vocabulary.unknown_id]] = 0
    others = iter(draw.choice(vocabulary.tokens, 20 * 100 * arguments.utterances, p=counts / counts.sum()))
    lines = vocabulary.decode(data.test.tolist()).splitlines()
    said = [line for line in lines if 3 <= len(line.split()) <= LONGEST][: arguments.utterances]
    path = folder / "list.txt"
    with path.open("w") as file:
        for number, line in enumerate(said):
            heard = sorted(
                (hear(line.split(), draw, others) for _ in range(arguments.hypotheses)), reverse=True
            )
            file.writelines(f"u{number}\t{score:.4f}\t{words}\n" for score, words in heard)
    references = "\n".join(f"u{number} {line}" for number, line in enumerate(said))
    return path, read_by_utterance(references, "references")


def hear(said: list[str], draw: np.random.Generator, others) -> tuple[float, str]:
    """A hypothesis and its acoustic log-likelihood."""
    rolls, surely = draw.random((2, len(said)))
    score = draw.normal(0, 1.0, len(said)).sum()
    found = []
    for word, roll, sure in zip(said, rolls, surely, strict=True):
        if roll < WRONG / 4:
            score -= 3 * sure
            continue
        found.append(str(next(others)) if roll < WRONG else word)
        score -= 4 * sure * (roll < WRONG)
        if roll > 1 - WRONG / 4:
            found.append(str(next(others)))
            score -= 3 * sure
    return float(score), " ".join(found)


if __name__ == "__main__":
    main()
