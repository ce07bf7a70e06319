"""The metrics of a run: a JSON object per line, appended as training goes on, sealed at every checkpoint."""

import hashlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ostinato import foreign, seal, shapes
from ostinato.errors import UserError
from ostinato.files import open_regular, write_all, write_error
from ostinato.seal import Content, Sealer

METRICS = "metrics.jsonl"

# Scores come behind these; one that is none is null.
_SCORES = ("train_", "valid_")
_FIELDS = shapes.record({}, {"epoch": shapes.whole, "best": shapes.truth, "event": shapes.text})


class Metrics:
    """The file in a run's folder; who writes it holds the folder's lock, and has called `begin`.

    Args:
        folder: the run's.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._path = folder, folder / METRICS
        self._take(b"")

    def begin(self) -> None:
        """Cut off a last line that was not written whole, and read what there is.

        Raises:
            SealError: what was sealed has been changed.
        """
        there = self._bytes()
        whole = there[: there.rfind(b"\n") + 1]
        if len(whole) < len(there):
            self._truncate(len(whole))
        self._take(whole)

    def append(self, record: Mapping[str, Any], advice: str) -> None:
        """See `Run.append_metrics`; `advice` is what to do where it fails."""
        line = (json.dumps(_finite(record), allow_nan=False) + "\n").encode()
        descriptor = -1
        try:
            descriptor = open_regular(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            length = os.fstat(descriptor).st_size
            try:
                write_all(descriptor, line)
            except OSError:
                os.ftruncate(descriptor, length)
                raise
        except OSError as error:
            raise write_error(self._path, error, advice) from error
        finally:
            if descriptor >= 0:
                os.close(descriptor)
        self._length += len(line)
        self._digest.update(line)

    def records(self) -> list[dict[str, Any]]:
        """See `Run.metrics`."""
        records = []
        for number, line in enumerate(self._bytes().split(b"\n")[:-1], 1):
            try:
                record = foreign.of_json(line)
                _record(record, "")
            except UserError as error:
                raise UserError(
                    f"expected a record of training in line {number} of {self._path}, found an error: {error}"
                ) from error
            records.append(record)
        return records

    def size(self) -> int:
        """In bytes."""
        return self._path.lstat().st_size if self._path.exists() else 0

    def cut(self, offset: int, sealer: Sealer, advice: str) -> None:
        """See `Run.truncate_metrics`."""
        there = self._bytes()
        kept = there[:offset]
        if len(kept) < offset or (kept and not kept.endswith(b"\n")):
            raise UserError(
                f"expected {offset} bytes of whole lines in {self._path}, as when the checkpoint was made, "
                f"found {len(there)} bytes, changed since; put the old file back, or train anew"
            )
        self._take(kept)
        if len(there) == offset:
            return
        sealed = sealer.content(METRICS)
        if sealed is not None and sealed.size > offset:
            # first: what the seal says has to be true at every instant
            sealer.grown(METRICS, self.content())
            sealer.settle(advice=advice)
        self._truncate(offset)

    def sync(self) -> None:
        """Bring the file to the disk."""
        descriptor = open_regular(self._path, os.O_RDWR | os.O_CREAT)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def content(self) -> Content:
        """What has been written, to be sealed."""
        return Content(self._length, self._digest.hexdigest(), grows=True)

    def _take(self, data: bytes) -> None:
        self._length, self._digest = len(data), hashlib.sha256(data)

    def _bytes(self) -> bytes:
        try:
            return seal.read(self._folder, METRICS, foreign.MOST_JSON)
        except FileNotFoundError:
            return b""

    def _truncate(self, length: int) -> None:
        descriptor = open_regular(self._path, os.O_WRONLY)
        try:
            os.ftruncate(descriptor, length)
        finally:
            os.close(descriptor)


def _record(value: Any, where: str) -> None:
    """What a line holds: a shape (`ostinato.shapes`)."""
    _FIELDS(value, where)
    for name, each in value.items():
        if name.startswith(_SCORES):
            shapes.optional(shapes.number)(each, name)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
