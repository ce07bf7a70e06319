"""What became of the Markov chains that a model's frames were drawn with, where it has such."""

from typing import Any

from ostinato.nn.outputs.base import ChainSampled


def chains_record(model: Any) -> dict[str, Any] | None:
    """How the chains behind a model's draws went; None for a model that draws exactly, or has not drawn.

    Example:
        >>> from ostinato.nn.outputs import RBM
        >>> class Model:
        ...     output = RBM(2, 5, 3)
        >>> chains_record(Model)
        >>> Model.output.sampling.note(64, 1.2)
        >>> chains_record(Model)
        {'gibbs_steps': 64, 'limit': 4096, 'rhat': 1.2, 'draws': 1, 'not_mixed': 1}
    """
    output = getattr(model, "output", None)
    if not isinstance(output, ChainSampled) or not output.sampling.calls:
        return None
    found = output.sampling
    rhat = found.rhat if found.rhat < float("inf") else None
    return {
        "gibbs_steps": found.steps,
        "limit": found.limit,
        "rhat": rhat,
        "draws": found.calls,
        "not_mixed": found.unmixed,
    }


def chains_notice(record: dict[str, Any] | None) -> str | None:
    """A line where chains did not mix within their limit.

    Example:
        >>> found = {"gibbs_steps": 64, "limit": 64, "rhat": 1.2, "draws": 9, "not_mixed": 3}
        >>> chains_notice(found)
        '3 of 9 draws came from chains that had not mixed after 64 Gibbs steps (R-hat up to 1.20)'
    """
    if not record or not record["not_mixed"]:
        return None
    worst = "unknown" if record["rhat"] is None else f"up to {record['rhat']:.2f}"
    return (
        f"{record['not_mixed']} of {record['draws']} draws came from chains that had not mixed after "
        f"{record['limit']} Gibbs steps (R-hat {worst})"
    )
