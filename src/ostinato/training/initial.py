"""Weights that another run has trained, for a new one to start from."""

from pathlib import Path
from typing import Any

from ostinato.errors import UserError, argument
from ostinato.nn import SequenceModel
from ostinato.runs.folder import Run
from ostinato.training.build import MODEL_PREFIX


def take_weights(model: SequenceModel, folder: Path) -> None:
    """Give a model the weights of a run's best validation score.

    Args:
        model: of the same sizes.
        folder: the run's.

    Raises:
        UserError: the run has none, or its model is another one; says which parameter differs first.
    """
    run = Run.open(folder)
    if not run.has_checkpoint("best"):
        raise UserError(
            f"expected a run with a trained model as {argument('init_from')}, found none: {folder}"
        )
    tensors, _ = run.load_checkpoint("best")
    own = model.state_dict()
    weights = {k.removeprefix(MODEL_PREFIX): v for k, v in tensors.items() if k.startswith(MODEL_PREFIX)}
    for name in model.counts:
        weights.pop(name, None)
    weights |= {name: own[name] for name in model.counts & own.keys()}
    for name in own.keys() | weights.keys():
        wanted, found = (tuple(x[name].shape) if name in x else None for x in (own, weights))
        if wanted != found:
            raise UserError(
                f"expected weights {name} of shape {wanted} in {folder}, found {found}: its model is another "
                f"one than the settings say; leave out what differs from it"
            )
    model.load_state_dict(weights)


def told(folder: Path, scores: dict[str, float]) -> tuple[dict[str, Any], str]:
    """The record of a start, and what a person should know of it: the validation scores of the weights.

    Example:
        >>> told(Path("runs/a"), {"valid_log_likelihood": -4.25})[1]
        'starts from runs/a: valid log likelihood -4.25'
    """
    shown = ", ".join(f"{what.replace('_', ' ')} {value:.6g}" for what, value in scores.items())
    return {"event": "initial weights", "scores": scores}, f"starts from {folder}: {shown}"
