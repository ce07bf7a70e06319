"""`ostinato generate` for a run on text."""

from __future__ import annotations

import itertools
import sys
from dataclasses import dataclass
from pathlib import Path

from ostinato.cli.output import data_text, print_json
from ostinato.errors import UserError
from ostinato.runs import Run


@dataclass(frozen=True, kw_only=True)
class TextOptions:
    """What only a run on text is asked.

    Parameters
    ----------
    tokens
        Words and sentence ends, or characters, to generate.
    top_k
        Choose among the k most probable tokens; by default among all.
    top_p
        Choose among the most probable tokens that together have this probability; by default among all.
    unknown
        Let the unknown token be generated too.
    """

    tokens: int = 200
    top_k: int | None = None
    top_p: float | None = None
    unknown: bool = False


def write_text(
    run: Path,
    own: TextOptions | None,
    *,
    temperature: float,
    seed: int,
    prime: str | None,
    device: str,
    json: bool,
) -> int:
    """Generate words or characters, printed as they come."""
    import torch

    from ostinato.building import load_model
    from ostinato.data.vocabulary import Vocabulary
    from ostinato.text_generation import Sampling, generate_tokens, pieces

    own, prime = own or TextOptions(), prime or ""
    if own.tokens < 1:
        raise UserError(f"expected --tokens of at least 1, found {own.tokens}")
    sampling = Sampling(temperature, own.top_k, own.top_p, own.unknown)
    opened = Run.open(run)
    model, vocabulary = load_model(opened, device=device).model, Vocabulary.read(opened.folder)
    generator = torch.Generator().manual_seed(seed)
    drawn = generate_tokens(model, vocabulary, sampling, prime=prime, generator=generator)
    text = pieces(itertools.islice(drawn, own.tokens), vocabulary.unit, new_line=not prime)
    if json:
        print_json({"prime": prime, "text": "".join(text), "seed": seed, "tokens": own.tokens})
        return 0
    sys.stdout.write(data_text(prime))
    for piece in text:
        sys.stdout.write(data_text(piece))
        sys.stdout.flush()
    sys.stdout.write("\n")
    return 0
