"""A run's diagnosis: its model on its data, and what its folder tells of the training."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ostinato.data.placement import moved
from ostinato.diagnostics.diagnosis import SEGMENTS, STREAMS, Diagnosis, diagnose_model
from ostinato.diagnostics.findings import HARM
from ostinato.diagnostics.surface import loss_surface
from ostinato.domains.domain import Data, Domain, domain_named, load_data
from ostinato.errors import UserError, argument, call
from ostinato.nn import SequenceModel
from ostinato.nn.cells.state import finite, select
from ostinato.nn.model import Segment
from ostinato.recipe.recipe import Recipe
from ostinato.runs.folder import Run
from ostinato.runs.trained import load_model, own_data

FRESH = "fresh"
WHICH = ("last", "best", FRESH)


@dataclass(frozen=True)
class RunDiagnosis:
    """What was found in a run.

    Attributes:
        folder: the run's.
        of: which of its models: "last", "best" or "fresh".
        data: the name of what it was measured on.
        found: the diagnosis.
    """

    folder: Path
    of: str
    data: str
    found: Diagnosis

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        about = {"run": str(self.folder), "checkpoint": self.of, "data": self.data}
        return about | self.found.to_dict()


def diagnose_run(
    run: Run | str | Path,
    *,
    checkpoint: str = "last",
    data: str | Data | None = None,
    device: torch.device | str = "cpu",
    surface: bool = False,
) -> RunDiagnosis:
    """Measure a run's model on the training data, and say what keeps it from learning.

    Args:
        run: its folder.
        checkpoint: "last" is where training stands, "best" the model with the best validation score,
            "fresh" the one that training began with.
        data: others than the run's own, by name; their training split is taken.
        device: where the model computes.
        surface: also the loss in a plane through the model, on its last segment's first streams; see
            `ostinato.diagnostics.surface`.

    Raises:
        UserError: there is no such model, or there are no data to measure it on.
    """
    opened = run if isinstance(run, Run) else Run.open(run)
    if checkpoint not in WHICH:
        raise UserError(f"expected {argument('checkpoint')} {', '.join(WHICH)}, found {checkpoint}")
    recipe = Recipe.from_dict(opened.config())
    domain = domain_named(recipe.domain)
    begun = opened.has_checkpoint("last")
    if not begun and checkpoint != FRESH:
        raise UserError(
            f"expected a run that has begun in {opened.folder}, found no checkpoint; "
            f"{call('train', resume=opened.folder)} begins, and {argument('checkpoint')} {FRESH} is the "
            "model that it begins with"
        )
    taken, own = _data(opened, recipe, domain, data, begun=begun)
    if taken.frames("train") == 0:
        raise UserError(f"expected training {domain.what} in {taken.name}, found none")
    identity = opened.load_checkpoint("last")[1]["data"] if begun else domain.identity(taken)
    fresh = domain.model(recipe, identity, own).to(device)
    model = fresh
    if checkpoint != FRESH:
        model = load_model(opened, checkpoint, device=device, data=taken).model
    segments = _segments(domain, recipe, taken, torch.device(device))
    about = training_of(opened, recipe, domain, began=begun)
    at_first = None if recipe.get("init_from") is not None else fresh  # it began with another run's weights
    found = diagnose_model(
        model, segments, carries_state=domain.carries_state, at_first=at_first, training=about
    )
    if surface:
        found.record["surface"] = _surface(model, segments, recipe, found, domain.carries_state)
    return RunDiagnosis(opened.folder, checkpoint, taken.name, found)


def _surface(
    model: SequenceModel, segments: Sequence[Segment], recipe: Recipe, found: Diagnosis, carries: bool
) -> dict[str, Any]:
    """Of the segment that all else was measured on, with the state that is carried there."""
    segment = segments[-1]

    def few(x: Any) -> Any:
        return None if x is None else x[:, :STREAMS]

    states = None
    if carries:
        with torch.no_grad():
            for one in segments[:-1]:
                states = finite(model.loss(one.inputs, one.targets, states, one.starts, one.mask).states)
        if states is not None:
            states = select(states, torch.arange(min(STREAMS, segment.inputs.shape[1])))
    return loss_surface(
        model,
        few(segment.inputs),
        few(segment.targets),
        states,
        few(segment.starts),
        few(segment.mask),
        learning_rate=recipe.get("learning_rate"),
        threshold=found.record["gradient_norms"].get("threshold"),
    ).to_dict()


def _data(
    run: Run, recipe: Recipe, domain: Domain, data: str | Data | None, *, begun: bool
) -> tuple[Data, Data | None]:
    """The data to measure on, and those that a fresh model starts from."""
    if isinstance(data, str):
        return domain.other_data(run, data, {}), None
    if data is not None:
        return data, data
    own = (
        own_data(load_model(run, "last")) if begun and not domain.declared.own_network else load_data(recipe)
    )
    return own, own


def _segments(domain: Domain, recipe: Recipe, data: Data, device: torch.device) -> list[Segment]:
    """The first segments of an epoch."""
    streams = domain.streams(recipe, data, 0)
    return [moved(streams[k], device) for k in range(min(SEGMENTS, len(streams)))]


def training_of(run: Run, recipe: Recipe, domain: Domain, *, began: bool) -> dict[str, Any]:
    """What settings and records say of a training, for `ostinato.diagnostics.findings`."""
    records = run.metrics()
    epochs = [record for record in records if "best" in record]
    norms = run.load_checkpoint("last")[1].get("recorder", {}).get("norms", []) if began else []
    finite = sorted(norm for norm in norms if norm is not None and math.isfinite(norm))
    trouble = [
        _trouble(record) for record in records if record.get("event") in ("recorded", "non-finite gradient")
    ]
    return {
        "clipped": recipe.get("clip", "none") != "none",
        "l1": recipe.l1,
        "learning_rate": recipe.get("learning_rate"),
        "needed_lag": domain.needed_lag(recipe),
        "solved": any(record.get("solved") for record in epochs),
        "learns": any(record["best"] for record in epochs[1:]),
        "epochs": len(epochs),
        "largest_norm": finite[-1] if finite else None,
        "median_norm": finite[len(finite) // 2] if finite else None,
        "trouble": _first(trouble),
    }


def _trouble(record: dict[str, Any]) -> dict[str, Any]:
    if record["event"] == "recorded":
        grown = record.get("growth")
        names = ("why", "what", "cause", "place")
        return {
            **{name: record.get(name, "") for name in names},
            "growth": None if grown is None else float(grown),
        }
    what = f"the gradient is not finite at {record['where']}"
    return {"why": HARM[1], "what": what, "cause": "", "place": "", "growth": None}


def _first(trouble: Sequence[dict[str, Any]], most: int = 3) -> list[dict[str, Any]]:
    """The first of each kind, and no more than a few."""
    seen: dict[str, dict[str, Any]] = {}
    for each in trouble:
        seen.setdefault(each["why"], each)
    return [*seen.values()][:most]
