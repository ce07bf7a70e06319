"""Results that are kept: what somebody has changed in them is a line, wherever they are read."""

import json
import math
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ostinato.cli.main import run as main
from ostinato.errors import UserError
from ostinato.reproduce.cells import Cell
from ostinato.reproduce.document import plan_text
from ostinato.reproduce.evidence import Evidence
from ostinato.reproduce.kept import read_record, write_record
from ostinato.reproduce.protocol import Protocol
from ostinato.reproduce.table import cells_of, rows_of
from ostinato.shapes import mapping

CELL = Cell("table1", "RNN (SGD)", "jsb")
ROOT = Path(__file__).resolve().parents[2]
WRONG = [None, "x", -1, [], {}, True, math.nan, 1e308, 10**400, [1], {"a": 1}]


def score(value: float) -> dict:
    fixed = {"unit": "nats/frame", "convention": "pooled", "count": 9, "songs": 3, "standard_error": 0.1}
    return {"value": value, **fixed, "estimate": False, "sampling_error": None, "interval": None}


def seed() -> dict:
    splits = {name: {"log_likelihood": score(-9.0)} for name in ("train", "valid", "test")}
    splits["test"]["accuracy_per_frame"] = score(25.0)
    return {
        "overlap": {"how": "seen", "share": 0.1, "scores": {"seen": score(-8.0), "unseen": score(-9.5)}},
        "recipe": CELL.recipe().to_dict(),
        "results": {"model": splits, "1-gram": {"test": {"log_likelihood": score(-11.0)}}},
        "training": {"epochs": 3, "seconds": 1.0, "environment": {"torch": "2"}},
        "data": "0123",
        "test_totals": {"of": "songs", "ordered": False, "log_prob": [-9.0, -9.1], "counts": [1, 1]},
        "cpu_seconds": 3.5,
    }


def tuning() -> dict:
    curve = {"value": -9.0, "curve": [-9.5, None, -9.0]}
    trial = {"number": 0, "state": "complete", **curve, "averaged": curve, "params": {}, "epochs": 3}
    chosen = {
        name: {"plain": at, "averaged": at} for name, at in (("chosen", {}), ("number", 0), ("valid", -9.0))
    }
    return {"trials": [trial | {"cpu_seconds": 1.0}], **chosen}


@pytest.fixture
def evidence(tmp_path):
    made = Evidence(tmp_path / "results")
    made.begin(Protocol.read())
    made.write_tuning(CELL, tuning())
    for condition in ("plain", "averaged"):
        made.write_seed(CELL, condition, 0, seed())
    return made


def show(evidence: Evidence) -> list[str]:
    return ["reproduce", "table1", "--show", "--results", str(evidence.folder)]


def test_what_is_kept_is_read(evidence, capsys):
    assert evidence.seeds(CELL, "plain") == {0: seed()}
    assert evidence.tuning(CELL) == tuning()
    assert main(show(evidence)) == 0
    assert "-9.000" in capsys.readouterr().out


def test_what_was_kept_before_there_were_digests_is_read(evidence):
    path = evidence.place(CELL) / "plain-0.json"
    path.write_text(json.dumps(seed()))
    assert evidence.seeds(CELL, "plain") == {0: seed()}


@pytest.mark.parametrize("name", ["plain-0.json", "tuning.json", "protocol.json"])
def test_a_changed_figure_is_a_line(evidence, capsys, name):
    path = evidence.folder / name if name == "protocol.json" else evidence.place(CELL) / name
    text = path.read_text()
    changed = text.replace("-9.0", "-5.0").replace('"trials": 1', '"trials": 2')
    assert changed != text
    for damage in (changed, text[:-9], "\0" + text):
        path.write_text(damage)
        if name == "tuning.json":
            with pytest.raises(UserError, match=re.escape(str(path))):
                plan_text(evidence, Protocol.read())
            continue
        command = show(evidence) if name != "protocol.json" else [x for x in show(evidence) if x != "--show"]
        assert main(command) == 2
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1), err
        assert str(path) in err


def places(value, at=()):
    yield at
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield from places(value[key], (*at, key))


def changes(value):
    """Every part gone, or something else, in turn."""
    for at in places(value):
        for new in [*WRONG, ...]:
            copy = json.loads(json.dumps(value))
            inner = {"": copy}
            *above, last = ("", *at)
            for key in above:
                inner = inner[key]
            if new is ...:
                if not at:
                    continue
                del inner[last]
            else:
                inner[last] = new
            yield at, new, copy if at else inner[""]


@pytest.mark.parametrize("name", ["plain-0.json", "tuning.json"])
def test_whatever_else_a_file_without_a_digest_says_is_read_or_a_line(evidence, name):
    path = evidence.place(CELL) / name
    every = list(changes(seed() if name == "plain-0.json" else tuning()))
    said = [refusal(path, evidence, *one) for one in random.Random(0).sample(every, 300)]
    assert sum(map(bool, said)) > 150
    for line in filter(None, said):
        assert str(path) in line or CELL.name in line
        assert "\n" not in line


def refusal(path, evidence, at, new, changed) -> str:
    path.write_text(json.dumps(changed))
    try:
        cells_of(rows_of({CELL: evidence.seeds(CELL, "plain")})[0])
        evidence.cpu_seconds(CELL)
    except UserError as error:
        return str(error)
    except Exception as error:
        raise AssertionError(f"{at} {new}") from error
    return ""


def test_the_script_of_the_documents_says_it_in_a_line(tmp_path):
    write_record(tmp_path / "a.json", {"x": 1})
    text = (tmp_path / "a.json").read_text()
    (tmp_path / "a.json").write_text(text.replace("1", "2", 1))
    with pytest.raises(UserError, match="found it changed since"):
        read_record(tmp_path / "a.json", mapping())
    script = ROOT / "docs" / "make_results.py"
    if not script.is_file():
        pytest.skip("no docs beside the tests: a checkout of its own has them")
    program = (
        "import runpy, sys, pathlib; from ostinato.reproduce.evidence import Evidence; "
        f"Evidence.seeds = lambda *_: __import__('ostinato.reproduce.kept').reproduce.kept.read_record("
        f"pathlib.Path({str(tmp_path / 'a.json')!r}), lambda *_: None); "
        f"sys.argv = ['make_results.py']; runpy.run_path({str(script)!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
