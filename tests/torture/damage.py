"""Every file of runs, a study and the cache damaged in every way; what every reader then says.

A reader of damaged files may say what it said before, or refuse them in one line and with exit code 2;
another result is a silent difference.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ostinato import seal
from ostinato.runs.folder import Run
from torture.mutations import damaged
from torture.places import Places, command, copied, digest, files_of, large_texts, remove, replaced
from torture.trials import REFUSED, RIGHT, SILENT, TRACEBACK, Found, each

# What is done to a file, beside other bytes: each has a share.
_JOURNAL = "journal.log"
WHOLESALE = ("missing", "empty", "a folder", "a link", "a pipe", "of another run", "exchanged")


@dataclass(frozen=True)
class Damage:
    """One file, what is done to it, and who reads it then; its text is also the seed."""

    place: str
    file: str
    number: int
    reader: str

    def __str__(self) -> str:
        return f"{self.place}/{self.file} {self.number} {self.reader}"


class Bench:
    """Whole places, what every reader says of them, and a folder for damaged copies.

    Args:
        places: whole ones.
        scratch: a folder.
    """

    # Readers of a run on words are all of them; of the others those that differ.
    READERS: ClassVar[dict[str, tuple[str, ...]]] = {
        "words": (
            "library",
            "evaluate",
            "score",
            "generate",
            "rescore",
            "compare",
            "report",
            "diff",
            "check",
            "resume",
        ),
        "music": ("library", "evaluate", "generate", "score", "harmonize", "check", "resume"),
        "series": ("library", "evaluate", "generate", "score", "check", "resume"),
        "study": ("report", "check", "join"),
        "tokens": ("tokens",),
        "scores": ("scores",),
    }

    def __init__(self, places: Places, scratch: Path) -> None:
        self.places, self.scratch = places, scratch
        self.stored = {name: places.whole / name for name in ("words", "music", "series", "study")}
        self.stored["tokens"] = self._tokens()
        self.stored["scores"] = places.root / "scores"
        if not self.stored["scores"].exists():
            self.stored["scores"].mkdir()
            for path in places.cache.glob("scores-*.npz"):
                shutil.copy(path, self.stored["scores"])
        self.files = {name: files_of(folder) for name, folder in self.stored.items()}
        self.expected: dict[tuple[str, str], str] = {}
        with self._folder() as folder:
            for place, readers in self.READERS.items():
                for reader in readers:
                    self._copy(place, folder)
                    kind, said = self._ask(place, reader, folder)
                    if kind != RIGHT:
                        raise AssertionError(f"{reader} of the whole {place}: {kind} {said}")
                    self.expected[place, reader] = said

    def _tokens(self) -> Path:
        """A cache with a text as token files."""
        cache = self.places.root / "tokens"
        if not cache.exists():
            cache.mkdir()
            with self._cache(cache):
                self._load_tokens()
        return cache

    def trial(self, damage: Damage) -> tuple[str, str]:
        """Damage a copy, and ask."""
        with self._folder() as folder:
            self._copy(damage.place, folder)
            how = self._damage(damage, folder / damage.place)
            kind, said = self._ask(damage.place, damage.reader, folder)
            if kind == RIGHT and said != self.expected[damage.place, damage.reader]:
                return SILENT, f"{how}: {said[:600]}"
            return kind, f"{how}: {said}" if kind != RIGHT else ""

    @contextlib.contextmanager
    def _folder(self) -> Iterator[Path]:
        folder = self.scratch / str(os.getpid())
        folder.mkdir(exist_ok=True)
        before = Path.cwd()
        os.chdir(folder)
        try:
            yield folder
        finally:
            os.chdir(before)
            shutil.rmtree(folder, ignore_errors=True)

    def _copy(self, place: str, folder: Path) -> None:
        for entry in list(folder.iterdir()):
            remove(entry)
        copied(self.stored[place], folder / place)
        if place == "words":
            copied(self.places.whole / "other", folder / "other")

    def _damage(self, damage: Damage, folder: Path) -> str:
        draw = random.Random(str(damage))
        path = folder / damage.file
        if damage.number % 3:
            # more lines in a study's journal are what other workers write
            seed = str(damage)
            how, data = damaged(path.read_bytes(), seed)
            while how == "longer" and path.name == "journal.log":
                seed += "+"
                how, data = damaged(path.read_bytes(), seed)
            path.write_bytes(data)
            return how
        how = draw.choice(WHOLESALE)
        data = path.read_bytes()
        path.unlink()
        match how:
            case "empty":
                path.write_bytes(b"")
            case "a folder":
                path.mkdir()
            case "a link":
                target = folder.parent / "elsewhere"
                target.write_bytes(data)
                path.symlink_to(target)
            case "a pipe":
                os.mkfifo(path)
            case "of another run":
                other = self.places.whole / "other" / damage.file
                if other.is_file():
                    shutil.copy(other, path)
            case "exchanged":
                files = [name for name in self.files[damage.place] if name != damage.file]
                if files:
                    other = folder / draw.choice(files)
                    path.write_bytes(other.read_bytes())
                    other.write_bytes(data)
                    how = f"exchanged with {other.name}"
        return how

    # Readers

    def _ask(self, place: str, reader: str, folder: Path) -> tuple[str, str]:
        """What it says, where it says anything."""
        return getattr(self, f"_read_{reader}")(place, folder)

    def _read_library(self, place: str, folder: Path) -> tuple[str, str]:
        seal._TOLD.clear()
        with seal.telling(lambda _: None):
            run = Run.open(folder / place)
            found: list[Any] = [run.config(), run.metrics()]
            found += [run.load_checkpoint(name) for name in ("best", "last") if run.has_checkpoint(name)]
            found += [run.read_json(name) for name in ("results.json", "vocabulary.json") if run.holds(name)]
            found += [seal.read(run.folder, "learning_curve.png")] if run.holds("learning_curve.png") else []
        return RIGHT, digest(found)

    def _read_evaluate(self, place: str, folder: Path) -> tuple[str, str]:
        return _said(*command("evaluate", place, "--json"))

    def _read_score(self, place: str, folder: Path) -> tuple[str, str]:
        given = {"words": "sentences.txt", "music": "songs/song1.mid", "series": "series.csv"}[place]
        return _said(*command("score", place, self.places.given / given, "--json"))

    def _read_generate(self, place: str, folder: Path) -> tuple[str, str]:
        if place == "words":
            return _said(*command("generate", place, "--seed", 1, "--json"))
        out = folder / {"music": "made.mid", "series": "made.csv"}[place]
        kind, said = _said(*command("generate", place, "--seed", 1, "--out", out.name))
        return kind, said + (digest(out.read_bytes()) if kind == RIGHT else "")

    def _read_harmonize(self, place: str, folder: Path) -> tuple[str, str]:
        out = folder / "made.mid"
        kind, said = _said(
            *command("harmonize", place, self.places.given / "songs/song1.mid", "--out", out.name)
        )
        return kind, said + (digest(out.read_bytes()) if kind == RIGHT else "")

    def _read_rescore(self, place: str, folder: Path) -> tuple[str, str]:
        return _said(*command("rescore", place, self.places.given / "nbest.txt"))

    def _read_compare(self, place: str, folder: Path) -> tuple[str, str]:
        return _said(*command("compare", place, "other"))

    def _read_diff(self, place: str, folder: Path) -> tuple[str, str]:
        return _said(*command("runs", "diff", place, "other"))

    def _read_report(self, place: str, folder: Path) -> tuple[str, str]:
        code, out, err = command("report", place, "--out", "page.html")
        kind, said = _said(code, out, err)
        if kind != RIGHT:
            return kind, said
        journal = _journal(folder / place) if place == "study" else b""
        if place == "study" and not journal.startswith(_journal(self.stored[place])) and _JOURNAL not in err:
            return SILENT, "nothing is said of the journal"
        return kind, digest(_MADE.sub("", (folder / "page.html").read_text()))

    def _read_check(self, place: str, folder: Path) -> tuple[str, str]:
        """What is damaged has to be seen; where nothing is lost, all is as it was."""
        before = _bytes(folder / place)
        code, out, err = command("check", place, "--json")
        if code not in (0, 1) or code == 1:
            return (REFUSED, out) if code == 1 and not json.loads(out)["whole"] else _said(code, out, err)
        whole = all(one["state"] == "whole" for one in json.loads(out)["files"])
        if whole and before != _bytes(self.stored[place]) and not self._grew(place, before):
            return SILENT, "check finds nothing wrong"
        if place == "study":
            return self._read_report(place, folder)
        kind, said = self._read_evaluate(place, folder)
        return (SILENT, f"refused after check: {said}") if kind == REFUSED else (kind, said)

    def _grew(self, place: str, found: dict[str, bytes]) -> bool:
        """Whether nothing but a file that may grow is longer than it was."""
        whole = _bytes(self.stored[place])
        other = [name for name in whole if found.get(name) != whole[name]]
        return all(
            name.endswith((".jsonl", "journal.log")) and found.get(name, b"").startswith(whole[name])
            for name in other
        )

    def _read_resume(self, place: str, folder: Path) -> tuple[str, str]:
        kind, said = _said(*command("train", "--resume", place, "--epochs", 3, "--quiet", "--json"))
        if kind != RIGHT:
            return kind, said
        return kind, outcome(folder / place)

    def _read_join(self, place: str, folder: Path) -> tuple[str, str]:
        kind, said = _said(*command("search", "--join", place, "--json"))
        return kind, said if kind != RIGHT else digest(without_times(json.loads(said)))

    def _read_tokens(self, place: str, folder: Path) -> tuple[str, str]:
        with self._cache(folder / place), seal.telling(lambda _: None):
            return RIGHT, self._load_tokens()

    def _load_tokens(self) -> str:
        from ostinato.domains.text.reading import data_sets

        with large_texts():
            data = data_sets.load(str(self.places.given / "text.txt"))
        return digest(
            [data.version, data.vocabulary.tokens, data.vocabulary.counts, data.train, data.valid, data.test]
        )

    def _read_scores(self, place: str, folder: Path) -> tuple[str, str]:
        from ostinato.domains.music.reading import cache
        from ostinato.domains.music.reading.readers import read_one
        from ostinato.domains.music.reading.stored import pack

        def here(paths: list[Path], playing: Any, tick: Callable[[int, Any], None]) -> list[Any]:
            return [read_one(path, playing) for path in paths]  # a worker's start would take a second

        songs = sorted((self.places.given / "songs").iterdir())
        with (
            self._cache(folder / place),
            seal.telling(lambda _: None),
            replaced("ostinato.domains.music.reading.cache", "read_all", here),
        ):
            return RIGHT, digest([pack(reading) for reading in cache.read_files(songs, progress=False)])

    @contextlib.contextmanager
    def _cache(self, folder: Path) -> Iterator[None]:
        before = os.environ["OSTINATO_CACHE"]
        os.environ["OSTINATO_CACHE"] = str(folder)
        try:
            yield
        finally:
            os.environ["OSTINATO_CACHE"] = before


def outcome(run: Path) -> str:
    """What a training came to: its weights, state, metrics and scores, to the bit, without times."""
    with seal.telling(lambda _: None):
        opened = Run.open(run)
        kept = [opened.load_checkpoint(name) for name in ("best", "last")]
        results = opened.read_json("results.json")
        found = [(tensors, without_times(state)) for tensors, state in kept]
        return digest([found, without_times(opened.metrics()), without_times(results)])


# A metrics line has the seconds that an epoch took, and so a length of its own.
_TIMES = {"seconds", "time", "date", "started", "ended", "run", "study", "folder", "environments", "offset"}
_MADE = re.compile("Made [^<]*UTC")


def without_times(value: Any) -> Any:
    """What is the same whenever and wherever it was made."""
    if isinstance(value, dict):
        return {
            k: without_times(v) for k, v in value.items() if not any(t in str(k).split("_") for t in _TIMES)
        }
    return [without_times(item) for item in value] if isinstance(value, list) else value


def _said(code: int, out: str, err: str) -> tuple[str, str]:
    """How a command ended."""
    own = [line for line in err.splitlines() if line.startswith("ostinato: ")]
    if "Traceback" in err or "an error of ostinato's own" in err:
        return TRACEBACK, err[-1500:]
    if code == 0:
        return RIGHT, out
    if code == 2 and len(own) == 1 and not out.strip():
        return REFUSED, own[0]
    return TRACEBACK, f"exit code {code}, expected one line and 2: {out[-300:]} {err[-600:]}"


def _journal(study: Path) -> bytes:
    path = study / _JOURNAL
    return path.read_bytes() if path.is_file() and not path.is_symlink() else b""


def _bytes(folder: Path) -> dict[str, bytes]:
    found = {}
    for name in files_of(folder):
        with contextlib.suppress(OSError):
            found[name] = (folder / name).read_bytes()
    return found


def damages(bench: Bench, count: int) -> Iterator[Damage]:
    """So many, over all files and readers in turn; the cheap reader has most of them."""
    made = 0
    for number in range(count):
        for place, readers in Bench.READERS.items():
            for file in bench.files[place]:
                # eight of ten of a run are the library's
                index = number % 10 if readers[0] == "library" else 9
                reader = readers[0] if index < 8 else readers[(number // 10 * 2 + index) % len(readers)]
                yield Damage(place, file, number, reader)
                made += 1
                if made == count:
                    return


def run(bench: Bench, count: int) -> Iterator[tuple[Damage, Found]]:
    """What came of so many."""
    return each(damages(bench, count), bench.trial)
