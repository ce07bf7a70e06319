import sys
import time

import numpy as np
import pytest

from ostinato.data import cache
from ostinato.domains.music.reading import cache as reading_cache
from ostinato.domains.music.reading import readers as reading
from ostinato.domains.music.reading.cache import read_files
from ostinato.domains.music.reading.notation import Playing
from ostinato.domains.music.reading.readers import read_all
from ostinato.domains.music.reading.stored import Reading, pack, unpack
from ostinato.errors import UserError
from ostinato.seal import telling


@pytest.fixture
def files(tmp_path, write_song):
    songs = [write_song(tmp_path / f"{k}.mid", k) for k in range(9)]
    songs[4].write_text("no music")
    return songs


def assert_same(first, second):
    for a, b in zip(first, second, strict=True):
        assert a.reason == b.reason
        for p, q in zip(a.pieces, b.pieces, strict=True):
            for key in ("start", "end", "pitch", "sustained", "track", "voice", "velocity"):
                np.testing.assert_array_equal(getattr(p, key), getattr(q, key))
            for key in ("pickup", "parts", "marks", "title", "number", "lost"):
                assert getattr(p, key) == getattr(q, key)


def test_answers_come_in_the_order_of_the_paths(files):
    ticks = []
    found = read_all(files, tick=lambda place, one: ticks.append((place, one)))
    assert_same(found, [reading.read_one(path) for path in files])
    assert [one for _, one in sorted(ticks, key=lambda tick: tick[0])] == found
    assert "not a MIDI file" in found[4].reason
    assert read_all([]) == []


def test_a_reader_that_crashes_costs_one_file(files, monkeypatch):
    # stands in for a native library that takes the process down on one file
    program = (
        "import os, sys, json; from ostinato.domains.music.reading import readers as reading\n"
        "true = reading.read_one\n"
        "reading.read_one = lambda path, playing: "
        "os._exit(11) if path.name == '2.mid' else true(path, playing)\n"
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
        "reading.read_one = lambda *asked: (print('hello'), os.write(1, b'native'), true(*asked))[-1]\n"
        "reading.main()"
    )
    monkeypatch.setattr(reading, "_PROGRAM", ("-c", program))
    assert read_all(files[:1])[0].pieces


def test_an_error_in_the_caller_ends_the_reading(files):
    def stop(place, one):
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
    """The files that are read, not those from the cache."""
    calls = []

    def counting(paths, *more, **options):
        calls.extend(path.name for path in paths)
        return read_all(paths, *more, **options)

    monkeypatch.setattr(reading_cache, "read_all", counting)
    return calls


def kept():
    return sorted(cache.cache_folder().iterdir()) if cache.cache_folder().exists() else []


def test_files_are_read_once(files, counted):
    first = read_files(files, progress=False)
    second = read_files(files, progress=False)
    assert_same(first, second)
    assert counted == [path.name for path in files]
    for one in kept():
        with np.load(one, allow_pickle=False) as arrays:
            assert {arrays[key].dtype.kind for key in arrays.files} <= set("fiU")


def test_a_file_more_is_one_reading_more(files, counted, write_song):
    read_files(files, progress=False)
    write_song(files[0], 99)
    more = write_song(files[0].with_name("more.mid"), 100)
    counted.clear()
    found = read_files([more, *files], progress=False)
    assert counted == ["more.mid", files[0].name]
    assert_same(found, [reading.read_one(path) for path in [more, *files]])


def test_what_was_read_before_an_interruption_is_kept(files, counted, monkeypatch):
    def interrupted(paths, playing, tick):
        for place, path in enumerate(paths[:5]):
            tick(place, reading.read_one(path, playing))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(reading_cache, "read_all", interrupted)
        with pytest.raises(KeyboardInterrupt):
            read_files(files, progress=False)
    read_files(files, progress=False)
    assert counted == [path.name for path in files[5:]]


def test_what_is_played_is_another_reading(tmp_path, counted):
    (tmp_path / "a.abc").write_text('X:1\nL:1/4\nK:C\n|: "C" CD :|\n')
    found = {
        playing: len(read_files([tmp_path / "a.abc"], playing, progress=False)[0].pieces[0])
        for playing in (Playing(), Playing(repeats=False), Playing(repeats=False, chords=True))
    }
    assert list(found.values()) == [4, 2, 5]
    assert counted == ["a.abc"] * 3


def test_a_cache_that_is_damaged_anywhere_is_made_again(files, counted):
    right = read_files(files, progress=False)
    one, *_ = kept()
    whole, rng = one.read_bytes(), np.random.default_rng(0)
    broken = [b"", whole[:100], whole[: len(whole) // 2], whole[:-1], b"not an archive"]
    for position in rng.integers(0, len(whole), 4):
        broken.append(whole[:position] + bytes([whole[position] ^ 0xFF]) + whole[position + 1 :])
    for data in broken:
        one.write_bytes(data)
        with telling(lambda text: None):
            assert_same(read_files(files, progress=False), right)


def test_a_cache_of_another_make_is_made_again(files):
    right = read_files(files, progress=False)
    one, *_ = kept()
    arrays, meta = pack(right[0])
    longer = [meta["pieces"][0] | {"length": 5}]
    for other in ({}, [], [1], meta | {"pieces": longer}, meta | {"pieces": [{}]}, None):
        cache.save(one.stem, arrays, other)
        assert_same(read_files(files, progress=False), right)
        assert unpack(arrays, other) is None


def test_a_pickle_in_the_cache_is_never_loaded(files, tmp_path):
    right = read_files(files, progress=False)
    one, *_ = kept()

    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "exploded"), "w"))

    with one.open("wb") as stream:
        np.savez(stream, allow_pickle=True, meta=np.array([Bomb()], dtype=object), start=np.zeros(1))
    assert_same(read_files(files, progress=False), right)
    assert not (tmp_path / "exploded").exists()


def test_failures_that_may_not_come_back_are_not_kept(files, monkeypatch):
    failed = [Reading(reason="reading it crashed", final=False)] * len(files)

    def failing(paths, playing, tick):
        for place, one in enumerate(failed):
            tick(place, one)
        return failed

    monkeypatch.setattr(reading_cache, "read_all", failing)
    assert read_files(files, progress=False) == failed
    assert not kept()


def test_a_cache_folder_that_cannot_be_written_is_no_error(files, counted, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("OSTINATO_CACHE", str(tmp_path / "file" / "cache"))
    assert len(read_files(files, progress=False)) == len(files)
    assert len(read_files(files, progress=False)) == len(files)
    assert counted == [path.name for path in files] * 2


def test_the_progress_bar_is_on_standard_error(files, capsys):
    read_files(files, use_cache=False, progress=True)
    # and in a log file there is none
    assert capsys.readouterr() == ("", "")


def test_a_file_by_itself_is_supervised(tmp_path, monkeypatch):
    """A length that takes years to compute costs its file the time that it may have; the next one is read."""
    from ostinato.domains.music.reading.pieces import read_piece

    monkeypatch.setattr(reading, "_BY_ITSELF", worker := reading._Worker(1.0))
    bad, good = tmp_path / "bad.musicxml", tmp_path / "good.abc"
    note = "<note><pitch><step>C</step><octave>4</octave></pitch><duration>{}</duration></note>"
    score = f"<score-partwise><part><measure>{note}</measure></part></score-partwise>"
    bad.write_text(score.format("1e999999999"))
    good.write_text("X:1\nL:1/4\nK:C\nCDEF|\n")
    try:
        with pytest.raises(UserError, match="took more than 1 seconds"):
            read_piece(bad)
        # others have the time that they usually have: on a busy machine a process takes seconds to start
        worker._seconds = reading.SECONDS_PER_FILE
        assert len(read_piece(good)) == 8
        first = worker._process
        assert len(read_piece(good)) == 8
        assert worker._process is first  # it stays
        first.kill()
        first.wait()
        assert len(read_piece(good)) == 8  # another one is started
    finally:
        worker.stop()


def test_a_small_midi_file_needs_no_process(tmp_path, monkeypatch):
    path = tmp_path / "a.mid"
    path.write_bytes(b"MThd")
    monkeypatch.setattr(reading, "_BY_ITSELF", None)
    assert "truncated" in reading.read_few(path).reason
