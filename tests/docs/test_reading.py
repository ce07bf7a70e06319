import json
import re
from fractions import Fraction
from pathlib import Path

from ostinato.domains.music.reading.notation import MIDI, MUSICXML, SUFFIXES, read

ROOT = Path(__file__).parents[2]
CASES = ROOT / "tests" / "domains" / "music" / "reading" / "cases"
NOTES = json.loads((CASES / "notes.json").read_text())
PAGE = (ROOT / "docs" / "reading.md").read_text(encoding="utf-8")
READERS = {
    **dict.fromkeys(MIDI, "own, MIDI"),
    **dict.fromkeys(MUSICXML, "own, MusicXML"),
    ".abc": "own, ABC 2.1",
}


def result(name):
    (piece,) = read(CASES / name)
    found = sorted(zip(piece.start.tolist(), piece.end.tolist(), piece.pitch.tolist(), strict=True))
    wanted = sorted(
        (float(Fraction(start)), float(Fraction(end)), pitch) for start, end, pitch in NOTES[name]
    )
    close = all(
        abs(a[0] - b[0]) < 1e-9 and abs(a[1] - b[1]) < 1e-9 and a[2] == b[2]
        for a, b in zip(found, wanted, strict=False)
    )
    return len(found), "exact" if close and len(found) == len(wanted) else "not exact"


def test_the_table_of_cases_is_true():
    rows = re.findall(r"^\| (\S+\.\w+) \| ([^|]+) \| ([^|]+) \| (\d+) \| ([^|]+) \|$", PAGE, re.MULTILINE)
    assert {row[0] for row in rows} == set(NOTES)
    assert len(rows) == len(NOTES)
    for name, _, reader, count, said in rows:
        assert (reader, int(count), said) == (READERS[Path(name).suffix], *result(name)), name


def test_every_suffix_has_its_reader():
    table = PAGE[: PAGE.index("## MIDI")]
    assert set(re.findall(r"\.[a-z]+(?=[ |])", table)) >= set(SUFFIXES)
