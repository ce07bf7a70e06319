import json
import sys
import time

import numpy as np
import pytest

from ostinato.data import cache
from ostinato.domains.music.reading import cache as reading_cache
from ostinato.domains.music.reading import readers as reading
from ostinato.domains.music.reading.cache import read_files
from ostinato.domains.music.reading.readers import Reading, read_all


@pytest.fixture
def files(tmp_path, write_song):
    songs = [write_song(tmp_path / f"{k}.mid", k) for k in range(9)]
    songs[4].write_text("no music")
    return songs


def assert_same(first, second):
    for a, b in zip(first, second, strict=True):
        assert a.reason == b.reason
        for p, q in zip(a.pieces, b.pieces, strict=True):
            for key in ("start", "end", "pitch"):
                np.testing.assert_array_equal(getattr(p, key), getattr(q, key))
            assert (p.pickup, p.parts) == (q.pickup, q.parts)


def test_answers_come_in_the_order_of_the_paths(files):
    ticks = []
    found = read_all(files, tick=lambda: ticks.append(1))
    assert_same(found, [reading.read_one(path) for path in files])
    assert len(ticks) == len(files)
    assert "not a MIDI file" in found[4].reason
    assert read_all([]) == []


def test_a_reader_that_crashes_costs_one_file(files, monkeypatch):
    # stands in for a native library that takes the process down on one file
    program = (
        "import os, sys, json; from ostinato.domains.music.reading import readers as reading\n"
        "true = reading.read_one\n"
        "reading.read_one = lambda path: os._exit(11) if path.name == '2.mid' else true(path)\n"
        "reading.main()"
    )
    monkeypatch.setattr(reading, "_PROGRAM", ("-c", program))
    found = read_all(files)
    assert "crashed the reader" in found[2].reason
    assert not found[2].final
    assert [bool(one.pieces) for one in found] == [k not in (2, 4) for k in range(9)]


def test_a_reader_that_is_gone_before_it_is_asked(files, monkeypatch):
    monkeypatch.setattr(reading, "_PROGRAM", ("-c", ""))
    assert all("crashed the reader" in one.reason for one in read_all(files[:3]))


def test_a_reader_that_hangs_is_stopped(files, monkeypatch):
    monkeypatch.setattr(reading, "_PROGRAM", ("-c", "import time; time.sleep(600)"))
    begun = time.monotonic()
    found = read_all(files[:2], seconds_per_file=0.3)
    assert [one.reason for one in found] == ["reading it took more than 0.3 seconds"] * 2
    assert time.monotonic() - begun < 30


def test_what_readers_print_is_no_answer(files, monkeypatch):
    program = (
        "import os; from ostinato.domains.music.reading import readers as reading\n"
        "true = reading.read_one\n"
        "reading.read_one = lambda path: (print('hello'), os.write(1, b'native'), true(path))[-1]\n"
        "reading.main()"
    )
    monkeypatch.setattr(reading, "_PROGRAM", ("-c", program))
    assert read_all(files[:1])[0].pieces


def test_an_error_in_the_caller_ends_the_reading(files):
    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read_all(files, tick=stop)


def test_modules_in_the_current_folder_are_not_imported(files, tmp_path, monkeypatch):
    (tmp_path / "json.py").write_text("raise SystemExit('wrong module')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    assert read_all(files[:1])[0].pieces


@pytest.fixture
def counted(monkeypatch):
    """Every reading is worth keeping; counts them."""
    calls = []
    monkeypatch.setattr(reading_cache, "_WORTH_SECONDS", -1.0)
    monkeypatch.setattr(
        reading_cache, "read_all", lambda paths, **more: calls.append(1) or read_all(paths, **more)
    )
    return calls


def test_scores_are_read_once(files, counted):
    first = read_files(files, progress=False)
    second = read_files(files, progress=False)
    assert_same(first, second)
    assert len(counted) == 1
    (kept,) = cache.cache_folder().iterdir()
    with np.load(kept, allow_pickle=False) as arrays:
        assert {arrays[key].dtype.kind for key in arrays.files} <= set("fiU")


def test_another_file_another_reading(files, counted, write_song):
    read_files(files, progress=False)
    write_song(files[0], 99)
    found = read_files(files, progress=False)
    assert_same(found[:1], [reading.read_one(files[0])])
    assert len(counted) == 2


def test_a_cache_that_is_damaged_anywhere_is_made_again(files, counted):
    right = read_files(files, progress=False)
    (kept,) = cache.cache_folder().iterdir()
    whole, rng = kept.read_bytes(), np.random.default_rng(0)
    broken = [b"", whole[:100], whole[: len(whole) // 2], whole[:-1], b"not an archive"]
    for position in rng.integers(0, len(whole), 4):
        broken.append(whole[:position] + bytes([whole[position] ^ 0xFF]) + whole[position + 1 :])
    for data in broken:
        kept.write_bytes(data)
        assert_same(read_files(files, progress=False), right)


def test_a_cache_of_another_make_is_made_again(files, counted):
    right = read_files(files, progress=False)
    (kept,) = cache.cache_folder().iterdir()
    for meta in ({}, [], [1], [{"reason": "", "pieces": [[5, 0.0, []]]}] * 9, None):
        with kept.open("wb") as stream:
            arrays = {key: np.zeros(3) for key in ("start", "end", "pitch")}
            np.savez(stream, meta=np.array(json.dumps(meta)), **arrays)
        assert_same(read_files(files, progress=False), right)


def test_a_pickle_in_the_cache_is_never_loaded(files, counted, tmp_path):
    right = read_files(files, progress=False)
    (kept,) = cache.cache_folder().iterdir()

    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "exploded"), "w"))

    with kept.open("wb") as stream:
        np.savez(stream, allow_pickle=True, meta=np.array([Bomb()], dtype=object), start=np.zeros(1))
    assert_same(read_files(files, progress=False), right)
    assert not (tmp_path / "exploded").exists()


def test_failures_that_may_not_come_back_are_not_kept(files, counted, monkeypatch):
    failed = [Reading(reason="reading it crashed", final=False)] * len(files)
    monkeypatch.setattr(reading_cache, "read_all", lambda paths, **more: failed)
    assert read_files(files, progress=False) == failed
    assert not cache.cache_folder().exists() or not [*cache.cache_folder().iterdir()]


def test_a_cache_folder_that_cannot_be_written_is_no_error(files, counted, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("OSTINATO_CACHE", str(tmp_path / "file" / "cache"))
    assert len(read_files(files, progress=False)) == len(files)
    assert len(read_files(files, progress=False)) == len(files)
    assert len(counted) == 2


def test_the_progress_bar_is_on_standard_error(files, capsys):
    read_files(files, use_cache=False, progress=True)
    # and in a log file there is none
    assert capsys.readouterr() == ("", "")
