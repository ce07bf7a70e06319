import json
import math
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ostinato.errors import UserError
from ostinato.runs.folder import Run
from ostinato.runs.names import create_numbered, default_folder, kept_if_begun
from ostinato.seal import SEAL, SealError


def test_a_run_is_readable_files(run, contents):
    run.append_metrics({"epoch": 1})
    run.save_checkpoint("last", {"a": torch.ones(1)}, {})
    run.write_text("scores.txt", "good")
    assert set(contents(run.folder)) == {
        "config.toml",
        "metrics.jsonl",
        "seal.json",
        "checkpoints/last.safetensors",
        "scores.txt",
    }


def test_the_config_comes_back(tmp_path):
    config = {
        "name": 'böse "x"\n',
        "model": {"hidden": 100, "leak": [0.02, 0.2], "rate": 1e-30},
        "clip": True,
    }
    Run.create(tmp_path / "run", config).close()
    assert Run.open(tmp_path / "run").config() == config


def test_a_config_that_is_no_toml_is_a_user_error(run):
    run.write_text("config.toml", "learning_rate =")
    with pytest.raises(UserError, match=r"expected TOML in .*config.toml"):
        run.config()


# Creating and opening


def test_refuses_a_folder_in_use(run, tmp_path):
    run.close()
    with pytest.raises(UserError, match=r"or go on with this one: ostinato.train\(resume="):
        Run.create(run.folder, {})
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(
        UserError, match=r"new or an empty folder for the run, found 1 entries in .*choose another folder$"
    ):
        Run.create(tmp_path / "mine", {})
    assert os.listdir(tmp_path / "mine") == ["thesis.tex"]


def test_takes_an_empty_folder_and_what_a_killed_creation_leaves(tmp_path):
    folder = tmp_path / "run"
    (folder / "checkpoints").mkdir(parents=True)
    for name in (".lock", "metrics.jsonl", ".config.toml.0123.tmp"):
        (folder / name).touch()
    with pytest.raises(UserError, match="a folder without config"):
        Run.open(folder)
    Run.create(folder, {}).close()
    assert Run.open(folder).config() == {}
    assert not list(folder.glob("*.tmp"))


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda path: None, "nothing there"),
        (lambda path: path.touch(), "a file"),
        (lambda path: path.mkdir(), r"a folder without config\.toml"),
    ],
)
def test_opening_what_is_no_run_says_what_is_missing(tmp_path, make, found):
    make(tmp_path / "x")
    with pytest.raises(UserError, match=f"expected a run folder at .*x, found {found}"):
        Run.open(tmp_path / "x")


def test_a_folder_that_cannot_be_made_is_a_user_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write"):
        Run.create(tmp_path / "file" / "run", {})


def test_default_folders_are_numbered(tmp_path):
    assert default_folder("jsb SGD+CL", tmp_path) == tmp_path / "jsb-SGD+CL-1"
    (tmp_path / "jsb-1").mkdir()
    (tmp_path / "jsb-3").touch()
    assert default_folder("jsb", tmp_path).name == "jsb-2"
    (tmp_path / "jsb-2").mkdir()
    assert default_folder("jsb", tmp_path).name == "jsb-4"
    assert default_folder("../..", tmp_path) == tmp_path / "run-1"


def test_many_starts_at_once_have_a_folder_each(tmp_path):
    with ThreadPoolExecutor(24) as pool:
        runs = list(pool.map(lambda _: create_numbered("jsb", {"data": "jsb"}, tmp_path), range(24)))
    assert {run.folder.name for run in runs} == {f"jsb-{number}" for number in range(1, 25)}
    for run in runs:
        run.close()


def test_nothing_is_left_of_a_run_that_failed_before_it_began(tmp_path):
    def fails(run, *, new):
        with pytest.raises(ValueError, match="x"), run, kept_if_begun(run, new=new):
            raise ValueError("x")

    run = Run.create(tmp_path / "run", {})
    fails(run, new=False)
    assert run.folder.exists()
    fails(run.lock(), new=True)
    assert not run.folder.exists()
    run = Run.create(tmp_path / "run", {})
    run.save_checkpoint("last", {}, {})
    fails(run, new=True)
    assert run.has_checkpoint("last")


# Metrics

values = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)


# some names say what their values are; see test_a_record_of_another_kind_is_refused for others
of_a_kind = {"epoch": st.integers(0, 2**63), "best": st.booleans(), "event": st.text()}
others = st.text().filter(lambda name: name not in of_a_kind and not name.startswith(("train_", "valid_")))
records_of_training = st.builds(
    lambda free, own, scores: free | own | scores,
    st.dictionaries(others, values, max_size=3),
    st.fixed_dictionaries({}, optional=of_a_kind),
    st.dictionaries(
        st.sampled_from(["train_log_likelihood", "valid_error"]),
        st.none() | st.floats(allow_nan=False, allow_infinity=False),
    ),
)


@given(records=st.lists(records_of_training, max_size=5))
def test_metrics_come_back(tmp_path_factory, records):
    with Run.create(tmp_path_factory.mktemp("runs") / "run", {}) as run:
        for record in records:
            run.append_metrics(record)
        assert Run.open(run.folder).metrics() == records


@pytest.mark.parametrize(
    "record", [{"epoch": "x"}, {"best": 1}, {"event": None}, {"train_log_likelihood": "x"}]
)
def test_a_record_of_another_kind_is_refused(run, record):
    run.append_metrics({"epoch": 0})
    run.append_metrics(record)
    with pytest.raises(UserError, match=f"line 2 of .*metrics.jsonl.* at {next(iter(record))}"):
        run.metrics()


def test_metrics_are_strict_json(run):
    run.append_metrics({"loss": math.nan, "parts": [math.inf, {"a": -math.inf}], "epoch": 1})

    def refuse(constant):
        raise AssertionError(constant)

    (line,) = (run.folder / "metrics.jsonl").read_text().splitlines()
    assert json.loads(line, parse_constant=refuse) == {"loss": None, "parts": [None, {"a": None}], "epoch": 1}


def test_metrics_are_cut_back_to_a_checkpoint(run):
    offsets = []
    for epoch in range(4):
        offsets.append(run.metrics_offset())
        run.append_metrics({"epoch": epoch})
    run.truncate_metrics(offsets[2])
    assert run.metrics() == [{"epoch": 0}, {"epoch": 1}]
    run.append_metrics({"epoch": 99})
    assert run.metrics()[2:] == [{"epoch": 99}]
    run.truncate_metrics(0)
    assert run.metrics() == []


@pytest.mark.parametrize("shift", [-1, 1])
def test_metrics_that_are_not_those_of_the_checkpoint_are_a_user_error(run, shift, contents):
    run.append_metrics({"epoch": 0})
    before = contents(run.folder)
    with pytest.raises(UserError, match="as when the checkpoint was made"):
        run.truncate_metrics(run.metrics_offset() + shift)
    assert contents(run.folder) == before


def test_a_half_written_line_is_not_read_and_cleared_by_the_next_owner(run):
    run.append_metrics({"epoch": 0})
    run.close()
    path = run.folder / "metrics.jsonl"
    path.write_bytes(path.read_bytes() + b'{"epo')
    assert Run.open(run.folder).metrics() == [{"epoch": 0}]
    with Run.open(run.folder) as later:
        later.append_metrics({"epoch": 1})
        assert later.metrics() == [{"epoch": 0}, {"epoch": 1}]


def test_a_line_that_is_no_json_is_named(run):
    (run.folder / "metrics.jsonl").write_text('{"epoch": 0}\nepoch 1\n')
    with pytest.raises(UserError, match=r"line 2 of .*metrics.jsonl"):
        run.metrics()


def test_a_run_without_metrics_has_none(run):
    (run.folder / "metrics.jsonl").unlink()
    assert (run.metrics(), run.metrics_offset()) == ([], 0)
    run.truncate_metrics(0)


# Checkpoints


def test_a_checkpoint_replaces_the_one_before(run):
    assert not run.has_checkpoint("last")
    for epoch in range(3):
        run.save_checkpoint("last", {"a": torch.full((2,), float(epoch))}, {"epoch": epoch})
    assert run.has_checkpoint("last")
    tensors, state = Run.open(run.folder).load_checkpoint("last")
    assert (tensors["a"].tolist(), state) == ([2, 2], {"epoch": 2})
    assert os.listdir(run.folder / "checkpoints") == ["last.safetensors"]


def test_a_missing_checkpoint_names_the_others(run):
    with pytest.raises(UserError, match=r"expected a checkpoint best .* found none; there is no other"):
        run.load_checkpoint("best")
    run.save_checkpoint("last", {}, {})
    with pytest.raises(UserError, match="found none; there is: last"):
        run.load_checkpoint("best")


def test_a_damaged_checkpoint_is_a_user_error(run):
    for name in ("best", "last"):
        run.save_checkpoint(name, {"a": torch.ones(100)}, {})
    path = run.folder / "checkpoints" / "last.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(SealError, match=r"last.safetensors as it was written.*there is: best"):
        run.load_checkpoint("last")
    # a checkpoint has a checksum of its own, for whoever has it without the seal
    (run.folder / SEAL).unlink()
    with pytest.raises(
        UserError, match=r"whole checkpoint in .*last.safetensors, found a damaged one.*there is: best"
    ):
        run.load_checkpoint("last")
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(UserError, match="its checksum is wrong"):
        run.load_checkpoint("last")
    path.write_bytes(whole.replace(b'"version":"1"', b'"version":"9"'))
    with pytest.raises(UserError, match=r"format 1 in .*, found format 9; use the version"):
        run.load_checkpoint("last")


# The lock

HOLD = """
    import sys
    from ostinato.runs.folder import Run
    run = Run.open(sys.argv[1]).lock()
    print("held", flush=True)
    sys.stdin.read()
"""


def test_two_processes_cannot_train_in_one_folder(run, in_a_process):
    run.append_metrics({"epoch": 0})
    run.close()
    with in_a_process(HOLD, run.folder, stdin=subprocess.PIPE) as other:
        assert other.stdout.readline() == "held\n"
        reader = Run.open(run.folder)
        assert reader.metrics() == [{"epoch": 0}]
        for write in (
            reader.lock,
            lambda: reader.append_metrics({}),
            lambda: reader.truncate_metrics(0),
            lambda: reader.save_checkpoint("last", {}, {}),
        ):
            with pytest.raises(UserError, match=f"in use by process {other.pid}; wait"):
                write()
        assert reader.metrics() == [{"epoch": 0}]
        other.kill()
        other.wait()
        reader.append_metrics({"epoch": 1})  # the lock died with its process
        reader.close()


def test_one_process_cannot_train_in_it_twice(run):
    other = Run.open(run.folder)
    with pytest.raises(UserError, match=f"in use by process {os.getpid()}"):
        other.lock()
    run.close()
    with other.lock():
        assert other.lock() is other
    run.append_metrics({})


def test_reading_changes_nothing(run):
    run.save_checkpoint("last", {}, {})
    run.close()
    (run.folder / ".lock").unlink()
    reader = Run.open(run.folder)
    reader.config(), reader.metrics(), reader.load_checkpoint("last")
    assert not (run.folder / ".lock").exists()
