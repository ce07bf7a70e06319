"""Figures of a diagnosis in the records of epochs: how gradients and units do over a training."""

import math
from collections.abc import Sequence
from typing import Any

from ostinato.diagnostics.diagnosis import diagnose_model
from ostinato.diagnostics.networks import network_of
from ostinato.errors import UserError, argument
from ostinato.nn import SequenceModel
from ostinato.nn.model import Segment

# Segments that are measured: fewer than `ostinato diagnose` takes, as it is done again and again.
SEGMENTS = 4

#: What an epoch's record calls them, with what they are.
FIGURES = {
    "memory_horizon": "lag where 1 % of a gradient is left (of none within the lags measured there is none)",
    "gradient_left": "share of a gradient that is left at the largest lag measured",
    "short_terms": "share of the recurrent part's gradient from lags below 8",
    "singular_value": "largest singular value of the Jacobians' product over the most steps measured",
    "lyapunov_exponent": "largest Lyapunov exponent, nats a step",
    "norm_spread": "largest gradient norm over the median",
    "silent_units": "share of units that are silent",
    "saturated_slopes": "share of slopes near zero",
    "state_growth": "root mean square of the states at a segment's end over half-way",
    "zero_gradients": "share of the gradient at units that is exactly zero",
    "gradient_symmetry": "mean absolute cosine between units' gradients",
}


def check_diagnosed(model: SequenceModel, every: int) -> None:
    """Refuse what could not be measured only after an epoch.

    Raises:
        UserError: the number is below 0, or the network cannot be measured.
    """
    if every < 0:
        raise UserError(f"expected {argument('diagnose_every')} of at least 0, found {every}")
    if every == 0:
        return
    was = model.training
    model.eval()
    try:
        network_of(model)
    except UserError as error:
        raise UserError(f"expected {argument('diagnose_every')} 0 for this network: {error}") from error
    finally:
        model.train(was)


def figures(model: SequenceModel, segments: Sequence[Segment], *, carries_state: bool) -> dict[str, Any]:
    """The figures of a model on segments; it is as it was afterwards. What is not known is left out."""
    record = diagnose_model(model, segments, carries_state=carries_state).record
    lags, norms = record.get("gradient_over_lag") or {}, record["gradient_norms"]
    units = [*record["units"].values()]
    spans = record.get("spans")
    left = (lags.get("relative_norm") or {}).get("median") or [None]
    found: dict[str, Any] = {
        "memory_horizon": lags.get("horizon"),
        "gradient_left": left[-1],
        "short_terms": None if spans is None else sum(s["share"] for s in spans if s["last_lag"] < 8),
        "singular_value": (record.get("products") or {}).get("largest", [None])[-1],
        "lyapunov_exponent": ((record.get("lyapunov") or {}).get("exponents") or [None])[0],
        "norm_spread": norms["largest"] / norms["median"] if norms.get("median") else None,
        "silent_units": sum(own["silent"] for own in units) / len(units),
        "saturated_slopes": _mean([own["saturated"] for own in units]),
        "state_growth": record["states"]["growth"],
        "zero_gradients": (record.get("gradient_shape") or {}).get("zero"),
        "gradient_symmetry": (record.get("gradient_shape") or {}).get("symmetry"),
    }
    assert found.keys() == FIGURES.keys()
    return {name: value for name, value in found.items() if value is not None and math.isfinite(value)}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
