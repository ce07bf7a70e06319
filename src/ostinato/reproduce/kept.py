"""Files of results that are kept for long, each with a digest of what it says: a changed figure is none."""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ostinato import foreign
from ostinato.errors import UserError
from ostinato.files import atomic_write, read_regular
from ostinato.shapes import Shape, both, mapping, of_json

_DIGEST = "digest"
_ADVICE = "put it back from a copy, or remove it to have it made again"


def write_record(path: Path, content: Mapping[str, Any]) -> None:
    """Write results into a file, with their digest, and the folders above it.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a" / "seed.json"
        >>> write_record(path, {"solved": True})
        >>> read_record(path, mapping())
        {'solved': True}
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, _as_text({**content, _DIGEST: _digest(content)}))


def read_record(path: Path, shape: Shape) -> Any:
    """What `write_record` has written, or an older version, without a digest.

    Args:
        path: of the file.
        shape: what it must look like.

    Raises:
        UserError: it cannot be read, it has been changed since, or it has another shape.
    """
    found = of_json(read_regular(path, foreign.MOST_JSON), both(mapping(), shape), path, _ADVICE)
    if _DIGEST in found and found.pop(_DIGEST) != _digest(found):
        raise UserError(f"expected {path} as it was written, found it changed since; {_ADVICE}")
    return found


def _digest(content: Mapping[str, Any]) -> str:
    # as it is read: a whole number as a key is a text then
    same = json.loads(json.dumps(content))
    return hashlib.sha256(json.dumps(same, sort_keys=True).encode()).hexdigest()


def _as_text(content: Mapping[str, Any]) -> str:
    """JSON with lists of numbers on one line."""
    text = json.dumps(content, indent=1)
    return re.sub(r"\[([^\[\]{}\"]*)\]", lambda found: f"[{' '.join(found[1].split())}]", text) + "\n"
