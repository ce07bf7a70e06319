"""`ostinato generate-text`: what `ostinato generate` does for a run on text."""

import itertools
import sys
from pathlib import Path

import torch

from ostinato.building import load_model
from ostinato.cli.output import data_text, print_json
from ostinato.data.vocabulary import Vocabulary
from ostinato.errors import UserError
from ostinato.runs import Run
from ostinato.text_generation import Sampling, generate_tokens, pieces


def generate_text(
    run: Path,
    *,
    tokens: int = 200,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    prime: str = "",
    seed: int = 0,
    unknown: bool = False,
    json: bool = False,
) -> int:
    """Generate words or characters, printed as they come.

    Parameters
    ----------
    run
        The run's folder.
    tokens
        Words and sentence ends, or characters, to generate.
    temperature
        Below 1 more probable text, above 1 more surprising; 0 always the most probable token.
    top_k
        Choose among the k most probable tokens.
    top_p
        Choose among the most probable tokens that together have this probability.
    prime
        Text to go on from.
    seed
        Another number, another text.
    unknown
        Let the unknown token be generated too.
    json
        Print one JSON object.
    """
    if tokens < 1:
        raise UserError(f"expected --tokens of at least 1, found {tokens}")
    sampling = Sampling(temperature, top_k, top_p, unknown)
    opened = Run.open(run)
    model, vocabulary = load_model(opened).model, Vocabulary.read(opened.folder)
    generator = torch.Generator().manual_seed(seed)
    drawn = generate_tokens(model, vocabulary, sampling, prime=prime, generator=generator)
    text = pieces(itertools.islice(drawn, tokens), vocabulary.unit, new_line=not prime)
    if json:
        print_json({"prime": prime, "text": "".join(text), "seed": seed, "tokens": tokens})
        return 0
    sys.stdout.write(data_text(prime))
    for piece in text:
        sys.stdout.write(data_text(piece))
        sys.stdout.flush()
    sys.stdout.write("\n")
    return 0
