"""What was read as arrays and one JSON-able object, for the cache and for another process; and back."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ostinato.domains.music.notes import Marks, Notes

# Raised whenever what is kept of a piece is another.
FORMAT = 2

_ARRAYS = {
    "start": float,
    "end": float,
    "sustained": float,
    "pitch": np.int16,
    "track": np.int16,
    "voice": np.int16,
    "velocity": np.int16,
}


@dataclass(frozen=True)
class Reading:
    """What came of a file: its pieces, or the reason why there are none.

    `faults` are the reasons why other pieces of the file cannot be used; `final` says that the same file
    would give the same again: a crash or a timeout may not come back.
    """

    pieces: tuple[Notes, ...] = ()
    reason: str = ""
    final: bool = True
    faults: tuple[str, ...] = ()


def pack(reading: Reading) -> tuple[dict[str, np.ndarray], Any]:
    """The notes of all pieces in long arrays; how they fall into pieces, and the rest, in the other part."""
    arrays = {
        name: np.concatenate([np.empty(0, kind), *(getattr(piece, name) for piece in reading.pieces)]).astype(
            kind
        )
        for name, kind in _ARRAYS.items()
    }
    pieces = [
        {
            "length": len(piece),
            "pickup": piece.pickup,
            "parts": piece.parts,
            "marks": asdict(piece.marks),
            "title": piece.title,
            "number": piece.number,
            "lost": piece.lost,
        }
        for piece in reading.pieces
    ]
    return arrays, {"pieces": pieces, "reason": reading.reason, "faults": reading.faults}


def unpack(arrays: dict[str, np.ndarray], meta: Any) -> Reading | None:
    """The inverse of `pack`; None when the parts do not fit together.

    Example:
        >>> unpack(*pack(Reading(reason="no notes"))).reason
        'no notes'
    """
    try:
        lengths = [piece["length"] for piece in meta["pieces"]]
        if {len(arrays[name]) for name in _ARRAYS} != {sum(lengths)}:
            return None
        ends = np.cumsum([0, *lengths])
        pieces = [
            _piece({name: arrays[name][begin:end] for name in _ARRAYS}, piece)
            for begin, end, piece in zip(ends[:-1], ends[1:], meta["pieces"], strict=True)
        ]
        return Reading(tuple(pieces), str(meta["reason"]), faults=tuple(meta["faults"]))
    except (KeyError, TypeError, IndexError, ValueError):
        return None


def _piece(arrays: dict[str, np.ndarray], meta: Any) -> Notes:
    marks: dict[str, Any] = {
        name: tuple(tuple(one) if isinstance(one, Sequence) else one for one in found)
        for name, found in meta["marks"].items()
    }
    columns = {name: values.astype(_whole(_ARRAYS[name])) for name, values in arrays.items()}
    return Notes(
        **columns,
        pickup=float(meta["pickup"]),
        parts=tuple(meta["parts"]),
        marks=Marks(**marks),
        title=str(meta["title"]),
        number=meta["number"],
        lost=int(meta["lost"]),
    )


def _whole(kind: Any) -> Any:
    return float if kind is float else int
