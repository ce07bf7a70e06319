import errno
import os
import stat

import pytest

from ostinato.errors import UserError
from ostinato.files import atomic_write, write_all


@pytest.mark.parametrize("data", [b"\x00\r\n\xff", "naïve\r\n", b"", ""])
def test_writes_what_it_was_given(tmp_path, data):
    atomic_write(tmp_path / "a", data)
    expected = data.encode() if isinstance(data, str) else data
    assert (tmp_path / "a").read_bytes() == expected
    assert os.listdir(tmp_path) == ["a"]


def test_replaces_and_leaves_open_readers_the_old_file(tmp_path):
    path = tmp_path / "a"
    atomic_write(path, "old")
    with open(path) as reader:
        atomic_write(path, "new")
        assert reader.read() == "old"
    assert path.read_text() == "new"


def test_permissions_follow_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        atomic_write(tmp_path / "a", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_a_failure_at_any_step_keeps_the_old_file_and_no_rest(tmp_path, monkeypatch, call):
    path = tmp_path / "a"
    atomic_write(path, "old")

    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(UserError, match=r"no space left for .*a; make room"):
        atomic_write(path, "new", advice="make room")
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a"]


def test_a_missing_folder_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match=r"cannot write .*No such file"):
        atomic_write(tmp_path / "none" / "a", "x")


def test_short_writes_are_continued(tmp_path, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, bytes(data[:3])))
    descriptor = os.open(tmp_path / "a", os.O_WRONLY | os.O_CREAT)
    try:
        write_all(descriptor, b"0123456789")
    finally:
        os.close(descriptor)
    assert (tmp_path / "a").read_bytes() == b"0123456789"
