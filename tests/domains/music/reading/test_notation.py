import contextlib
import os
import tempfile
import zipfile

import numpy as np
import pytest

from ostinato.domains.music.reading.content import MAX_BYTES
from ostinato.domains.music.reading.notation import read
from ostinato.domains.music.writing import piano_roll
from ostinato.errors import UserError

ABC = 'X:1\nT:one\nM:4/4\nL:1/4\nK:G\n"G"G2 B d|{c}e2 z2|]\n'
KERN = "**kern\n*M4/4\n=1\n4c\n4e\n2g\n==\n*-\n"


def musicxml(body="", part="<part-name>Soprano</part-name>", attributes=""):
    body = body or "".join(
        f"<note><pitch><step>{step}</step><octave>4</octave></pitch><duration>1</duration></note>"
        for step in "CDEF"
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?><score-partwise version="3.1"><part-list><score-part id="P1">'
        f"{part}</score-part></part-list><part id='P1'><measure number='1'>"
        f"<attributes><divisions>1</divisions><time><beats>4</beats><beat-type>4</beat-type></time>{attributes}</attributes>{body}</measure></part>"
        "</score-partwise>"
    )


def mxl(path, text, inside="score.xml", container=True):
    with zipfile.ZipFile(path, "w") as archive:
        if container:
            root = f'<container><rootfiles><rootfile full-path="{inside}"/></rootfiles></container>'
            archive.writestr("META-INF/container.xml", root)
        archive.writestr("aaa.xml", "<nothing/>") if container else None
        archive.writestr(inside, text)


def midi(tracks=1, drums=False):
    import symusic

    score = symusic.Score(480)
    for _ in range(tracks):
        track = symusic.Track(program=0, is_drum=drums)
        for k in range(20):
            track.notes.append(symusic.Note(time=k * 240, duration=240, pitch=60 + k % 5, velocity=80))
        score.tracks.append(track)
    return score.dumps_midi()


def pitches(path):
    return [piece.pitch.tolist() for piece in read(path)]


def reason(path):
    with pytest.raises(UserError) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200
    return str(caught.value)


@pytest.mark.parametrize("name", ["a.abc", "A.ABC"])
def test_abc_without_chord_symbols_and_grace_notes(tmp_path, name):
    (tmp_path / name).write_text(ABC)
    (piece,) = read(tmp_path / name)
    assert piece.pitch.tolist() == [67, 71, 74, 76]
    assert piece.start.tolist() == [0, 2, 3, 4]


def test_each_tune_of_an_abc_book_is_a_piece(tmp_path):
    (tmp_path / "a.abc").write_text(ABC + "\n" + ABC.replace("X:1", "X:2").replace("K:G", "K:D"))
    assert len(read(tmp_path / "a.abc")) == 2


@pytest.mark.parametrize("name", ["a.krn", "a.kern", "A.KRN"])
def test_kern(tmp_path, name):
    (tmp_path / name).write_text(KERN)
    assert pitches(tmp_path / name) == [[60, 64, 67]]


@pytest.mark.parametrize("name", ["a.xml", "a.musicxml", "A.MusicXML"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_musicxml_in_any_encoding(tmp_path, name, encoding):
    text = musicxml(part="<part-name>Flöte</part-name>").replace("UTF-8", encoding.replace("-sig", ""))
    (tmp_path / name).write_bytes(text.encode(encoding))
    (piece,) = read(tmp_path / name)
    assert piece.pitch.tolist() == [60, 62, 64, 65]
    assert piece.parts == ("Flöte",)


def test_transposing_instruments_sound_where_they_sound(tmp_path):
    clarinet = "<transpose><diatonic>-1</diatonic><chromatic>-2</chromatic></transpose>"
    (tmp_path / "a.xml").write_text(musicxml(attributes=clarinet))
    assert pitches(tmp_path / "a.xml") == [[58, 60, 62, 63]]


@pytest.mark.parametrize("container", [True, False])
@pytest.mark.parametrize("name", ["a.mxl", "A.MXL", "a.xml"])
def test_compressed_musicxml(tmp_path, name, container):
    mxl(tmp_path / name, musicxml(), container=container)
    assert pitches(tmp_path / name) == [[60, 62, 64, 65]]


def test_midi_in_beats_without_drums(tmp_path):
    (tmp_path / "a.MID").write_bytes(midi())
    (piece,) = read(tmp_path / "a.MID")
    assert piece.start[:3].tolist() == [0, 0.5, 1]
    (tmp_path / "b.mid").write_bytes(midi(drums=True))
    assert reason(tmp_path / "b.mid") == "no notes but drums"


@pytest.mark.parametrize("suffix", ["mid", "xml", "musicxml", "mxl", "abc", "krn"])
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "empty"),
        (b"\n \0\r\n", "nothing but blanks"),
        (b"Hello, I am a text file.\n", "not"),
        (bytes(range(256)) * 4, "not|damaged"),
        (b"PK\x03\x04 no archive", "not|damaged"),
        (b"<score-partwise><part>", "not|damaged"),
        (b"<svg></svg>", "not|damaged"),
        (b"MThd", "not|truncated"),
    ],
)
def test_what_is_no_score_has_a_reason_of_one_line(tmp_path, suffix, content, expected):
    import re

    path = tmp_path / f"a.{suffix}"
    path.write_bytes(content)
    assert re.search(expected, reason(path))


def test_text_called_mid_is_named_as_such(tmp_path):
    (tmp_path / "a.mid").write_text("Hello world")
    assert reason(tmp_path / "a.mid") == "not a MIDI file: expected MThd at its beginning, found 'Hello wo'"


def test_every_truncation_of_a_midi_file_is_noticed(tmp_path):
    whole = midi(tracks=2)
    for length in range(1, len(whole)):
        (tmp_path / "a.mid").write_bytes(whole[:length])
        assert "truncated" in reason(tmp_path / "a.mid") or length < 4


def test_damaged_midi_never_raises_anything_else(tmp_path):
    whole, rng = midi(), np.random.default_rng(0)
    for _ in range(500):
        data = bytearray(whole)
        for position in rng.integers(4, len(data), 4):
            data[position] = rng.integers(256)
        (tmp_path / "a.mid").write_bytes(data)
        with contextlib.suppress(UserError):
            piano_roll.from_file(tmp_path / "a.mid")


@pytest.mark.parametrize("division", [b"\0\0", b"\xe7\x28"])
def test_times_that_are_not_beats(tmp_path, division):
    data = midi()
    (tmp_path / "a.mid").write_bytes(data[:12] + division + data[14:])
    assert "seconds (SMPTE), not beats" in reason(tmp_path / "a.mid")


def test_gigantic_ticks(tmp_path):
    track = b"\x00\x90\x3c\x50" + b"\xff\xff\xff\x7f\x90\x3c\x00" * 1 + b"\x00\xff\x2f\x00"
    data = b"MThd\0\0\0\6\0\0\0\1\0\1MTrk" + len(track).to_bytes(4, "big") + track
    (tmp_path / "a.mid").write_bytes(data)
    with pytest.raises(UserError, match="more than 200,000: its times look damaged"):
        piano_roll.from_file(tmp_path / "a.mid")


def test_xml_that_is_no_music_names_what_it_is(tmp_path):
    (tmp_path / "a.xml").write_text("<svg></svg>")
    assert reason(tmp_path / "a.xml") == "not MusicXML: expected the element score-partwise, found svg"


def test_a_zip_bomb_is_not_unpacked(tmp_path):
    with (
        zipfile.ZipFile(tmp_path / "a.mxl", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a.xml", "w") as inside,
    ):
        for _ in range(MAX_BYTES // (1 << 20) + 1):
            inside.write(b" " * (1 << 20))
    assert "larger than" in reason(tmp_path / "a.mxl")


def test_files_that_are_no_files(tmp_path):
    (tmp_path / "folder.mid").mkdir()
    assert reason(tmp_path / "folder.mid") == "not a file"
    assert reason(tmp_path / "nothing.mid") == "no such file"
    assert "expected one of .mid" in reason(tmp_path / "a.txt")
    (tmp_path / "link.mid").symlink_to(tmp_path / "nowhere.mid")
    assert reason(tmp_path / "link.mid") == "a link to nothing"
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.mid")
        assert reason(tmp_path / "pipe.mid") == "not a file"


def test_nothing_is_left_in_the_temporary_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    (tmp_path / "a.xml").write_text(musicxml())
    read(tmp_path / "a.xml")
    assert not [*(tmp_path / "temporary").rglob("*.p*")]


def test_kern_says_tempo_metre_key_and_programs(tmp_path):
    path = tmp_path / "a.krn"
    path.write_text("**kern\n*Ivioln\n*k[f#]\n*e:\n*M3/4\n*MM90\n=1\n4e\n4g\n4b\n=2\n*M2/4\n4e\n4e\n==\n*-\n")
    (piece,) = read(path)
    assert piece.marks.tempi == ((0.0, 90.0),)
    assert piece.marks.metres == ((0.0, 3, 4), (3.0, 2, 4))
    assert piece.marks.keys[-1] == (0.0, 1, True)
    assert piece.marks.programs == (40,)
