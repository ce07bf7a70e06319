"""One guard at a time is off, and the harness says so."""

import hashlib
import zipfile
from pathlib import Path

import pytest

from ostinato.domains.music.reading import content
from ostinato.domains.music.reading.notation import contents
from torture import damage, kills, places, whole
from torture.trials import LOST, MEMORY, REFUSED, RIGHT, SILENT, each, tally

pytestmark = [pytest.mark.torture, pytest.mark.long]


def test_without_fsync_a_power_cut_takes_work(tmp_path: Path) -> None:
    try:
        kills.compiled(tmp_path)
    except RuntimeError as error:
        pytest.skip(str(error))
    found = whole.in_its_own_process("kills", 80, tmp_path, "--without-sync")
    assert found["counts"].get(LOST, 0) + found["counts"].get(SILENT, 0) > 0
    assert all("content" in one["case"] or "names" in one["case"] for one in found["faults"])


@pytest.mark.parametrize("limited", [True, False])
def test_without_a_limit_what_unpacks_to_much_grows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limited: bool
) -> None:
    path = tmp_path / "bomb.mxl"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("score.xml", "w", force_zip64=True) as file,
    ):
        for _ in range(1100):
            file.write(b" " * (1 << 20))
    if not limited:
        monkeypatch.setattr(content, "MAX_BYTES", 1300 << 20)

    def work(path: Path) -> tuple[str, str]:
        contents(path)  # not in the process that has a limit of its own
        return RIGHT, ""

    ((_, found),) = each([path], work, seconds=60.0, memory=None)
    assert found.kind == (REFUSED if limited else MEMORY)


def test_without_digests_damage_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file's digest is taken for the right one: results differ, and the harness says so."""
    whole_places, own = places.make(tmp_path / "places"), tmp_path / "own"
    own.mkdir()

    class Agreeing(str):
        __slots__ = ()

        def __eq__(self, other: object) -> bool:
            return isinstance(other, str)

        __hash__ = str.__hash__

    real = hashlib.sha256

    class Digest:
        def __init__(self, data: bytes = b"") -> None:
            self.own = real(data)

        def update(self, data: bytes) -> None:
            self.own.update(data)

        def hexdigest(self) -> str:
            return Agreeing(self.own.hexdigest())

        def digest(self) -> bytes:
            return self.own.digest()

    monkeypatch.setattr("ostinato.seal.hashlib.sha256", Digest)
    found = tally("damage", damage.run(damage.Bench(whole_places, own), 300))
    assert found.counts[SILENT] > 0
