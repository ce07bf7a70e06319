"""A run against kills and full disks."""

import errno
import os
import random
import signal
import subprocess
import time

import pytest
import torch

from ostinato.errors import UserError
from ostinato.runs.folder import Run

# A kill at any instant

TRAIN = """
    import itertools, sys, torch
    from ostinato.runs.folder import Run
    run = Run.open(sys.argv[1]).lock()
    epoch = 0
    if run.has_checkpoint("last"):
        tensors, state = run.load_checkpoint("last")
        epoch = state["epoch"]
        assert (tensors["a"] == epoch).all()
        run.truncate_metrics(state["metrics"])
    else:
        run.truncate_metrics(0)
    print("ready", flush=True)
    for epoch in itertools.count(epoch + 1):
        run.append_metrics({"epoch": epoch})
        run.append_metrics({"validated": epoch})
        state = {"epoch": epoch, "metrics": run.metrics_offset()}
        run.save_checkpoint("last", {"a": torch.full((20000,), epoch)}, state)
"""


@pytest.mark.slow
def test_killed_at_any_instant_it_goes_on_from_a_whole_checkpoint(run, in_a_process):
    run.close()
    moments = random.Random(0)
    reached = 0
    for _ in range(6):
        with in_a_process(TRAIN, run.folder) as other:
            assert other.stdout.readline() == "ready\n", other.stdout.read()
            time.sleep(moments.uniform(0.02, 0.2))
            other.send_signal(signal.SIGKILL)
        with Run.open(run.folder).lock() as later:
            assert sorted(p.name for p in (run.folder / "checkpoints").iterdir()) in (
                [],
                ["last.safetensors"],
            )
            if not later.has_checkpoint("last"):
                continue
            tensors, state = later.load_checkpoint("last")
            assert (tensors["a"] == state["epoch"]).all()
            assert state["epoch"] >= reached
            reached = state["epoch"]
            later.truncate_metrics(state["metrics"])
            assert later.metrics() == [
                {key: e} for e in range(1, reached + 1) for key in ("epoch", "validated")
            ]
    assert reached > 0


# No space left


def fill(run):
    """Train until there is no room."""
    for epoch in range(100):
        run.append_metrics({"epoch": epoch, "notes": "x" * 500})
        run.save_checkpoint("last", {"a": torch.full((2000 * (epoch + 1),), 1.0)}, {"epoch": epoch})


def check_intact(run):
    assert not list(run.folder.rglob("*.tmp"))
    _, state = run.load_checkpoint("last")
    assert len(run.metrics()) in (state["epoch"] + 1, state["epoch"] + 2)
    assert (run.folder / "metrics.jsonl").read_bytes().endswith(b"\n")


MESSAGE = "no space left for .*; the run is intact up to its last checkpoint: free some space, then ostinato"


def test_a_full_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted: {mounted.stderr.strip()}")
    try:
        with Run.create(disk / "run", {}) as run:
            with pytest.raises(UserError, match=MESSAGE):
                fill(run)
            with pytest.raises(UserError, match="no space left"):
                run.write_text("big.txt", "x" * 300_000)
            check_intact(run)
            (disk / "ballast").write_bytes(b"x" * (os.statvfs(disk).f_bavail * os.statvfs(disk).f_bsize))
        with Run.open(
            disk / "run"
        ).lock() as later:  # can be taken up without any room, until something is written
            check_intact(later)
    finally:
        subprocess.run(["umount", disk], check=True)


LIMITED = """
    import resource, sys, torch
    from ostinato.errors import UserError
    from ostinato.runs.folder import Run
    run = Run.open(sys.argv[1])
    run.append_metrics({"epoch": 0})
    run.save_checkpoint("last", {"a": torch.ones(10)}, {"epoch": 0})
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
    try:
        run.save_checkpoint("last", {"a": torch.ones(10000)}, {"epoch": 1})
    except UserError as error:
        print(error)
    try:
        run.append_metrics({"long": "x" * 10000})
    except UserError as error:
        print(error)
"""


def test_a_limit_on_the_size_of_files(run, in_a_process):
    run.close()
    with in_a_process(LIMITED, run.folder) as other:
        first, second = other.communicate()[0].splitlines()
    for message, name in ((first, "last.safetensors"), (second, "metrics.jsonl")):
        assert message.startswith("no space left for")
        assert name in message
        assert "intact up to its last checkpoint" in message
    check_intact(run)
    assert run.metrics() == [{"epoch": 0}]


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_no_room_for_a_checkpoint(run, monkeypatch, call, code, contents):
    run.append_metrics({"epoch": 0})
    run.save_checkpoint("last", {"a": torch.ones(3)}, {"epoch": 0})
    before = contents(run.folder)

    def fail(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(UserError, match=MESSAGE):
        run.save_checkpoint("last", {"a": torch.zeros(3)}, {"epoch": 1})
    monkeypatch.undo()
    assert contents(run.folder) == before


def test_no_room_for_a_line_of_metrics(run, monkeypatch, contents):
    run.append_metrics({"epoch": 0})
    before = contents(run.folder)
    real, room = os.write, [5]

    def fill_up(descriptor, data):
        if not room:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, bytes(data[: room.pop()]))

    monkeypatch.setattr(os, "write", fill_up)
    with pytest.raises(UserError, match=MESSAGE):
        run.append_metrics({"epoch": 1})
    monkeypatch.undo()
    assert contents(run.folder) == before
