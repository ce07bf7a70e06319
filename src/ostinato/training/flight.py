"""Bundles: a step of training, with all that repeats it bit for bit, as two files in the run's folder.

    flight/NAME.safetensors   weights, optimizer, segment, carried state, random numbers, all before the step
    flight/NAME.json          settings, place, norms and losses up to it, and what the step made

Shapes: T time, B streams.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ostinato.errors import UserError
from ostinato.files import atomic_write, write_error
from ostinato.nn.cells.state import State, from_named_tensors, map_state, named_tensors
from ostinato.nn.model import Segment
from ostinato.runs import checkpoint
from ostinato.runs.folder import FLIGHT

SEGMENT, CARRIED, GENERATOR = "segment.", "carried", "generator"
_PARTS = ("inputs", "targets", "starts", "mask")
# Of the JSON file what a replay reads.
_NEEDED = {"advice", "clip_at", "data", "environment", "epoch", "last", "made", "optimizer", "segment"}
_NEEDED |= {"threads", "updates", "what", "where", "why"}


@dataclass(frozen=True)
class Frames:
    """A segment, of its tensors alone."""

    inputs: Tensor
    targets: Tensor
    starts: Tensor | None = None
    mask: Tensor | None = None


@dataclass(frozen=True)
class Bundle:
    """A step.

    Attributes:
        path: its JSON file.
        tensors: by name.
        about: everything else.
    """

    path: Path
    tensors: dict[str, Tensor]
    about: dict[str, Any]

    def segment_on(self, device: torch.device | str) -> Frames:
        """What the step was made on.

        Raises:
            UserError: it is not in the bundle, as that of a program's own network may not be.
        """
        names = [name for name in _PARTS if SEGMENT + name in self.tensors]
        if "inputs" not in names or "targets" not in names:
            raise UserError(f"expected a bundle with its segment, found none in {self.path}")
        return Frames(**{name: self.tensors[SEGMENT + name].to(device) for name in names})

    def carried_on(self, device: torch.device | str) -> State | None:
        """The state that was carried into it."""
        state = from_named_tensors(self.tensors, CARRIED)
        return None if state is None else map_state(lambda x: x.to(device), state)


def tensors_of(segment: Segment, carried: State | None) -> dict[str, Tensor]:
    """A segment and the state carried into it, by name."""
    parts = {SEGMENT + name: getattr(segment, name) for name in _PARTS}
    found = {name: x for name, x in parts.items() if isinstance(x, Tensor)}
    return found if carried is None else found | named_tensors(carried, CARRIED)


def write(run: Path, name: str, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> Path:
    """Write a bundle; give the path of its JSON file, which is written last."""
    path = run / FLIGHT / f"{name}.json"
    try:
        path.parent.mkdir(exist_ok=True)
    except OSError as error:
        raise write_error(path, error, "make room, or train with another folder") from error
    atomic_write(path.with_suffix(".safetensors"), checkpoint.encode(tensors, {"bundle": name}))
    atomic_write(path, json.dumps(about, indent=1) + "\n")
    return path


def read(path: str | Path) -> Bundle:
    """The bundle at a path, with or without its ending.

    Raises:
        UserError: there is none, or it is damaged.
    """
    path = Path(path)
    path = (
        path if path.suffix == ".json" else path.with_name(path.name.removesuffix(".safetensors") + ".json")
    )
    data = path.with_suffix(".safetensors")
    try:
        about = json.loads(path.read_text())
        tensors, _ = checkpoint.decode(data.read_bytes())
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        there = [own.with_suffix("") for own in bundles(path.with_suffix(""))]
        raise UserError(
            f"expected a bundle at {path.with_suffix('')}, found no {Path(str(error.filename)).name}; "
            + (
                f"this run has {', '.join(map(str, there))}"
                if there
                else f"training writes them into a run's {FLIGHT} folder where it goes wrong"
            )
        ) from error
    except checkpoint.NewerError as error:
        raise UserError(f"expected a bundle of this version in {data}, found {error}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"expected a whole bundle at {path.with_suffix('')}, found it damaged: {error}"
        ) from error
    if not isinstance(about, dict) or not isinstance(about.get("recipe"), dict):
        raise UserError(f"expected a bundle at {path}, found another JSON file")
    missing = sorted(_NEEDED - about.keys())
    if missing:
        raise UserError(f"expected a whole bundle at {path}, found one without {', '.join(missing)}")
    return Bundle(path, tensors, about)


def bundles(run: Path) -> list[Path]:
    """The JSON files of a run's bundles, the first one first."""
    found = []
    for path in (run / FLIGHT).glob("*.json"):
        try:
            about = json.loads(path.read_text())
            found.append(((about["epoch"], about["segment"]), path))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return [path for _, path in sorted(found)]
