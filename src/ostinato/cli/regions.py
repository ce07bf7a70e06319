"""Regions of a piece that a shell has parted: `--free bars 5-8` is typed as often as `--free "bars 5-8"`."""

import re
from collections.abc import Sequence

_COMMAND, _OPTIONS = "harmonize", ("--free", "--fixed")
_UNIT, _BARS = re.compile(r"bars?", re.IGNORECASE), re.compile(r"(\d+-?\d*|-\d+)(@.*)?")


def with_whole_regions(arguments: Sequence[str]) -> list[str]:
    """A command's arguments; "bars" behind an option that takes a region, and the numbers behind it, as one.

    No file is taken for numbers: a path of digits alone is the region's, unless `./` is before it.

    Example:
        >>> with_whole_regions(["harmonize", "run", "a.mid", "--free", "bars", "5-8", "--out", "b.mid"])
        ['harmonize', 'run', 'a.mid', '--free', 'bars 5-8', '--out', 'b.mid']
    """
    found = list(arguments)
    if found[:1] != [_COMMAND]:
        return found
    k = 1
    while k < len(found):
        before, _, unit = found[k].rpartition("=") if found[k].startswith(_OPTIONS) else ("", "", found[k])
        is_value = before in _OPTIONS or found[k - 1] in _OPTIONS
        if is_value and _UNIT.fullmatch(unit) and k + 1 < len(found) and _BARS.fullmatch(found[k + 1]):
            found[k : k + 2] = [f"{found[k]} {found[k + 1]}"]
        k += 1
    return found
