"""What a run has come to, results.json, as it is read: what is not as it must be is found before its use."""

from pathlib import Path
from typing import Any

from ostinato import foreign, seal
from ostinato.runs.folder import RESULTS
from ostinato.shapes import (
    Shape,
    anything,
    both,
    mapping,
    number,
    of_json,
    optional,
    real,
    record,
    sequence,
    text,
    truth,
    whole,
)


def _end(value: Any, where: str) -> None:
    """An end of an interval: of an estimate that has failed, no number."""
    if not isinstance(value, float):
        number(value, where)


# See `evaluation.scores.Score`. What came later, or is in estimates alone, may be missing.
SCORE = record(
    {
        "value": optional(real),
        "unit": text,
        "convention": text,
        "count": whole,
        "songs": whole,
        "standard_error": optional(real),
        "estimate": truth,
    },
    {
        "sampling_error": optional(real),
        "interval": optional(sequence(_end, length=2)),
        "basis": text,
        "bound": truth,
        "effort": mapping(),
    },
)

# Of every system, the model among them, its splits, and of these the scores by name.
SYSTEMS = both(record({"model": anything}), mapping(mapping(mapping(SCORE))))

TRAINING = record(
    {"epochs": whole},
    {
        "best_epoch": whole,
        "stopped_because": optional(text),
        "clip_threshold": optional(number),
        "seconds": number,
        "threads": optional(whole),
        "devices": sequence(text),
        "environment": mapping(text),
        "environments": sequence(mapping()),
    },
)

# What results.json of a run holds.
SUMMARY = record(
    {"results": SYSTEMS, "recipe": mapping(), "training": TRAINING},
    {
        "run": text,
        "data": record({"name": text, "version": text}, {"details": mapping()}),
        "skipped": sequence(record({"path": text, "reason": text})),
    },
)

# What results.json of a study holds.
STUDY_SUMMARY = record(
    {
        "study": record({"study": record({"trials": whole})}),
        "chosen": record(
            {"number": whole, "params": mapping()}, {"settings": mapping(), "valid": real, "folder": text}
        ),
        "results": SUMMARY,
    },
    {"trials": mapping(whole), "intervals": mapping()},
)

# What trials.json of a study holds.
TRIALS = sequence(
    record(
        {"number": whole, "state": text, "value": optional(real), "params": mapping()},
        {
            "folder": optional(text),
            "epochs": optional(whole),
            "seconds": optional(number),
            "attempts": whole,
            "host": text,
            "reason": text,
        },
    )
)


def read_json(folder: Path, name: str, shape: Shape) -> Any:
    """What a JSON file of a run or of a study holds; None where there is none.

    Raises:
        UserError: it is damaged, or something else.
    """
    try:
        data = seal.read(folder, name, foreign.MOST_JSON)
    except FileNotFoundError:
        return None
    return of_json(data, shape, folder / name, seal.can_be_made(folder))


def read_summary(folder: Path) -> dict[str, Any] | None:
    """What results.json of a run holds; as `read_json`."""
    found: dict[str, Any] | None = read_json(folder, RESULTS, SUMMARY)
    return found
