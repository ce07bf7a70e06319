import json

import pytest

from ostinato import seal
from ostinato.errors import UserError
from ostinato.seal import Content, Sealer, SealError


@pytest.fixture
def sealed(tmp_path):
    """A folder with two files, sealed."""
    sealer = Sealer(tmp_path)
    sealer.write("a.txt", "one")
    (tmp_path / "sub").mkdir()
    sealer.write("sub/b.bin", b"\0\1")
    sealer.settle()
    return tmp_path


def test_what_is_read_is_what_was_written(sealed):
    assert (seal.read(sealed, "a.txt"), seal.read(sealed, "sub/b.bin")) == (b"one", b"\0\1")
    assert seal.is_there(sealed, "a.txt")
    assert not seal.is_there(sealed, "c.txt")
    with pytest.raises(FileNotFoundError):
        seal.read(sealed, "c.txt")
    assert seal.examine(sealed) == {"a.txt": True, "sub/b.bin": True}


@pytest.mark.parametrize("other", [b"onf", b"on", b"one ", b"", None])
def test_what_is_not_is_damaged(sealed, other):
    path = sealed / "a.txt"
    path.unlink()
    if other is not None:
        path.write_bytes(other)
    with pytest.raises(SealError, match=r"a\.txt as it was written, found"):
        seal.read(sealed, "a.txt")
    assert seal.examine(sealed)["a.txt"] is (None if other is None else False)
    if other is None:
        with pytest.raises(SealError, match="found none, though it has been written"):
            seal.is_there(sealed, "a.txt")


def test_a_file_that_nobody_wrote_is_none_of_the_folders(sealed):
    (sealed / "c.txt").write_text("mine")
    with pytest.raises(SealError):
        seal.read(sealed, "c.txt")


def test_every_bit_of_the_seal_counts(sealed):
    path = sealed / "seal.json"
    data = path.read_bytes()
    for place in range(len(data)):
        for bit in (1, 0x20):
            changed = bytearray(data)
            changed[place] ^= bit
            path.write_bytes(changed)
            with pytest.raises(UserError):
                seal.load(sealed)
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(UserError):
            seal.load(sealed)


def test_the_seal_of_a_later_version_says_so(sealed):
    path = sealed / "seal.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 2, "files": "other"}))
    with pytest.raises(UserError, match=r"format 1 in .*seal\.json, found format 2; use the version"):
        seal.read(sealed, "a.txt")


def test_a_file_that_grows_is_sealed_as_far_as_it_had_come(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"one\ntwo\nthr")
    seal.make(tmp_path, ["log"], growing=["log"])
    assert seal.read(tmp_path, "log") == b"one\ntwo\nthr"
    path.write_bytes(b"one\ntwo\nthree\n")
    assert seal.read(tmp_path, "log") == b"one\ntwo\nthree\n"
    for wrong in (b"one\ntwo", b"one\ntwp\nthree\n", b""):
        path.write_bytes(wrong)
        with pytest.raises(SealError):
            seal.read(tmp_path, "log")


@pytest.mark.parametrize("name", ["a.txt", "seal.json"])
def test_links_are_not_followed(sealed, tmp_path_factory, name):
    target = tmp_path_factory.mktemp("other") / "precious"
    target.write_bytes((sealed / name).read_bytes())
    (sealed / name).unlink()
    (sealed / name).symlink_to(target)
    before = target.read_bytes()
    with pytest.raises(UserError, match="found a link, which is not followed"):
        seal.read(sealed, "a.txt")
    if name == "a.txt":
        with pytest.raises(UserError, match="found a link"):
            seal.is_there(sealed, "a.txt")
        with pytest.raises(UserError, match="found a link"):
            Sealer(sealed).write("a.txt", "other")
    assert target.read_bytes() == before


def test_a_folder_between_is_no_link_either(sealed, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (sealed / "sub").rename(elsewhere / "sub")
    (sealed / "sub").symlink_to(elsewhere / "sub")
    with pytest.raises(UserError, match="found a link"):
        seal.read(sealed, "sub/b.bin")
    with pytest.raises(UserError, match="found a link"):
        seal.is_there(sealed, "sub/b.bin")
    with pytest.raises(UserError, match="found a link"):
        Sealer(sealed).write("sub/b.bin", b"")


def test_a_pipe_is_not_waited_for(tmp_path):
    import os

    os.mkfifo(tmp_path / "a.txt")
    with pytest.raises(UserError, match="expected a file"):
        seal.read(tmp_path, "a.txt")


def test_without_a_seal_files_are_as_they_are_and_somebody_hears_of_it(tmp_path):
    (tmp_path / "a.txt").write_text("one")
    assert seal.read(tmp_path, "a.txt") == b"one"
    told = []
    with seal.telling(told.append):
        seal.tell_unsealed(tmp_path)
        seal.tell_unsealed(tmp_path)
    assert len(told) == 1
    assert "has no seal.json" in told[0]
    Sealer(tmp_path, ["a.txt", "b.txt"]).write("b.txt", "two")
    assert seal.examine(tmp_path) == {"a.txt": True, "b.txt": True}


def test_a_reader_between_two_writes_reads_again(sealed, monkeypatch):
    """The seal has been read, then both are replaced: the file is another one, and not damaged."""
    real, writer = seal._bytes, Sealer(sealed)
    pending = ["two", "three"]

    def late(folder, name, most):
        while pending:
            writer.write("a.txt", pending.pop(0))
        return real(folder, name, most)

    monkeypatch.setattr(seal, "_bytes", late)
    assert seal.read(sealed, "a.txt") == b"three"


def test_whatever_a_write_is_stopped_at_nothing_is_damaged(sealed, dies_at):
    for step in range(100):
        before = seal.read(sealed, "a.txt")
        after = f"text {step}".encode()
        writer = Sealer(sealed)
        died = dies_at(step, lambda writer=writer, after=after: writer.write("a.txt", after))
        assert seal.read(sealed, "a.txt") in (before, after)
        assert all(seal.examine(sealed).values())
        if not died:
            assert step > 6  # there were so many steps
            return
    raise AssertionError("it never ended")


def test_the_old_and_the_new_alone_are_allowed_meanwhile(sealed, dies_at):
    assert dies_at(5, lambda: Sealer(sealed).write("a.txt", "new"))
    contents = seal.load(sealed)["a.txt"]
    assert contents == (Content.of(b"new"), Content.of(b"one"))
    later = Sealer(sealed)
    later.settle()
    assert len(seal.load(sealed)["a.txt"]) == 1
