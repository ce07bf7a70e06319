"""Kills at every call by which training, searches and the cache write, and what a power cut takes besides.

A process does the work on a disk (disk.c) that ends it before, or in the middle of, the n-th such call. A
power cut takes what had not been brought to the disk: the content of files without fsync, and then also new
names and renames without an fsync of their folder. (That a folder itself may be lost is not tried.) Then the
same command has to go on, and end with the weights, states and results of undisturbed work, to the bit.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ostinato import seal
from ostinato.errors import UserError
from ostinato.runs.folder import Run
from torture import places
from torture.damage import outcome, without_times
from torture.places import Places, command, digest, large_texts, needed
from torture.trials import LOST, RIGHT, SILENT, TRACEBACK, Found, each

_SOURCE = Path(__file__).parent / "disk.c"
VARIABLE = "OSTINATO_TORTURE_DISK"

# What is lost with the process: nothing; unsynced content; unsynced names too. And a write half done.
LOSSES = ("nothing", "content", "names", "nothing, half a write", "content, half a write")


@dataclass(frozen=True)
class Kill:
    """A kill before a call of some work, and what is lost."""

    work: str
    call: int
    loss: str

    def __str__(self) -> str:
        return f"{self.work} at call {self.call}, losing {self.loss}"


def compiled(folder: Path) -> Path:
    """The disk as a library.

    Raises:
        RuntimeError: there is no compiler.
    """
    compiler, made = shutil.which(os.environ.get("CC", "cc")), folder / "disk.so"
    if compiler is None or sys.platform != "linux":
        raise RuntimeError("needs a C compiler, on Linux")
    options = ("-O1", "-Wall", "-Werror", "-shared", "-fPIC")
    subprocess.run([compiler, *options, "-o", str(made), str(_SOURCE), "-ldl"], check=True)
    return made


def with_disk(library: Path) -> dict[str, str]:
    """The environment of a process on this disk: it has to be there from the beginning."""
    return {**os.environ, "LD_PRELOAD": str(library), VARIABLE: str(library)}


def has_disk() -> bool:
    """Whether this process is on it."""
    return VARIABLE in os.environ


class Disk:
    """The loaded library's functions."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(os.environ[VARIABLE])
        self._library.disk_calls.restype = ctypes.c_long
        self._library.disk_arm.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_long, ctypes.c_int)

    def arm(self, folder: Path, shadow: Path, call: int, half: bool) -> None:
        """From here on: count, and end the process."""
        self._library.disk_arm(os.fsencode(folder.resolve()), os.fsencode(shadow.resolve()), call, int(half))

    def calls(self) -> int:
        """Since then."""
        return int(self._library.disk_calls())


@dataclass(frozen=True)
class Work:
    """Something that writes, and goes on when it is done again.

    Args:
        do: it, in the current folder.
        result: what it came to, as a digest.
        prepare: what has to be there before, which is whole.
    """

    do: Callable[[], None]
    result: Callable[[], str]
    prepare: Callable[[], None] = lambda: None


class Workshop:
    """All works; how many calls each has, and what it comes to when nothing disturbs it.

    Args:
        whole: whole places, for what is gone on with.
        scratch: a folder.
        names: of the works; all by default.
    """

    def __init__(self, whole: Places, scratch: Path, names: tuple[str, ...] = ()) -> None:
        self.places, self.scratch, self.disk = whole, scratch, Disk()
        self.works = {
            "a run's folder": Work(_folder, _folder_result),
            "training words": self._training("words"),
            "training music": self._training("music"),
            "training series": self._training("series"),
            "more epochs": Work(
                lambda: needed("train", "--resume", "words", "--epochs", 3, "--quiet"),
                lambda: outcome(Path("words")),
                lambda: places.copied(whole.whole / "words", Path("words")),
            ),
            "a search": Work(lambda: needed(*places.searching(whole.given, "study")), _study_result),
            "a cache of tokens": Work(self._tokens, self._tokens_again),
            "a cache of scores": Work(_scores, _scores_again),
        }
        if names:
            self.works = {name: self.works[name] for name in names}
        self.calls, self.expected = {}, {}
        for name in self.works:
            self.calls[name], self.expected[name] = self._undisturbed(name)

    def _training(self, kind: str) -> Work:
        def do() -> None:
            if Path("run/config.toml").exists():
                needed("train", "--resume", "run", "--quiet")
            else:
                needed(*places.training(kind, self.places.given, "run"))

        return Work(do, lambda: outcome(Path("run")))

    def _tokens(self) -> None:
        from ostinato.domains.text.reading import data_sets

        with _cache_here(), large_texts(), seal.telling(lambda _: None):
            data_sets.load(str(self.places.given / "text.txt"))

    def _tokens_again(self) -> str:
        from ostinato.domains.text.reading import data_sets

        with _cache_here(), large_texts(), seal.telling(lambda _: None):
            data = data_sets.load(str(self.places.given / "text.txt"))
        return digest([data.version, data.vocabulary.tokens, data.train, data.valid, data.test])

    def _undisturbed(self, name: str) -> tuple[int, str]:
        with self._folder() as (folder, shadow):
            self.works[name].prepare()
            ours, theirs = os.pipe()
            child = os.fork()
            if child == 0:
                self.disk.arm(folder, shadow, -1, False)
                with contextlib.suppress(BaseException):
                    self.works[name].do()
                    os.write(theirs, str(self.disk.calls()).encode())
                os._exit(0)
            os.close(theirs)
            with os.fdopen(ours) as answer:
                said = answer.read()
            os.waitpid(child, 0)
            if not said:
                self.works[name].do()  # says why
                raise AssertionError(name)
            return int(said), self.works[name].result()

    def trial(self, case: Kill) -> tuple[str, str]:
        """Work that is killed, and then gone on with."""
        work = self.works[case.work]
        with self._folder() as (folder, shadow):
            work.prepare()
            synced = {path for path in folder.rglob("*") if path.is_file()}
            for path in synced:
                shutil.copy(path, shadow / str(path.stat().st_ino))
            child = os.fork()
            if child == 0:
                self.disk.arm(folder, shadow, case.call, "half" in case.loss)
                with contextlib.suppress(BaseException):
                    work.do()
                os._exit(0)
            _, status = os.waitpid(child, 0)
            if not os.WIFSIGNALED(status) or os.WTERMSIG(status) != signal.SIGKILL:
                return TRACEBACK, f"expected a kill, the work ended with {status}"
            lose(folder, shadow, case.loss)
            try:
                work.do()
                found = work.result()
            except (AssertionError, UserError) as error:
                return LOST, str(error)[-600:]
            return (RIGHT, "") if found == self.expected[case.work] else (SILENT, "another result")

    @contextlib.contextmanager
    def _folder(self) -> Iterator[tuple[Path, Path]]:
        own = self.scratch / f"kill{os.getpid()}"
        shutil.rmtree(own, ignore_errors=True)
        folder, shadow = own / "work", own / "shadow"
        folder.mkdir(parents=True)
        shadow.mkdir()
        with contextlib.chdir(folder):
            yield folder, shadow
        shutil.rmtree(own, ignore_errors=True)


def lose(folder: Path, shadow: Path, loss: str) -> None:
    """Take away from a folder what a power cut may take."""
    if loss.startswith("nothing"):
        return
    if loss == "names":
        _lose_names(shadow)
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            kept = shadow / str(path.stat().st_ino)
            data = kept.read_bytes() if kept.exists() else b""
            if path.read_bytes() != data:
                path.write_bytes(data)


def _lose_names(shadow: Path) -> None:
    """Undo, from the last on, what was made and renamed after its folder's last fsync."""
    log = shadow / "log"
    lines = [line.split("\t") for line in log.read_text().splitlines()] if log.exists() else []
    synced: set[str] = set()
    for kind, *rest in reversed(lines):
        if kind == "folder":
            synced.add(rest[0])
        elif str(Path(rest[-1]).parent) not in synced:
            there = Path(rest[-1])
            if kind == "create":
                there.unlink(missing_ok=True)
            elif there.exists():
                os.rename(there, rest[1])
                if rest[0]:
                    os.rename(rest[0], there)


@contextlib.contextmanager
def _cache_here() -> Iterator[None]:
    before = os.environ.get("OSTINATO_CACHE", "")
    os.environ["OSTINATO_CACHE"] = str(Path.cwd() / "cache")
    try:
        yield
    finally:
        os.environ["OSTINATO_CACHE"] = before


def _folder() -> None:
    """What a training of three epochs writes, by the classes that training writes with; no training."""
    folder = Path("run")
    there = (folder / "config.toml").exists()
    with Run.open(folder) if there else Run.create(folder, {"data": "jsb"}) as run:
        begin = 0
        if run.has_checkpoint("last"):
            _, state = run.load_checkpoint("last")
            begin = state["epoch"]
            run.truncate_metrics(state["metrics"])
        else:
            run.check_not_begun()
            run.truncate_metrics(0)
            run.write_text("vocabulary.json", '{"tokens": ["cat"]}')
            run.save_checkpoint("last", {"a": torch.zeros(3)}, {"epoch": 0, "metrics": 0})
        for epoch in range(begin + 1, 4):
            run.append_metrics({"epoch": epoch, "valid": -1.0 / epoch})
            state = {"epoch": epoch, "metrics": run.metrics_offset()}
            for name in ("best", "last"):
                run.save_checkpoint(name, {"a": torch.full((3,), float(epoch))}, state)
        run.write_text("results.json", '{"test": -8.5}')
        run.write_bytes("learning_curve.png", b"\x89PNG")


def _folder_result() -> str:
    run = Run.open("run")
    kept: list[Any] = [run.load_checkpoint(name) for name in ("best", "last")]
    whole = all(seal.examine(run.folder).values())
    return digest([run.config(), run.metrics(), kept, run.read_json("results.json"), whole])


def _study_result() -> str:
    import json

    code, out, err = command("search", "--join", "study", "--json")
    if code:
        raise AssertionError(err)
    return digest([without_times(json.loads(out)), outcome(Path("study/trials/0000"))])


def _scores() -> None:
    import numpy as np

    from ostinato.data import cache

    with _cache_here():
        for number in range(3):
            cache.save(f"scores-{number}", {"a": np.full(50, number)}, {"number": number})


def _scores_again() -> str:
    """What was kept, or what is made again where nothing was."""
    import numpy as np

    from ostinato.data import cache

    found = []
    with _cache_here(), seal.telling(lambda _: None):
        for number in range(3):
            found.append(cache.load(f"scores-{number}") or ({"a": np.full(50, number)}, {"number": number}))
    return digest(found)


def cases(shop: Workshop, count: int) -> Iterator[Kill]:
    """So many: of every work its share of all calls with all losses, spread where there are more of them."""
    every = [
        [Kill(name, call, loss) for call in range(calls) for loss in LOSSES]
        for name, calls in shop.calls.items()
    ]
    share = max(1, count // len(every))
    for own in every:
        step = max(1, -(-len(own) // share))
        # another loss for each call, where not all are tried
        yield from (own[n] for n in range(0, len(own), step + (step > 1 and step % len(LOSSES) == 0)))


def run(shop: Workshop, count: int) -> Iterator[tuple[Kill, Found]]:
    """What came of so many."""
    return each(cases(shop, count), shop.trial, seconds=60.0, memory=None, batch=50)
