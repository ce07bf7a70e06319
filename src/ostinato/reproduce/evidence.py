"""What the cells have come to: a folder of small JSON files, to be kept under version control.

    protocol.json                        how all of it was made
    TABLE/COLUMN/MODEL/tuning.json       the search's trials, and its choice
    TABLE/COLUMN/MODEL/plain-0.json      settings and scores of a training with seed 0
    TABLE/COLUMN/MODEL/averaged-0.json   the same with an average of the weights and L2

A command that has its answer here does not train for it again, whatever has become of its runs. Every file
ends with a digest of what it says, so that a figure that somebody has changed is no result.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ostinato.errors import UserError
from ostinato.reproduce.cells import Cell
from ostinato.reproduce.kept import read_record, write_record
from ostinato.reproduce.protocol import CONDITIONS, Protocol
from ostinato.runs.summary import SCORE, SYSTEMS, TRAINING
from ostinato.shapes import (
    mapping,
    number,
    optional,
    record,
    sequence,
    text,
    truth,
    whole,
)

PROTOCOL, TUNING = "protocol.json", "tuning.json"

_SEED = record(
    {
        "recipe": mapping(),
        "results": SYSTEMS,
        "training": TRAINING,
        "data": text,
        "test_totals": record(
            {"of": text, "ordered": truth, "log_prob": sequence(number), "counts": sequence(whole)}
        ),
        "cpu_seconds": number,
    },
    {"overlap": record({"how": text, "share": number, "scores": mapping(SCORE)})},
)
_CURVE = record({"value": optional(number), "curve": sequence(optional(number))})
_TUNING = record(
    {
        "trials": sequence(
            record(
                {
                    "number": whole,
                    "state": text,
                    "value": optional(number),
                    "curve": sequence(optional(number)),
                    "averaged": _CURVE,
                    "params": mapping(),
                },
                {"epochs": whole, "cpu_seconds": optional(number), "reason": text},
            )
        )
    },
    {"chosen": mapping(mapping()), "number": mapping(whole), "valid": mapping(number)},
)

# Totals of more sequences than this are added up in neighbouring groups, to keep files small.
_MOST_GROUPS = 400

# Another number of seeds makes no other results, only more.
_MAY_GROW = {"seeds", "seeds_of_short_runs", "short_run_seconds"}


@dataclass(frozen=True)
class Evidence:
    """A folder with results.

    Example:
        >>> import tempfile
        >>> cell = Cell("table1", "RNN (SGD)", "jsb")
        >>> evidence = Evidence(Path(tempfile.mkdtemp()))
        >>> evidence.write_tuning(cell, {"trials": [], "chosen": {}})
        >>> evidence.tuning(cell), evidence.seeds(cell, "plain")
        ({'trials': [], 'chosen': {}}, {})
    """

    folder: Path

    def place(self, cell: Cell) -> Path:
        """The folder of a cell."""
        return self.folder / cell.name

    def begin(self, protocol: Protocol) -> None:
        """Write down the protocol, or see that it is the one there.

        Raises:
            UserError: what is there was made with another one.
        """
        path, now = self.folder / PROTOCOL, json.loads(json.dumps(protocol.to_dict()))
        if path.is_file():
            there = read_record(path, mapping())
            names = (now.keys() | there.keys()) - _MAY_GROW
            if other := sorted(name for name in names if now.get(name) != there.get(name)):
                raise UserError(
                    f"expected the protocol that the results in {self.folder} were made with, found another "
                    f"{', '.join(other)}; keep these results elsewhere"
                )
        if not path.is_file() or there != now:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_record(path, now)

    def tuning(self, cell: Cell) -> dict[str, Any] | None:
        """What the cell's search has come to: `trials`, and `chosen` where it is done."""
        path = self.place(cell) / TUNING
        return read_record(path, _TUNING) if path.is_file() else None

    def write_tuning(self, cell: Cell, content: Mapping[str, Any]) -> None:
        """Replace what the search has come to."""
        write_record(self.place(cell) / TUNING, content)

    def seeds(self, cell: Cell, condition: str) -> dict[int, dict[str, Any]]:
        """The finished trainings of a cell, by seed."""
        found = {}
        for path in self.place(cell).glob(f"{condition}-*.json"):
            seed = path.stem.removeprefix(f"{condition}-")
            if seed.isdecimal():
                found[int(seed)] = read_record(path, _SEED)
        return dict(sorted(found.items()))

    def write_seed(self, cell: Cell, condition: str, seed: int, content: Mapping[str, Any]) -> None:
        """Keep what a training has come to."""
        write_record(self.place(cell) / f"{condition}-{seed}.json", content)

    def cpu_seconds(self, cell: Cell) -> float:
        """What the cell has cost so far."""
        trials = (self.tuning(cell) or {"trials": []})["trials"]
        runs = [run for condition in CONDITIONS for run in self.seeds(cell, condition).values()]
        return float(sum(one.get("cpu_seconds") or 0.0 for one in (*trials, *runs)))


def grouped(totals: np.ndarray, counts: np.ndarray, most: int = _MOST_GROUPS) -> dict[str, list[float]]:
    """Totals of log-probability and counts of sequences, neighbours added up where there are many.

    Example:
        >>> grouped(np.array([-1.0, -2.0, -3.0]), np.array([1, 1, 2]), most=2)
        {'log_prob': [-3.0, -3.0], 'counts': [2, 2]}
    """
    size = -(-len(totals) // most)
    starts = np.arange(0, len(totals), size)
    return {
        "log_prob": [round(float(x), 6) for x in np.add.reduceat(np.asarray(totals, float), starts)],
        "counts": [int(x) for x in np.add.reduceat(np.asarray(counts), starts)],
    }
