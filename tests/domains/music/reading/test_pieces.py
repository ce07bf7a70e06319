from pathlib import Path

import numpy as np
import pytest

from ostinato.domains.music.bars import Bars
from ostinato.domains.music.reading.frames import AsFrames
from ostinato.domains.music.reading.pieces import Piece, read_piece, read_pieces

CASES = Path(__file__).parent / "cases"


def test_bars_and_beats_are_the_piece_s_own():
    piece = read_piece(CASES / "meter34.mid", AsFrames(2))
    assert piece.bars == Bars(metres=((0.0, 3, 4),))
    assert piece.place(7) == (2, 1.5)
    assert piece.place(7, 4.0) == (1, 4.5)


def test_a_pickup_is_bar_0():
    piece = read_piece(CASES / "measure_rest_pickup.musicxml", AsFrames(1))
    assert [piece.place(frame) for frame in range(3)] == [(0, 3.0), (1, 1.0), (1, 2.0)]


def test_a_change_of_metre():
    piece = read_piece(CASES / "meter.abc", AsFrames(1))
    assert piece.bars == Bars(metres=((0.0, 4, 4), (4.0, 3, 4)))
    assert [piece.place(frame)[0] for frame in range(10)] == [1] * 4 + [2] * 3 + [3] * 3


def test_a_change_within_a_bar_begins_a_bar():
    piece = Piece("a", np.eye(88, dtype=np.uint8), 1, bars=Bars(metres=((0.0, 4, 4), (2.0, 3, 4))))
    assert [piece.place(frame) for frame in (1, 2, 5)] == [(1, 2.0), (2, 1.0), (3, 1.0)]


def test_every_note_of_a_performance_is_at_the_nearest_frame():
    piece = read_piece(CASES / "late50.mid", AsFrames(2, transpose=False))
    rows = piece.frames.argmax(axis=1) + 21
    assert rows.tolist() == [60, 60, 62, 62, 64, 64, 65, 65]


def test_a_note_without_length_has_a_frame():
    piece = read_piece(CASES / "zero_len.mid", AsFrames(2, transpose=False))
    assert piece.frames[:, [60 - 21, 62 - 21]].tolist() == [[1, 1], [0, 1]]


@pytest.mark.parametrize(("pedal", "sounding"), [(False, 1), (True, 3)])
def test_the_pedal_of_a_file(pedal, sounding):
    piece = read_piece(CASES / "pedal.mid", AsFrames(4, pedal=pedal))
    assert piece.frames[2].sum() == sounding


def test_all_pieces_of_a_folder_and_what_cannot_be_used(tmp_path):
    (tmp_path / "bad.mid").write_text("no music")
    pieces, skipped = read_pieces([CASES, tmp_path, tmp_path / "none.abc#2"], AsFrames("auto"))
    assert len(pieces) == 32
    assert {name for name, _ in pieces} == {str(path) for path in CASES.iterdir() if path.suffix != ".json"}
    assert [skip.path for skip in skipped] == [str(tmp_path / "bad.mid"), str(tmp_path / "none.abc")]


@pytest.mark.parametrize(("repeats", "frames"), [(None, 32), ("played", 32), ("written", 16)])
def test_repeats_by_option(repeats, frames):
    assert len(read_piece(CASES / "abc_dc_mid.abc", AsFrames(1, repeats=repeats))) == frames
