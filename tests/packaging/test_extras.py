"""The core does without what only some commands need, and a command says which extra it is missing.

Each check runs in a clean environment, of two kinds. `here` is this environment, in which a finder on
Python's path refuses every distribution that the core and the extras in question do not bring, by the
requirements in pyproject.toml and the metadata of what is installed: no list of libraries is kept by hand,
and it takes seconds. `installed` is a virtual environment into which pip installs a wheel of the package
with these extras, which takes a minute and the package index: it is slow, and skipped where there is no
index. Only PyTorch is not installed anew, but linked: it is hundreds of megabytes that no extra changes.
"""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import clean_environments as clean
from imports_of_extras import libraries
from ostinato.cli.main import LINES
from ostinato.domains.music.writing.piano_roll import to_midi

QUICK = "--hidden-size 8 --epochs 1 --threads 1 --quiet"
TRAIN_WORDS = f"train words --data words.txt --classes 3 --streams 2 {QUICK}"
TRAIN_SERIES = f"train series --data sensors.csv {QUICK}"
TRAIN_MUSIC = f"train --data songs {QUICK}"

# What works with the core alone.
HELP = [f"{name} --help" for name in ["", *LINES, "data list", "data fetch", "data show", "runs remove"]]
CORE = [
    "--version", "doctor", "data list", "data show words.txt", "data show sensors.csv", "data fetch lorenz",
    f"{TRAIN_WORDS} --run runs/NEW-words", f"{TRAIN_SERIES} --run runs/NEW-series",
    f"train delays --length 10 --epoch-sequences 20 --run runs/NEW-delays {QUICK}",
    f"{TRAIN_WORDS} --dry-run", "evaluate runs/words", "evaluate runs/series",
    "evaluate --baselines --data sensors.csv",
    "generate runs/words --prime the", "score runs/words words.txt", "rescore runs/words nbest.txt",
    "generate runs/series --prime sensors.csv --out NEW.csv --samples 20",
    "score runs/series sensors.csv --out NEW-surprise.csv", "generate runs/music --steps 4 --out NEW.wav",
    f"{TRAIN_MUSIC} --run runs/NEW-songs", "data show songs", "score runs/music song.mid",
    "harmonize runs/music song.mid --out NEW-mid.wav", "harmonize runs/music tune.abc --out NEW-abc.wav",
    "compare runs/words runs/words", "runs", "runs diff runs/words runs/series", "completion bash",
]  # fmt: skip
# An extra, beside which it is missing, and what says so: a library of it, and a command.
MISSING = {
    "music": ((), {
        f"train {QUICK}": "music21",
        "data fetch bach": "music21",
        "generate runs/music --out a.musicxml": "music21",
        "generate runs/music --out a.png": "matplotlib",
    }),
    "series": ((), {
        "generate runs/series --prime sensors.csv": "matplotlib",
        "score runs/series sensors.csv --out a.png": "matplotlib",
        "data show sensors.csv --out a.png": "matplotlib",
    }),
    "search": ((), {
        "search words --data words.txt --classes 3": "optuna",
        "search --join studies/drawn": "optuna",
    }),
    "report": ((), {"report runs/words": "plotly"}),
    "download": ((), {"train words --data ptb": "pooch", "data fetch jsb": "pooch"}),
    "postgres": (("search",), {
        "search words --data words.txt --classes 3 --storage postgresql://me@127.0.0.1:9/none": "psycopg",
    }),
    "text": ((), {
        f"{TRAIN_WORDS} --unit subwords --run runs/NEW-parts": "sentencepiece",
        "rescore runs/words nbest.txt --tune references.txt": "rapidfuzz",
    }),
    "tensorboard": ((), {f"{TRAIN_WORDS} --tensorboard --run runs/NEW-board": "tensorboard"}),
    "onnx": ((), {"export runs/words NEW.onnx": "onnx"}),
}  # fmt: skip
NO_CURVE = (
    "no learning_curve.png: the extra [pictures] is missing (matplotlib); pip install 'ostinato[pictures]'"
)
SEARCH = "search words --data words.txt --classes 3 --streams 2 --hidden-size 8 --epochs 1 --quiet"
# What an extra makes work.
WORKS = {
    "music": [
        f"{TRAIN_MUSIC} --run runs/NEW-music",
        "evaluate runs/music",
        "data show songs --out NEW-songs.png",
        "generate runs/music --steps 4 --out NEW.mid --out NEW-roll.svg",
        "score runs/music song.mid --out NEW-heat.png",
        "harmonize runs/music tune.abc --particles 5 --out NEW-voices.mid",
    ],
    "series": [
        f"{TRAIN_SERIES} --run runs/NEW-pictured", "data show sensors.csv --out NEW-sensors.png",
        "generate runs/series --prime sensors.csv --samples 20 --out NEW-next.png",
    ],
    "search": [f"{SEARCH} --trials 2 --sampler tpe --study studies/NEW"],
    "report": ["report runs/words runs/music studies/drawn --out NEW.html --samples 1"],
    "pictures": [f"{TRAIN_WORDS} --run runs/NEW-curve"],
    "download": [],
    "postgres": [],
    "text": [
        f"{TRAIN_WORDS} --unit subwords --run runs/NEW-pieces", "generate runs/NEW-pieces --tokens 5",
        "rescore runs/words nbest.txt --tune references.txt",
    ],
    "tensorboard": [f"{TRAIN_WORDS} --tensorboard --run runs/NEW-events"],
    "onnx": ["export runs/words NEW-step.onnx"],
}  # fmt: skip
FILES = {
    "pictures": ["runs/NEW-curve/learning_curve.png"],
    "music": ["runs/NEW-music/learning_curve.png", "NEW.mid"],
    "tensorboard": ["runs/NEW-events/tensorboard"],
    "onnx": ["NEW-step.onnx"],
}

# Which of the modules that are named cannot be imported, and why.
IMPORT_ALL = """
import importlib, json, sys

found = {}
for (name,) in json.load(sys.stdin):
    try:
        importlib.import_module(name)
    except ImportError as error:
        found[name] = str(error)
print(json.dumps(found))
"""
# What library calls raise: the message, and what it is caught as.
CATCH = """
import json
from pathlib import Path
from ostinato.domains.music.reading.data_sets import load
from ostinato.errors import UserError
from ostinato.report.curves import learning_curve
from ostinato.report.page import compose, render
from ostinato.search import join_study

found = []
for call in (
{}
):
    try:
        call()
    except UserError as error:
        found.append([str(error), [c.__name__ for c in (UserError, ImportError) if isinstance(error, c)]])
print(json.dumps(found))
"""
LIBRARY_CALLS = {
    "pictures": ("matplotlib", "lambda: learning_curve([], Path('a.png'), title=''),"),
    "search": ("optuna", "lambda: join_study('studies/drawn'),"),
    "report": ("plotly", "lambda: render(compose([])),"),
    "music": ("music21", "lambda: load('bach'),"),
}
# Measured by benchmarks/installed_size.py's rules on the last version without extras; with bytecode, which
# the environments here do not have.
BEFORE = {"packages": 50, "megabytes": 603}


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A working folder with files of each kind, and a run on each."""
    folder = tmp_path_factory.mktemp("place")
    rng = np.random.default_rng(0)
    words = ["the", "cat", "dog", "sat", "ran", "on", "a", "mat"]
    lines = [" ".join(rng.choice(words, 6)) for _ in range(300)]
    (folder / "words.txt").write_text("\n".join(lines) + "\n")
    nbest = (f"{k}\t-10.0\tthe cat sat\n{k}\t-11.0\tthe dog ran\n" for k in range(6))
    (folder / "nbest.txt").write_text("".join(nbest))
    (folder / "references.txt").write_text("".join(f"{k} the dog ran\n" for k in range(6)))
    (folder / "tune.abc").write_text("X:1\nL:1/4\nK:C\nCDEF|GABc|]\n")
    walk = np.cumsum(rng.standard_normal(300))
    (folder / "sensors.csv").write_text("x\n" + "\n".join(f"{value:.4f}" for value in walk) + "\n")
    (folder / "songs").mkdir()
    for k in range(6):
        roll = np.zeros((40, 88), np.uint8)
        roll[np.arange(40), rng.integers(30, 60, 40)] = 1
        to_midi(roll, folder / "songs" / f"{k}.mid")
    to_midi(roll, folder / "song.mid")
    commands = [f"{TRAIN_WORDS} --run runs/words", f"{TRAIN_SERIES} --run runs/series"]
    commands += [f"{TRAIN_MUSIC} --run runs/music", f"{SEARCH} --study studies/drawn --trials 13"]
    for command, (code, _, err) in zip(commands, clean.everything().run(folder, commands), strict=True):
        assert code == 0, (command, err)
    return folder


@pytest.fixture(scope="session")
def installing(tmp_path_factory):
    probe = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--dry-run",
        "--ignore-installed",
        "--no-deps",
        "--quiet",
    ]
    if subprocess.run([*probe, "tomli-w"], capture_output=True, check=False).returncode:
        pytest.skip("the package index cannot be reached")
    return clean.Installing(tmp_path_factory.mktemp("environments"))


@pytest.fixture(params=["here", pytest.param("installed", marks=pytest.mark.long)])
def environment(request, tmp_path):
    """environment(*extras): a Python that has the core and these extras."""
    if request.param == "installed":
        return request.getfixturevalue("installing")
    return lambda *extras: clean.refusing(tmp_path / "-".join(extras), *extras)


@pytest.fixture
def in_it(environment, place, request):
    """in_it(extras, commands): what each command came to there; NEW in one is a name of the test's own."""
    new = re.sub(r"\W", "-", request.node.name)

    def run(extras, commands):
        return environment(*extras).run(place, [command.replace("NEW", new) for command in commands])

    return run


def test_the_core_needs_no_extra(in_it):
    commands = HELP + CORE
    for command, (code, _, err) in zip(commands, in_it((), commands), strict=True):
        trains = command.startswith("train") and not command.endswith(("--help", "--dry-run"))
        assert (code, NO_CURVE in err.splitlines()) == (0, trains), (command, err)
        assert "Traceback" not in err


@pytest.mark.parametrize("extra", MISSING)
def test_a_command_says_which_extra_is_missing(in_it, extra):
    beside, commands = MISSING[extra]
    for (command, library), found in zip(commands.items(), in_it(beside, commands), strict=True):
        message = f"ostinato: the extra [{extra}] is missing ({library}); pip install 'ostinato[{extra}]'\n"
        assert found == [2, "", message], command


@pytest.mark.parametrize("extra", WORKS)
def test_an_extra_makes_its_commands_work(in_it, environment, place, extra, request):
    missing = clean.INSTALLED_SIZE.brought([f"ostinato[{extra}]"]) - clean.installed()
    if missing and "here" in request.node.name:
        pytest.skip(f"not installed here: {', '.join(sorted(missing))}")
    commands = [*WORKS[extra], "data list"]
    for command, (code, _, err) in zip(commands, in_it((extra,), commands), strict=True):
        assert (code, "Traceback" in err) == (0, False), (command, err)
    new = re.sub(r"\W", "-", request.node.name)
    for name in FILES.get(extra, ()):
        assert (place / name.replace("NEW", new)).exists(), name
    # all that is imported as a part of it, also where no command comes by
    assert environment(extra).run(place, libraries()[extra], IMPORT_ALL) == {}


def test_library_calls_say_it_too(environment, place):
    calls = [f"    {call}" for _, call in LIBRARY_CALLS.values()]
    found = environment().run(place, [], CATCH.format("\n".join(calls)))
    for (extra, (library, _)), (message, kinds) in zip(LIBRARY_CALLS.items(), found, strict=True):
        assert message == f"the extra [{extra}] is missing ({library}); pip install 'ostinato[{extra}]'"
        assert kinds == ["UserError", "ImportError"]


@pytest.mark.long
def test_the_core_is_small(installing):
    """A third of what 0.1.0 brought before it had extras, beside PyTorch and what that brings."""
    sizes = installing.sizes[()]
    assert len(sizes) <= BEFORE["packages"] / 3, sorted(sizes)
    assert sum(sizes.values()) <= BEFORE["megabytes"] / 3, sizes
