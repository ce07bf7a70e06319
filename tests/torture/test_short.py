"""The harness in short: a few trials of each part, and that it sees what happens where a guard is off."""

import json
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


@pytest.mark.parametrize("large", [0, 1100 << 20])
def test_what_hangs_or_grows_is_seen(large: int) -> None:
    def work(case: str) -> tuple[str, str]:
        if case == "hangs":
            while True:
                pass
        if case == "grows":
            return RIGHT, str(len(bytearray(1200 << 20)))
        return RIGHT, ""

    own = bytearray(large)  # is none of the trial's
    kinds = {
        case: found.kind for case, found in each(["well", "hangs", "grows"], work, seconds=6.0, memory=None)
    }
    assert kinds == {"well": RIGHT, "hangs": HANG, "grows": MEMORY}, len(own)
