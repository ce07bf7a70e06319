import json
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
import torch

from ostinato.cli.doctor import diagnosis
from ostinato.runs.folder import Run

from .conftest import QUICK


def test_train_writes_a_readable_run_and_prints_its_results(trained, tmp_path) -> None:
    run = tmp_path / "run"
    names = {path.name for path in run.iterdir()}
    assert {"config.toml", "metrics.jsonl", "checkpoints", "results.json", "learning_curve.png"} <= names
    config = tomllib.loads((run / "config.toml").read_text())
    assert (config["recipe"], config["hidden_size"], config["epochs"]) == ("SGD+CL", 8, 2)
    assert set(trained["results"]) == {"model", "iid", "1-gram", "note-bigram"}
    score = trained["results"]["model"]["test"]["log_likelihood"]
    assert "first frame of each song included" in score["convention"]
    assert score["songs"] == 2
    assert json.loads((run / "results.json").read_text()) == trained
    assert (run / "learning_curve.png").read_bytes().startswith(b"\x89PNG")


def test_train_prints_a_table_for_people(ostinato, songs) -> None:
    code, out, err = ostinato("train", "--data", songs, *QUICK, "--clip", "auto")
    assert code == 0
    for word in ("model", "note-bigram", "1-gram", "iid", "standard error over songs", "runs/songs-1"):
        assert word in out
    assert "clipping gradients at norm" in err
    assert "epoch 1/2" in err


def test_evaluate_gives_what_train_gave(ostinato, trained, tmp_path) -> None:
    code, out, _ = ostinato("evaluate", tmp_path / "run", "--json", "--per-song", "test")
    assert code == 0
    again = json.loads(out)
    assert again["results"] == trained["results"]
    frames = sum(song["frames"] for song in again["songs"])
    total = sum(song["frames"] * song["log_likelihood"] for song in again["songs"])
    pooled = again["results"]["model"]["test"]["log_likelihood"]
    assert (frames, total / frames) == (pooled["count"], pytest.approx(pooled["value"]))


def test_evaluate_baselines_of_any_folder(ostinato, songs) -> None:
    code, out, _ = ostinato("evaluate", "--baselines", "--data", songs, "--json")
    assert code == 0
    assert set(json.loads(out)["results"]) == {"iid", "1-gram", "note-bigram"}


def test_a_run_s_config_makes_the_same_run_again_with_changes(ostinato, trained, tmp_path) -> None:
    config = tmp_path / "run" / "config.toml"
    code, out, err = ostinato("train", "--config", config, "--threads", "1", "--json")
    assert code == 0, err
    assert json.loads(out)["results"] == trained["results"]
    code, out, _ = ostinato(
        "train", "--config", config, "--learning-rate", "0.01", "--recipe", "SGD", "--json"
    )
    assert code == 0
    changed = json.loads(out)["recipe"]
    assert (changed["learning_rate"], changed["clip"], changed["hidden_size"]) == (0.01, "none", 8)
    assert changed["leak_fraction"] == 0


def test_resuming_a_finished_run_prints_it_again(ostinato, trained, tmp_path) -> None:
    code, out, _ = ostinato("train", "--resume", tmp_path / "run", "--json")
    assert code == 0
    assert json.loads(out)["results"] == trained["results"]


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "ostinato", *map(str, arguments)]


def final_bytes(run: Path) -> dict[str, dict[str, bytes]]:
    opened = Run.open(run)
    return {
        name: {
            key: tensor.contiguous().view(torch.uint8).numpy().tobytes()
            for key, tensor in opened.load_checkpoint(name)[0].items()
        }
        for name in ("last", "best")
    }


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_byte_for_byte_the_same(songs, tmp_path) -> None:
    settings = ("--data", songs, "--hidden-size", 40, "--epochs", 8, "--segment-length", 5, "--threads", 1)
    settings = (*settings, "--recipe", "SGD+CLM", "--checkpoint-seconds", 0, "--patience", 1000)
    subprocess.run(
        command("train", "--run", tmp_path / "unbroken", *settings), check=True, capture_output=True
    )
    run, kills = tmp_path / "killed", 0
    random = torch.Generator().manual_seed(0)
    arguments = ("train", "--run", run, *settings)
    while True:
        process = subprocess.Popen(command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if (run / "config.toml").exists():
            arguments = ("train", "--resume", run, "--checkpoint-seconds", 0)
        last = run / "checkpoints" / "last.safetensors"
        before = last.stat().st_mtime_ns if last.exists() else 0
        # wait until this process has made progress of its own, then a random moment longer
        while process.poll() is None and not (last.exists() and last.stat().st_mtime_ns > before):
            time.sleep(0.005)
        time.sleep(torch.rand((), generator=random).item() * 0.1)
        if process.poll() is None and kills < 12:
            process.send_signal(signal.SIGKILL)
            kills += 1
        _, err = process.communicate(timeout=300)
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, err.decode()
        arguments = ("train", "--resume", run, "--checkpoint-seconds", 0)
    assert kills >= 10
    assert final_bytes(run) == final_bytes(tmp_path / "unbroken")


@pytest.mark.slow
def test_an_extension_killed_at_random_moments_ends_byte_for_byte_the_same(songs, tmp_path, ostinato) -> None:
    settings = ("--data", songs, "--hidden-size", 40, "--segment-length", 10, "--threads", 1)
    settings = (*settings, "--recipe", "SGD+CLM", "--checkpoint-seconds", 0, "--patience", 1000, "--quiet")
    whole, run, kills = tmp_path / "whole", tmp_path / "run", 0
    assert ostinato("train", "--run", whole, *settings, "--epochs", 5)[0] == 0
    assert ostinato("train", "--run", run, *settings, "--epochs", 1)[0] == 0
    random = torch.Generator().manual_seed(0)
    last, longer = run / "checkpoints" / "last.safetensors", ("--epochs", 5)
    while True:
        arguments = ("train", "--resume", run, "--checkpoint-seconds", 0, "--quiet", *longer)
        before = last.stat().st_mtime_ns
        process = subprocess.Popen(command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        while process.poll() is None and last.stat().st_mtime_ns == before:
            time.sleep(0.005)
        # the new number is in config.toml from the first moment: it need not be said again
        assert Run.open(run).config()["epochs"] == 5
        longer = ()
        time.sleep(torch.rand((), generator=random).item() * 0.05)
        if process.poll() is None and kills < 3:
            process.send_signal(signal.SIGKILL)
            kills += 1
        _, err = process.communicate(timeout=300)
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, err.decode()
    assert kills == 3
    assert final_bytes(run) == final_bytes(whole)
    results, wanted = (json.loads((x / "results.json").read_text()) for x in (run, whole))
    assert results["results"] == wanted["results"]
    assert results["training"]["epochs"] == 5


def test_more_epochs_from_the_command_line(ostinato, trained, tmp_path) -> None:
    code, _, err = ostinato("train", "--resume", tmp_path / "run", "--epochs", 3)
    assert code == 0, err
    assert "stopped after epoch 3: all epochs done" in err
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert (results["training"]["epochs"], results["recipe"]["epochs"]) == (3, 3)
    assert results["training"]["devices"] == ["cpu"]
    code, _, err = ostinato("train", "--resume", tmp_path / "run", "--epochs", 2)
    assert (code, err.count("\n")) == (2, 1)
    assert "expected --epochs of at least 3, since the run has trained 3 epochs, found 2" in err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_one_clear_line(ostinato, trained, tmp_path) -> None:
    run = tmp_path / "run"
    for arguments in (
        ("train", "--device", "cuda", "--run", tmp_path / "new"),
        ("train", "--resume", run, "--device", "cuda:1"),
        ("evaluate", run, "--device", "cuda"),
        ("generate", run, "--device", "cuda"),
        ("harmonize", run, tmp_path / "songs" / "song0.mid", "--out", "a.mid", "--device", "cuda"),
        ("score", run, tmp_path / "songs" / "song0.mid", "--device", "cuda"),
    ):
        code, out, err = ostinato(*arguments)
        assert (code, out, err.count("\n")) == (2, "", 1), arguments
        assert "found none that PyTorch" in err
    assert not (tmp_path / "new").exists()
    for arguments in (("evaluate", run, "--json"), ("generate", run, "--seed", "1", "--out", "a.mid")):
        assert ostinato(*arguments, "--device", "auto") == ostinato(*arguments)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_run_of_a_gpu_is_resumed_where_there_is_none(ostinato, trained, tmp_path) -> None:
    with Run.open(tmp_path / "run") as run:
        tensors, state = run.load_checkpoint("last")
        run.save_checkpoint("last", tensors, state | {"devices": ["cuda:0"]})
    code, _, err = ostinato("train", "--resume", run.folder, "--epochs", 3)
    assert (code, err.count("\n")) == (2, 1)
    assert "expected cuda:0, where the run was trained" in err
    assert "resume it with --device cpu" in err
    code, _, err = ostinato("train", "--resume", run.folder, "--epochs", 3, "--device", "cpu")
    assert code == 0
    assert "the run was trained on cuda:0 and goes on on cpu" in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_cleanly_and_says_how_to_go_on(songs, tmp_path, number) -> None:
    arguments = ("train", "--data", songs, "--run", tmp_path / "run", "--epochs", 100000)
    process = subprocess.Popen(
        command(*arguments, "--threads", 1), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    metrics = tmp_path / "run" / "metrics.jsonl"
    while process.poll() is None and not (metrics.exists() and metrics.stat().st_size):
        time.sleep(0.01)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert f"continue with: ostinato train --resume {tmp_path / 'run'}" in err.decode()
    assert b"Traceback" not in out + err
    assert Run.open(tmp_path / "run").has_checkpoint("last")


def test_version_help_and_doctor(ostinato) -> None:
    assert ostinato("--version")[1].strip() == "0.1.0"
    assert "--learning-rate" in ostinato("train", "--help")[1]
    code, out, _ = ostinato("doctor")
    assert code == 0
    assert "instruction set" in out
    assert "pydoc: comes with Python" in out
    assert "memorization: generated" in out
    code, out, _ = ostinato("doctor", "--json")
    assert set(json.loads(out)) == set(diagnosis())


@pytest.mark.parametrize("letters", ["SGD+CL", "SGD+CRM"])
def test_train_and_evaluate_nade(ostinato, songs, tmp_path, letters: str) -> None:
    options = ("--output", "nade", "--nade-size", "6", "--accuracy-samples", "3", "--recipe", letters)
    code, out, err = ostinato("train", "--data", songs, "--run", tmp_path / "run", "--json", *options, *QUICK)
    assert code == 0, err
    scores = json.loads(out)["results"]["model"]["test"]
    assert not scores["log_likelihood"]["estimate"]
    accuracy = scores["accuracy_bay"]
    assert accuracy["estimate"]
    assert accuracy["interval"][0] < accuracy["value"] < accuracy["interval"][1]
    assert "3 drawn frames" in accuracy["convention"]
    code, out, _ = ostinato("evaluate", tmp_path / "run", "--json")
    assert json.loads(out)["results"]["model"]["test"] == scores


def test_an_rbm_s_scores_are_printed_as_estimates_with_intervals(ostinato, songs, tmp_path) -> None:
    small = ("--rbm-size", "25", "--cd-steps", "2", "--ais-steps", "3", "--ais-chains", "2")
    options = ("--output", "rbm", "--accuracy-samples", "2", "--pretrain-frames", "1", *small, *QUICK)
    code, out, err = ostinato("train", "--data", songs, "--run", tmp_path / "run", *options)
    assert code == 0, err
    assert "pseudo_log_likelihood" in err
    model = next(line for line in out.splitlines() if "model" in line)
    assert (model.count("≥"), model.count("≈")) == (2, 2)  # lower bounds, and accuracies from drawn frames
    assert "annealing from data to independent notes, too low in expectation" in " ".join(out.split())
    assert out.count("[") >= 4
    record = Run.open(tmp_path / "run").metrics()[-1]
    assert "valid_pseudo_log_likelihood" in record
    assert "valid_log_likelihood" not in record


def test_pre_training_without_an_rbm_is_refused(ostinato, songs) -> None:
    code, _, err = ostinato("train", "--data", songs, "--pretrain-frames", "1")
    assert code == 2
    assert "--pretrain-frames is for --output rbm" in err


def test_a_task_is_trained_scored_and_not_mistaken_for_text(ostinato, tmp_path) -> None:
    options = ("--data", "temporal-order", "--length", "10", "--streams", "500", "--epochs", "1")
    code, out, _ = ostinato(
        "train",
        "task",
        "--recipe",
        "SGD",
        *options,
        "--hidden-size",
        "12",
        "--threads",
        "1",
        "--run",
        tmp_path / "r",
    )
    assert code == 0
    assert "of 10,000 fresh" in " ".join(out.split())
    code, out, _ = ostinato("evaluate", tmp_path / "r", "--json")
    assert code == 0
    assert 0 <= json.loads(out)["results"]["model"]["test"]["error"]["value"] <= 100
    for command in (
        ("evaluate", tmp_path / "r", "--data", "jsb"),
        ("evaluate", tmp_path / "r", "--per-sentence", "test"),
        ("generate", tmp_path / "r"),
        ("train", "task", "--data", "jsb"),
        ("train", "task", "--length", "3"),
        ("train", "--recipe", "HF", "--output", "rbm"),
    ):
        code, _, err = ostinato(*command)
        assert (code, err.count("\n")) == (2, 1), err


def test_a_dry_run_says_what_a_run_would_be_and_leaves_nothing(ostinato, songs, tmp_path, contents) -> None:
    before = contents(tmp_path)
    settings = ("--data", songs, "--hidden-size", 8, "--recipe", "SGD+CM", "--epochs", 3, "--clip", "auto")
    code, out, err = ostinato("train", "--dry-run", *settings, "--run", tmp_path / "run")
    assert code == 0, err
    for wanted in (
        "dry run of SGD+CM on songs: nothing is trained or written",
        "--hidden-size",
        "rnn.weight_hh_l0",
        "8 x 8",
        "in all: about",
        "for 3 epochs and a pass to find the clipping threshold",
        "memory: ",
        f"run: {tmp_path / 'run'}",
    ):
        assert wanted in out
    code, out, _ = ostinato("train", "--dry-run", *settings, "--json")
    plan = json.loads(out)
    assert plan["changed"]["hidden_size"] == {"here": 8, "usual": 200}
    assert plan["data"]["splits"]["train"]["songs"] + plan["data"]["splits"]["valid"]["songs"] < 11
    assert plan["folder"].startswith("runs")
    assert contents(tmp_path) == before
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "runs").exists()


def test_a_dry_run_of_going_on_changes_nothing(ostinato, trained, tmp_path, contents) -> None:
    run = tmp_path / "run"
    before = contents(run)
    code, out, err = ostinato("train", "--dry-run", "--resume", run, "--epochs", 5)
    assert code == 0, err
    assert "for 3 epochs;" in out
    assert f"run: {run}, 2 epochs done" in out
    code, out, _ = ostinato("train", "--dry-run", "--resume", run)
    assert "time: none, the run has ended: all epochs done" in out
    for arguments, wanted in (
        (("--resume", run, "--epochs", 1), "expected --epochs of at least 2"),
        (("--resume", run, "--seed", 5), "seed = 5 (the run has 0)"),
        (("--run", run), "expected a new or an empty folder"),
        (("--run", run / "config.toml"), "expected a folder for the run, found a file"),
    ):
        code, _, err = ostinato("train", "--dry-run", *arguments)
        assert (code, err.count("\n")) == (2, 1)
        assert wanted in err
    assert contents(run) == before


def test_what_training_has_is_scored_apart(ostinato, songs, trained, tmp_path) -> None:
    code, out, err = ostinato("evaluate", tmp_path / "run", "--overlap", "--json")
    assert code == 0, err
    apart = json.loads(out)["overlap"]["test"]["scores"]
    assert apart["all"] == trained["results"]["model"]["test"]["log_likelihood"]
    parts = [score for name, score in apart.items() if name != "all"]
    assert sum(score["count"] for score in parts) == apart["all"]["count"]
    code, out, _ = ostinato("evaluate", tmp_path / "run", "--overlap")
    assert "log-likelihood on test by what training has" in out
    code, _, err = ostinato("evaluate", "--baselines", "--data", songs, "--overlap")
    assert (code, "expected a run with --overlap" in err) == (2, True)
