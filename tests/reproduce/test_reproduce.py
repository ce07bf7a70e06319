"""`ostinato reproduce` on a small file in the place of the JSB chorales."""

import hashlib
import json
import random
import shutil
import signal
import time

import numpy as np
import pytest

from ostinato.reproduce.cells import Cell
from ostinato.reproduce.pool import OUT_OF_TIME, run_jobs
from ostinato.reproduce.training import Training
from ostinato.training.monitor import Interrupted
from published_stand_ins import write_mat

# The published checksum is replaced by the small file's, in this process or in another.
COMMAND = """
import dataclasses, hashlib, os, pathlib, sys
from ostinato.domains.music.reading import published
path = pathlib.Path(os.environ["OSTINATO_DATA"]) / "JSB_Chorales.mat"
jsb = published.PUBLISHED["jsb"]
file = dataclasses.replace(jsb.file, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
published.PUBLISHED["jsb"] = dataclasses.replace(jsb, file=file)
from ostinato.cli.main import run
sys.exit(run(sys.argv[1:]))
"""
TINY = (
    *("table1", "--datasets", "jsb", "--shipped", "--hidden-size", "4", "--epochs", "2", "--nade-size", "4"),
    *("--rbm-size", "21", "--ais-steps", "2", "--accuracy-samples", "2", "--cg-iterations", "2"),
)


@pytest.fixture
def small_jsb(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    write_mat(tmp_path / "data" / "JSB_Chorales.mat")
    monkeypatch.setenv("OSTINATO_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("OSTINATO_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def finish(process):
    out, _ = process.communicate(timeout=300)
    return process.returncode, out


@pytest.mark.slow
def test_a_table_killed_again_and_again_ends_as_the_unbroken_one(small_jsb, in_a_process) -> None:
    code, out = finish(in_a_process(COMMAND, "reproduce", *TINY, "--folder", "whole"))
    assert code == 0, out
    whole = {name: (small_jsb / "whole" / name).read_bytes() for name in ("table1.md", "table1.json")}
    table = json.loads(whole["table1.json"])
    assert len(table["cells"]) == 11
    assert all(cell["seeds"] == [0] for cell in table["cells"])
    rbm = next(cell for cell in table["cells"] if cell["row"] == "RNN-RBM")
    assert rbm["ours"]["test"]["estimate"]

    rng, kills = random.Random(0), 0
    for _ in range(4):
        process = in_a_process(COMMAND, "reproduce", *TINY, "--folder", "broken")
        time.sleep(rng.uniform(2.0, 5.0))  # importing takes the first of these seconds
        kills += process.poll() is None
        process.kill()
        process.communicate()
    assert kills > 0
    code, out = finish(in_a_process(COMMAND, "reproduce", *TINY, "--folder", "broken"))
    assert code == 0, out
    assert {name: (small_jsb / "broken" / name).read_bytes() for name in whole} == whole


@pytest.mark.slow
def test_a_signal_stops_it_at_a_checkpoint_and_a_budget_ends_it_in_peace(small_jsb, in_a_process) -> None:
    many = (*TINY[:6], "--epochs", "100000", "--patience", "100000")
    process = in_a_process(COMMAND, "reproduce", *many, "--folder", "f", "--rows", "rnn-SGD")
    deadline = time.monotonic() + 60
    while not (small_jsb / "f" / "jsb" / "rnn-SGD" / "config.toml").exists():
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    code, out = finish(process)
    assert code == 130, out
    assert "the same command goes on" in out
    budgeted = (*many, "--folder", "f", "--rows", "rnn-SGD", "--budget", "1s")
    code, out = finish(in_a_process(COMMAND, "reproduce", *budgeted))
    assert code == 0, out
    assert "out of time: 0 of 1 training done" in out
    assert "| jsb | RNN (SGD) |" in (small_jsb / "f" / "table1.md").read_text()


@pytest.mark.slow
def test_workers_train_what_one_process_would(small_jsb, monkeypatch) -> None:
    from ostinato.domains.music.writing import piano_roll

    songs = small_jsb / "songs"
    songs.mkdir()
    rng = np.random.default_rng(1)
    for number in range(10):
        piano_roll.to_midi((rng.random((32, 88)) < 0.05).astype(np.uint8), songs / f"{number}.mid")

    def jobs(folder):
        for row in ("RNN (SGD)", "RNN (SGD+CL)", "RNN-NADE (SGD)"):
            cell = Cell("table1", row, "jsb")
            tiny = {"data": str(songs), "hidden_size": 4, "epochs": 2, "accuracy_samples": 2}
            yield Training(cell, 0, cell.recipe(overrides=tiny), small_jsb / folder / row)

    done = []
    run_jobs(list(jobs("one")), done=done.append)
    run_jobs(list(jobs("two")), workers=2, done=done.append)
    assert len(done) == 6
    for one, two in zip(jobs("one"), jobs("two"), strict=True):
        results = [json.loads((j.folder / "results.json").read_text())["results"] for j in (one, two)]
        assert results[0] == results[1]
        weights = [
            hashlib.sha256((j.folder / "metrics.jsonl").read_bytes().split(b'"seconds"')[0]).digest()
            for j in (one, two)
        ]
        assert weights[0] == weights[1]
    with pytest.raises(Interrupted) as stopped:
        run_jobs(list(jobs("three")), workers=2, deadline=time.monotonic() - 1)
    assert stopped.value.signal == OUT_OF_TIME


PROTOCOL = """
trials = 3
seeds = 2
seeds_of_short_runs = 2
startup = 1
warmup = 1
tuning_patience = 2
[tuning_epochs]
jsb = 2
[epochs]
jsb = 2
[space.SGD]
learning_rate = {low = 1e-3, high = 1.0, log = true}
[l2]
bernoulli = 1e-3
"""


@pytest.mark.slow
def test_a_cell_by_the_protocol_goes_on_after_kills_and_without_its_runs(small_jsb, in_a_process) -> None:
    (small_jsb / "p.toml").write_text(PROTOCOL)
    asked = ("reproduce", "table1/jsb/rnn-SGD", "--protocol", "p.toml", "--hidden-size", "4")
    whole = (*asked, "--results", "whole", "--folder", "w")
    code, out = finish(in_a_process(COMMAND, *whole))
    assert code == 0, out
    assert "table1/jsb/rnn-SGD, done" in out
    cell = small_jsb / "whole" / "table1" / "jsb" / "rnn-SGD"
    tuning = json.loads((cell / "tuning.json").read_text())
    assert [trial["number"] for trial in tuning["trials"]] == [0, 1, 2]
    complete = [t for t in tuning["trials"] if t["state"] == "complete"]
    assert tuning["valid"]["plain"] == max(t["value"] for t in complete)
    assert tuning["valid"]["averaged"] == max(t["averaged"]["value"] for t in complete)
    runs = {path.stem: json.loads(path.read_text()) for path in cell.glob("*-*.json")}
    assert sorted(runs) == ["averaged-0", "averaged-1", "plain-0", "plain-1"]
    for name, run in runs.items():
        recipe, seed = run["recipe"], int(name[-1])
        assert recipe["seed"] == seed
        assert recipe["learning_rate"] == tuning["chosen"][name[:-2]]["learning_rate"]
        assert (recipe["averaging"] > 0, recipe["l2"] > 0) == (name.startswith("averaged"),) * 2
        totals, test = run["test_totals"], run["results"]["model"]["test"]["log_likelihood"]
        assert sum(totals["log_prob"]) / sum(totals["counts"]) == pytest.approx(test["value"], abs=1e-5)
        assert ("1-gram" in run["results"]) == (seed == 0)
        assert run["training"]["environment"]["kernel"]
    assert "| table1/jsb/rnn-SGD | 3/3 | 2/2 | 2/2 |" in (small_jsb / "whole" / "PLAN.md").read_text()
    assert "clipping helps" in (small_jsb / "whole" / "table1.md").read_text()

    # killed twice, the runs of what had been written down lost: nothing is trained twice, and all is the same
    broken = (*asked, "--results", "broken", "--folder", "b")
    for _ in range(2):
        process = in_a_process(COMMAND, *broken)
        time.sleep(5)
        process.kill()
        process.communicate()
    code, out = finish(in_a_process(COMMAND, *broken))
    assert code == 0, out
    other = small_jsb / "broken" / "table1" / "jsb" / "rnn-SGD"
    for name in ("tuning", "plain-0", "averaged-1"):
        found = [json.loads((place / f"{name}.json").read_text()) for place in (cell, other)]
        assert without_times(found[0]) == without_times(found[1])
    shutil.rmtree(small_jsb / "w")
    before = {path: path.stat().st_mtime_ns for path in cell.iterdir()}
    code, out = finish(in_a_process(COMMAND, *whole))
    assert code == 0, out
    assert {path: path.stat().st_mtime_ns for path in cell.iterdir()} == before
    code, out = finish(in_a_process(COMMAND, *whole, "--trials", "2"))
    assert code == 2
    assert "found another trials; keep these results elsewhere" in out
    code, out = finish(in_a_process(COMMAND, "reproduce", "table1", "--results", "whole", "--show"))
    assert code == 0, out
    assert "table1, paper and ours, averaged" in out


def without_times(found):
    """What does not depend on how long it took, nor on where; a digest is of that, too."""
    if isinstance(found, dict):
        own = ("cpu_seconds", "seconds", "digest")
        return {k: without_times(v) for k, v in found.items() if k not in own}
    return [without_times(each) for each in found] if isinstance(found, list) else found
