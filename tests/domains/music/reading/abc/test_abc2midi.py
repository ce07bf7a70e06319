"""Note by note against abc2midi, a program by others."""

import shutil
import subprocess

import pytest

from generated_abc import Tune
from ostinato.domains.music.reading.abc import read_book
from ostinato.domains.music.reading.notation import read

abc2midi = shutil.which("abc2midi")
TUNES = range(1, 201)


def rows(piece, late=0.0):
    return sorted(
        zip(
            piece.pitch.tolist(),
            (piece.start - late).round(2).tolist(),
            piece.end.round(2).tolist(),
            strict=True,
        )
    )


def same(ours, theirs):
    """Equal but for ticks, into which abc2midi rounds."""
    return len(ours) == len(theirs) and all(
        a[0] == b[0] and abs(a[1] - b[1]) < 0.03 and abs(a[2] - b[2]) < 0.03
        for a, b in zip(ours, theirs, strict=True)
    )


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """What abc2midi plays of every generated tune, by its number."""
    if abc2midi is None:
        pytest.skip("abc2midi (Debian's package abcmidi) is not installed")
    folder = tmp_path_factory.mktemp("abc2midi")
    for number in TUNES:
        # its chords come in one by one, and its notes a tick late
        text = Tune(number).text.replace("\nM:", "\n%%MIDI chordattack 0\nM:", 1)
        (folder / f"{number}.abc").write_text(text)
        command = [
            abc2midi,
            f"{number}.abc",
            str(number),
            "-NGRA",
            "-NGUI",
            "-NFER",
            "-NFNP",
            "-o",
            f"{number}.mid",
        ]
        subprocess.run(command, cwd=folder, capture_output=True, check=False, timeout=60)
    return {number: read(folder / f"{number}.mid")[0] for number in TUNES}


def test_generated_tunes_sound_as_abc2midi_plays_them(played):
    other = []
    for number in TUNES:
        (ours,) = read_book(Tune(number).text)
        if isinstance(ours, Exception) or not same(rows(ours), rows(played[number], 1 / 480)):
            other.append(number)
    assert other == []
