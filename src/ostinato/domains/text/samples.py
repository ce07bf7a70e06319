"""Short texts that the models of finished runs make, for a report."""

import itertools
import shlex
from pathlib import Path

from ostinato.domains.sample import Sample
from ostinato.domains.seed import seeded
from ostinato.domains.text.generate import Sampling, generate_tokens, pieces
from ostinato.domains.text.reading.vocabulary import Vocabulary
from ostinato.runs.folder import Run
from ostinato.runs.trained import load_model

# By what a token is.
TOKENS = {"words": 120, "chars": 600, "subwords": 180, "bytes": 600}


def make(name: str, folder: Path, count: int, seed: int, most_bytes: int) -> list[Sample]:
    """Texts by the best model of the run in a folder; `most_bytes`, for sound, is not needed.

    Args:
        name: of the run.
        folder: the run's.
        count: how many.
        seed: of the first; the others follow it.
        most_bytes: of the sound of each.
    """
    run = Run.open(folder)
    model, vocabulary = load_model(run).model, Vocabulary.read(run.folder)
    tokens, made = TOKENS[vocabulary.unit], []
    for own in range(seed, seed + count):
        drawn = generate_tokens(model, vocabulary, Sampling(), generator=seeded(own))
        text = "".join(pieces(itertools.islice(drawn, tokens), vocabulary))
        command = f"ostinato generate {shlex.quote(str(folder))} --tokens {tokens} --seed {own}"
        made.append(Sample(name, own, command, text=text))
    return made
