"""The harness in short: a few trials of each part, and that it sees what happens where a guard is off."""

import json
from pathlib import Path

import pytest

from torture import damage, pages, places, readers, whole
from torture.trials import FAULTS, HANG, MEMORY, REFUSED, RIGHT, Tally, each, tally

pytestmark = pytest.mark.torture


def check(found: Tally, at_least: int) -> None:
    faults = "\n".join(f"{one['kind']}: {one['case']}: {one['about']}" for one in found.faults[:5])
    assert not any(found.counts[kind] for kind in FAULTS), faults
    assert found.trials >= at_least
    assert found.counts[RIGHT] > 0


def test_files_from_elsewhere_are_read_or_refused(tmp_path: Path) -> None:
    found = tally("readers", readers.run(tmp_path, 900))
    check(found, 890)
    assert found.counts[REFUSED] > 100


def test_kernels_stay_within_their_arrays() -> None:
    check(tally("pages", pages.run(120)), 120)


def test_damage_is_seen(tmp_path: Path) -> None:
    bench = damage.Bench(places.make(tmp_path / "places"), _made(tmp_path / "own"))
    found = tally("damage", damage.run(bench, 80))
    check(found, 80)
    assert found.counts[REFUSED] > 15


@pytest.mark.long
def test_killed_work_goes_on(tmp_path: Path) -> None:
    found = whole.in_its_own_process("kills", 40, tmp_path)
    assert found["trials"] >= 40
    assert not any(found["counts"].get(kind) for kind in FAULTS), json.dumps(found["faults"][:5])


def test_what_hangs_or_grows_is_seen() -> None:
    def work(case: str) -> tuple[str, str]:
        if case == "hangs":
            while True:
                pass
        if case == "grows":
            return RIGHT, str(len(bytearray(1200 << 20)))
        return RIGHT, ""

    kinds = {
        case: found.kind for case, found in each(["well", "hangs", "grows"], work, seconds=6.0, memory=None)
    }
    assert kinds == {"well": RIGHT, "hangs": HANG, "grows": MEMORY}


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
