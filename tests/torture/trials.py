"""Many small trials, each of which ends in one of a few ways; in a forked process that may hang or crash.

Trials run one after the other in a child; it says when it begins one and what came of it. One that takes too
long is killed with its child, and the next child goes on behind it. The child's memory is limited, and its
peak is measured for every trial. Whatever the child leaves running is an orphan.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import select
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from ostinato.errors import UserError

# How a trial may end. The first two are right.
RIGHT, REFUSED = "right", "refused"
SILENT, LOST, TRACEBACK, HANG, CRASH, ORPHAN, MEMORY = (
    *("silent difference", "lost", "traceback", "hang", "crash", "orphan", "too much memory"),
)
FAULTS = (SILENT, LOST, TRACEBACK, HANG, CRASH, ORPHAN, MEMORY)

SECONDS = 10.0
MEMORY_LIMIT = 1 << 30

# Of trials in one child: what one leaves behind in it cannot reach far.
_BATCH = 100
_SET_CHILD_SUBREAPER = 36
_ORPHAN_SECONDS = 2.0

Case = TypeVar("Case")


@dataclass(frozen=True)
class Found:
    """What came of a trial.

    Args:
        kind: one of the ways above.
        about: what it was, where it is a fault.
        seconds: that it took.
        peak: memory in bytes at the most, beside what its process began with.
    """

    kind: str
    about: str = ""
    seconds: float = 0.0
    peak: int = 0


@dataclass
class Tally:
    """Counts of one class of trials, and the faults among them."""

    name: str
    counts: Counter[str] = field(default_factory=Counter)
    peak: int = 0
    slowest: float = 0.0
    faults: list[dict[str, str]] = field(default_factory=list)

    def add(self, case: object, found: Found) -> None:
        self.counts[found.kind] += 1
        self.peak, self.slowest = max(self.peak, found.peak), max(self.slowest, found.seconds)
        if found.kind in FAULTS:
            self.faults.append({"kind": found.kind, "case": str(case), "about": found.about})

    @property
    def trials(self) -> int:
        """An orphan is found beside the trial that left it."""
        return sum(n for kind, n in self.counts.items() if kind != ORPHAN)

    def to_dict(self) -> dict[str, Any]:
        shown = {"name": self.name, "trials": self.trials, "counts": dict(self.counts)}
        return {**shown, "peak": self.peak, "slowest": round(self.slowest, 2), "faults": self.faults}


def tally(name: str, results: Iterable[tuple[object, Found]]) -> Tally:
    """All of them counted."""
    own = Tally(name)
    for case, found in results:
        own.add(case, found)
    return own


def each(
    cases: Iterable[Case],
    work: Callable[[Case], tuple[str, str]],
    *,
    seconds: float = SECONDS,
    memory: int | None = MEMORY_LIMIT,
    batch: int = _BATCH,
) -> Iterator[tuple[Case, Found]]:
    """Each case and what came of it.

    Args:
        cases: what `work` takes.
        work: runs in a child; returns a way to end and what is to say of it. A UserError is a refusal, any
            other error a traceback.
        seconds: what takes longer hangs.
        memory: in bytes; nothing in the child may take more beside what it began with.
        batch: trials for one child.
    """
    cases = iter(cases)
    while waiting := list(islice(cases, batch)):
        while waiting:
            with _orphans_adopted():
                found, orphans = _in_a_child(waiting, work, seconds, memory)
            yield from zip(waiting, found, strict=False)
            for orphan in orphans:
                yield waiting[len(found) - 1], Found(ORPHAN, orphan)
            waiting = waiting[len(found) :]


def _in_a_child(
    cases: Sequence[Case], work: Callable[[Case], tuple[str, str]], seconds: float, memory: int | None
) -> tuple[list[Found], list[str]]:
    """What came of the first of them, all up to one that ended the child; and what the child left running."""
    before = _children(os.getpid())
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ours)
        with suppress(BaseException):
            _serve(cases, work, memory, os.fdopen(theirs, "w"))
        os._exit(0)
    os.close(theirs)
    found: list[Found] = []
    with os.fdopen(ours, "rb") as answers:
        while len(found) < len(cases):
            # a fork on a busy machine takes a while; the trial's own time is measured by the child
            line = _line(answers, seconds + (5.0 if not found else 0.0))
            if line is None:
                os.kill(child, signal.SIGKILL)
                found.append(Found(HANG, f"no answer within {seconds:.0f} s", seconds))
                break
            if not line.endswith(b"\n"):
                found.append(Found(CRASH))
                break
            one = Found(**json.loads(line))
            over = one.seconds > seconds
            found.append(Found(HANG, f"{one.seconds:.1f} s", one.seconds, one.peak) if over else one)
    _, status = os.waitpid(child, 0)
    if found and found[-1].kind == CRASH:
        about = (
            f"signal {signal.Signals(os.WTERMSIG(status)).name}"
            if os.WIFSIGNALED(status)
            else f"exit {status}"
        )
        found[-1] = Found(CRASH, about)
    return found, _reaped(before)


def _line(file: Any, seconds: float) -> bytes | None:
    """The next line; empty at the end; None where there is none in time."""
    ready, _, _ = select.select([file], [], [], seconds)
    return file.readline() if ready else None


def _serve(
    cases: Sequence[Case], work: Callable[[Case], tuple[str, str]], memory: int | None, answers: Any
) -> None:
    begin = _status("VmRSS")  # of a large process a fork is as large
    if memory is not None:
        most = _status("VmSize") + memory
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libraries write of each oddity of each file
    for case in cases:
        found = _one(case, work, begin)
        answers.write(json.dumps(asdict(found)) + "\n")
        answers.flush()


def _one(case: Case, work: Callable[[Case], tuple[str, str]], begin: int) -> Found:
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins here
    began = time.monotonic()
    try:
        kind, about = work(case)
    except UserError as error:
        kind, about = (
            (TRACEBACK, f"more than a line: {error}") if "\n" in str(error).strip() else (REFUSED, str(error))
        )
    except BaseException as error:
        kind, about = TRACEBACK, "".join(traceback.format_exception(error)[-3:])[-1500:]
    seconds = time.monotonic() - began
    ended = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss << 10
    peak = max(_status("VmHWM"), ended, *(_status("VmHWM", child) + begin for child in _readers())) - begin
    if peak > MEMORY_LIMIT and kind in (RIGHT, REFUSED):
        kind, about = MEMORY, f"{peak >> 20} MiB"
    return Found(kind, about[:2000], seconds, peak)


def _status(name: str, process: int | str = "self") -> int:
    """Of a process, in bytes; 0 where it has ended."""
    with suppress(OSError), open(f"/proc/{process}/status") as lines:
        for line in lines:
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) << 10
    return 0


def _readers() -> list[str]:
    """The processes that this one has started and that are running, where the system lists them."""
    with suppress(OSError):
        own = os.getpid()
        return Path(f"/proc/{own}/task/{own}/children").read_text().split()
    return []


@contextmanager
def _orphans_adopted() -> Iterator[None]:
    """Whose parent ends becomes a child of this process inside, where it can be seen."""
    prctl = ctypes.CDLL(None).prctl
    prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        prctl(_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def _children(parent: int) -> set[int]:
    found = set()
    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            with suppress(OSError, ValueError, IndexError):
                fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
                if int(fields[1]) == parent:
                    found.add(int(entry))
    return found


def _reaped(before: set[int]) -> list[str]:
    """What is still running that was not before: it is given a moment, said, and ended."""
    deadline = time.monotonic() + _ORPHAN_SECONDS
    while True:
        left = []
        for process in _children(os.getpid()) - before:
            with suppress(ChildProcessError):
                if os.waitpid(process, os.WNOHANG)[0] == 0:
                    left.append(process)
        if not left or time.monotonic() > deadline:
            break
        time.sleep(0.02)
    said = []
    for process in left:
        with suppress(OSError):
            said.append(Path(f"/proc/{process}/cmdline").read_text().replace("\0", " ")[:200])
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
    return said
