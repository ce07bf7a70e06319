"""Sopranos of held-out chorales and folk tunes, harmonised by the command; every note read by symusic."""

import json
from collections import Counter
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import symusic

from ostinato.cli.main import run as command
from ostinato.domains.music.notes import Notes
from ostinato.domains.music.reading import abc, bach
from ostinato.errors import UserError

COUNT = 20


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("melodies")
    options = ["--recipe", "SGD", "--epochs", "1", "--hidden-size", "8", "--quiet", "--json"]
    assert command(["train", "--data", "bach", "--run", str(folder / "run"), *options]) == 0
    return folder


def exact(time: float) -> Fraction:
    return Fraction(time).limit_denominator(10_000)


def read(path: Path) -> Counter:
    """Track, time, length, pitch and velocity of each note that was not composed."""
    score = symusic.Score(path)
    unit = score.ticks_per_quarter
    return Counter(
        (track.name, Fraction(n.time, unit), Fraction(n.duration, unit), n.pitch, n.velocity)
        for track in score.tracks
        if not track.name.startswith("ostinato ")
        for n in track.notes
    )


def harmonised(folder: Path, given: Path, capsys) -> tuple[Counter, dict]:
    out = folder / "out.mid"
    capsys.readouterr()
    arguments = [folder / "run", given, "--out", out, "--particles", 5, "--json"]
    assert command(["harmonize", *map(str, arguments)]) == 0
    return read(out), json.loads(capsys.readouterr().out)


@pytest.mark.long
def test_sopranos_of_held_out_chorales(trained, capsys) -> None:
    test = {song.name for song in bach.load(progress=False).test}
    chorales = [(k, n) for k, n in bach.read_chorales(progress=False).items() if k in test][:COUNT]
    assert len(chorales) == COUNT
    total = 0
    for k, (name, notes) in enumerate(chorales):
        path = trained / f"{name}.mid"
        score = symusic.Score(10_080)
        track = symusic.Track(name="Soprano", program=52)
        draw = np.random.default_rng(k)
        for n in np.flatnonzero(notes.track == 0):
            begin, end = (round(float(x) * 10_080) for x in (notes.start[n], notes.end[n]))
            pitch, velocity = int(notes.pitch[n]), int(draw.integers(1, 128))
            track.notes.append(symusic.Note(begin, end - begin, pitch, velocity))
        score.tracks.append(track)
        path.write_bytes(score.dumps_midi())
        given = read(path)
        found, record = harmonised(trained, path, capsys)
        assert found == given, name
        assert record["given_notes"] == record["given_notes_kept"] == given.total()
        assert record["added_notes"] > 0
        total += given.total()
    print(f"{COUNT} sopranos, {total} given notes, all equal")


def tunes() -> list[tuple[Path, Notes]]:
    """The first folk tunes of music21's Ryan's Mammoth that are one tune to a file."""
    from music21 import corpus

    found = []
    for path in sorted(Path(p) for p in corpus.getComposer("ryansMammoth")):
        read = list(abc.read_book(path.read_text(encoding="utf-8", errors="replace")))
        if len(read) == 1 and not isinstance(read[0], UserError):
            found.append((path, read[0]))
        if len(found) == COUNT:
            break
    return found


@pytest.mark.long
def test_folk_tunes(trained, capsys) -> None:
    chosen = tunes()
    assert len(chosen) == COUNT
    total = 0
    for path, notes in chosen:
        rows = zip(
            notes.start.tolist(), notes.end.tolist(), notes.pitch.tolist(), notes.track.tolist(), strict=True
        )
        given = Counter((notes.parts[t], exact(a), exact(b) - exact(a), p, 80) for a, b, p, t in rows)
        found, record = harmonised(trained, path, capsys)
        assert found == given, path.name
        assert record["given_notes"] == record["given_notes_kept"] == given.total()
        total += given.total()
    print(f"{COUNT} tunes, {total} given notes, all equal")
