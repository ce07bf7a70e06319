"""The harness in short: a few trials of each part, and that it sees what happens where a guard is off."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from torture import whole
from torture.trials import FAULTS, HANG, MEMORY, REFUSED, RIGHT, each

pytestmark = pytest.mark.torture


def short(name: str, count: int, scratch: Path) -> dict[str, Any]:
    """What so many trials of a part came to, in a process without what other tests leave: memory, threads."""
    found = whole.in_its_own_process(name, count, scratch)
    assert not any(found["counts"].get(kind) for kind in FAULTS), json.dumps(found["faults"][:5])
    assert found["counts"][RIGHT] > 0
    return found


def test_files_from_elsewhere_are_read_or_refused(tmp_path: Path) -> None:
    found = short("readers", 900, tmp_path)
    assert found["trials"] >= 890
    assert found["counts"][REFUSED] > 100


def test_kernels_stay_within_their_arrays(tmp_path: Path) -> None:
    assert short("pages", 120, tmp_path)["trials"] >= 120


def test_damage_is_seen(tmp_path: Path) -> None:
    found = short("damage", 80, tmp_path)
    assert found["trials"] >= 80
    assert found["counts"][REFUSED] > 15


@pytest.mark.long
def test_killed_work_goes_on(tmp_path: Path) -> None:
    assert short("kills", 40, tmp_path)["trials"] >= 40


def _endings(cases: dict[str, Callable[[], object]], seconds: float) -> list[str]:
    """How trials end that do these things."""

    def work(case: str) -> tuple[str, str]:
        return RIGHT, str(cases[case]())

    return [found.kind for _, found in each(cases, work, seconds=seconds, memory=None)]


def test_what_hangs_is_seen() -> None:
    def forever() -> None:
        while True:
            pass

    assert _endings({"well": str, "hangs": forever, "well again": str}, 3.0) == [RIGHT, HANG, RIGHT]


@pytest.mark.parametrize("large", [0, 1100 << 20])
def test_what_grows_is_seen_and_what_its_process_began_with_is_not(large: int) -> None:
    own = bytearray(large)
    found = _endings({"well": str, "grows": lambda: len(bytearray(1200 << 20))}, 60.0)
    assert found == [RIGHT, MEMORY], len(own)
