"""Pairs of inputs and targets: no choice of a command, since only a program has them."""

from typing import Literal

from ostinato.domains.declared import DomainDeclared, columns_of
from ostinato.recipe.core import DROPOUTS


def _pairs(targets: Literal["binary", "category", "real"], output: str, called: str) -> DomainDeclared:
    return DomainDeclared(
        name=f"pairs-{targets}",
        place="ostinato.domains.pairs.domain:Pairs",
        summary=f"inputs, and {called} that they go with",
        targets=targets,
        recipe="adam+C",
        family="pairs",
        called="pairs of inputs and targets",
        unused=("segment_length",),
        defaults={
            "data": "<memory>",
            "output": output,
            "hidden_size": 100,
            "streams": 16,
            "epochs": 100,
        },
        letters={"C": {"clip": 1.0}},
        hessian_free={"streams": 16},
    )


PAIRS = (
    _pairs("category", "softmax", "classes"),
    _pairs("binary", "bernoulli", "zeros and ones"),
    _pairs("real", "gaussian", "real values"),
)

MODULE = DomainDeclared(
    name="module",
    place="ostinato.domains.pairs.module:OwnModule",
    summary="a network of a program's own",
    targets="any",
    recipe="adam",
    family="pairs",
    called="pairs of inputs and targets",
    columns=(*columns_of("log_likelihood", "nats/step"), *columns_of("loss", "loss")),
    unused=("cell", "hidden_size", "num_layers", "l1", *DROPOUTS, "segment_length", "dtype"),
    defaults={"data": "<memory>", "output": "module", "cell": "module", "streams": 16, "epochs": 100},
    letters={"C": {"clip": 1.0}},
    own_network=True,
)
