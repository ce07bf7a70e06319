"""Several processes, and their deaths: what the study comes to is the same."""

import json
import os
import signal
import time

import pytest

pytestmark = pytest.mark.slow


def test_two_workers_come_to_what_one_comes_to(ostinato, small, tmp_path, trials_of, epochs_of):
    for folder, workers in ((tmp_path / "one", 1), (tmp_path / "two", 2)):
        code, _, err = ostinato("search", *small(6), "--study", folder, "--workers", workers, "--quiet")
        assert code == 0, err
    assert trials_of(tmp_path / "one") == trials_of(tmp_path / "two")
    assert epochs_of(tmp_path / "one") == epochs_of(tmp_path / "two")
    results = [json.loads((tmp_path / name / "results.json").read_text()) for name in ("one", "two")]
    assert results[0]["chosen"] == results[1]["chosen"]
    assert results[0]["results"]["results"] == results[1]["results"]["results"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=lambda number: number.name)
def test_stopped_in_the_middle_of_a_trial_it_goes_on(
    number, ostinato, small, started, in_training, tmp_path, trials_of, epochs_of
):
    folder, whole = tmp_path / "stopped", tmp_path / "whole"
    # long enough to be met in the middle
    arguments = small(2, 150)
    process = started(*arguments, "--study", folder, "--checkpoint-seconds", "0")
    trial = in_training(folder, process, epochs=10)
    process.send_signal(number)
    code = process.wait(timeout=60)
    metrics = folder / "trials" / trial / "metrics.jsonl"
    before = metrics.read_bytes()
    assert before.count(b"\n") < 150
    if number == signal.SIGINT:
        assert code == 130
        printed = process.stdout.read()
        assert "the same command continues" in printed
        assert "Traceback" not in printed
        records = json.loads((folder / "trials.json").read_text())
        assert records[-1]["state"] == "running"
    else:
        assert code == -number
    code, _, err = ostinato("search", *arguments, "--study", folder, "--quiet")
    assert code == 0, err
    # it went on from the checkpoint: all but the last epochs stand as they were, clock and all
    kept = before.splitlines()[:-2]
    assert kept
    assert metrics.read_bytes().splitlines()[: len(kept)] == kept
    assert ostinato("search", *arguments, "--study", whole, "--quiet")[0] == 0
    assert trials_of(folder) == trials_of(whole)
    assert epochs_of(folder) == epochs_of(whole)


def test_ctrl_c_stops_two_workers_that_are_still_starting(small, started, tmp_path):
    folder = tmp_path / "study"
    process = started(*small(2, 2000), "--study", folder, "--workers", 2)
    end = time.monotonic() + 60
    while not (folder / "study.toml").exists() and time.monotonic() < end:
        time.sleep(0.01)
    time.sleep(0.3)  # the second worker is being started
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(timeout=60) == 130
    assert "Traceback" not in process.stdout.read()


def test_a_worker_goes_on_with_the_trial_of_one_that_dies(
    ostinato, small, started, in_training, tmp_path, trials_of
):
    folder = tmp_path / "study"
    arguments = small(3, 150)
    first = started(*arguments, "--study", folder, "--checkpoint-seconds", "0")
    in_training(folder, first)
    # held where it is, so that it is still in its trial when it dies, however slow the second is to start
    first.send_signal(signal.SIGSTOP)
    second = started("--join", folder)
    in_training(folder, second)
    first.kill()
    assert second.wait(timeout=120) == 0, second.stdout.read()
    records = json.loads((folder / "trials.json").read_text())
    assert [r["state"] for r in records] == ["complete"] * 3
    assert sum(r["attempts"] for r in records) == 4
    assert ostinato("search", *arguments, "--study", tmp_path / "whole", "--quiet")[0] == 0
    assert trials_of(folder) == trials_of(tmp_path / "whole")
