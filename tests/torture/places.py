"""Small runs, a study and a cache, made as users make them; and the command line in this process."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import random
import shutil
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ostinato import seal
from ostinato.cli.main import run as run_command

WORDS = ["the", "cat", "dog", "sat", "on", "a", "mat", "and", "ran", "to", "red", "house", "big"]
_SPACE = "[search]\nhidden_size = {low = 3, high = 5}\n"


@dataclass(frozen=True)
class Places:
    """Where what is tortured lies, and what it was made from.

    Args:
        root: of all of it. `whole` in it holds the runs `words`, `other`, `music` and `series` and the study
            `study`; `cache` is the cache; `given` holds data and inputs.
    """

    root: Path

    @property
    def whole(self) -> Path:
        return self.root / "whole"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def given(self) -> Path:
        return self.root / "given"


def command(*arguments: object) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of the command line."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
        warnings.simplefilter("error")
        seal._TOLD.clear()
        try:
            code = run_command([str(argument) for argument in arguments])
        except SystemExit as stopped:
            code = int(stopped.code or 0)
    return code, out.getvalue(), err.getvalue()


def needed(*arguments: object) -> str:
    """The output of a command that has to succeed."""
    code, out, err = command(*arguments)
    if code:
        raise AssertionError(f"ostinato {' '.join(map(str, arguments))} ended with {code}: {err}")
    return out


def training(kind: str, given: Path, run: str, epochs: int = 2) -> list[str]:
    """The arguments of a small training."""
    data = {"words": "text.txt", "music": "songs", "series": "series.csv"}[kind]
    rule = ["--learning-rate-rule", "constant"] if kind == "series" else []  # so that more epochs may follow
    size = ["--hidden-size", "4", "--epochs", str(epochs), "--checkpoint-seconds", "0", *rule]
    return ["train", kind, "--data", str(given / data), "--run", run, "--quiet", *size]


def searching(given: Path, study: str) -> list[str]:
    """The arguments of a small search."""
    data = ["--data", str(given / "text.txt"), "--space", str(given / "space.toml")]
    return ["search", "words", *data, "--recipe", "SGD+C", "--epochs", "1", "--trials", "2", "--study", study]


def make(root: Path) -> Places:
    """All of them, in an empty folder; what is in the cache was put there by making them."""
    places = Places(root)
    for folder in (places.whole, places.cache, places.given):
        folder.mkdir(parents=True)
    os.environ["OSTINATO_CACHE"] = str(places.cache)
    torch.set_num_threads(1)
    make_inputs(places.given)
    with contextlib.chdir(places.whole):
        for kind, run in (("words", "words"), ("words", "other"), ("music", "music"), ("series", "series")):
            seed = ["--seed", "1"] if run == "other" else []
            needed(*training(kind, places.given, run), *seed)
        needed(*searching(places.given, "study"))
    return places


def make_inputs(given: Path) -> None:
    """Data to train on, and files for the commands that use a run."""
    from ostinato.domains.music.writing import piano_roll

    draw = random.Random(1)
    lines = (" ".join(draw.choice(WORDS) for _ in range(draw.randint(3, 9))) for _ in range(120))
    (given / "text.txt").write_text("\n".join(lines) + "\n")
    (given / "songs").mkdir()
    for seed in range(5):
        rng = np.random.default_rng(seed)
        roll = np.zeros((24, 88), np.uint8)
        for start in range(0, 24, 4):
            roll[start : start + 4, rng.choice(np.arange(30, 60), 3, replace=False)] = 1
        piano_roll.to_midi(roll, given / "songs" / f"song{seed}.mid")
    rng = np.random.default_rng(0)
    rows = "".join(f"{n},{np.sin(n / 3):.4f},{rng.normal():.4f}\n" for n in range(120))
    (given / "series.csv").write_text(f"time,a,b\n{rows}")
    (given / "space.toml").write_text(_SPACE)
    (given / "sentences.txt").write_text("the cat sat\na dog ran\n")
    ends = ("sat", "ran", "dog")
    table = "".join(f"u{n}\t{-1.5 * k}\tthe cat {end}\n" for n in range(3) for k, end in enumerate(ends))
    (given / "nbest.txt").write_text(table)


def large_texts() -> contextlib.AbstractContextManager[None]:
    """Every text is large inside: it goes through token files in the cache."""
    return replaced("ostinato.domains.text.reading.data_sets", "_LARGE", 0)


@contextlib.contextmanager
def replaced(module: str, name: str, value: Any) -> Iterator[None]:
    """Another value of a name in a module inside."""
    import importlib

    there = importlib.import_module(module)
    before = getattr(there, name)
    setattr(there, name, value)
    try:
        yield
    finally:
        setattr(there, name, before)


def digest(value: Any) -> str:
    """Tells values of numbers, text, arrays and tensors in lists and dictionaries apart, to the bit."""
    made = hashlib.sha256()
    _take(value, made)
    return made.hexdigest()


def _take(value: Any, made: Any) -> None:
    if isinstance(value, torch.Tensor):
        value = value.detach().numpy()
    if isinstance(value, np.ndarray):
        made.update(f"{value.dtype.str}{value.shape}".encode())
        made.update(np.ascontiguousarray(value).tobytes())
    elif isinstance(value, dict):
        for key, item in sorted(value.items()):  # safetensors has an order of its own each time
            made.update(f"{key!r}:".encode())
            _take(item, made)
    elif isinstance(value, list | tuple):
        made.update(f"{len(value)}(".encode())
        for item in value:
            _take(item, made)
    else:
        made.update(value if isinstance(value, bytes) else repr(value).encode(errors="backslashreplace"))


def copied(source: Path, target: Path) -> None:
    """A copy of a folder in place of what is there."""
    if target.is_symlink() or target.exists():
        remove(target)
    shutil.copytree(source, target, symlinks=True)


def remove(path: Path) -> None:
    """Whatever it is."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def files_of(folder: Path) -> list[str]:
    """Of ostinato's, but for locks."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".lock"))
    return sorted(str(path.relative_to(folder)) for path in files)
