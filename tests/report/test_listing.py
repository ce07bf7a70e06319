import dataclasses
import json
import math
import re
import shutil

import pytest
import tomli_w

from ostinato.errors import UserError
from ostinato.files import FileLock
from ostinato.report.listing import check_removable, differences, list_runs, remove_run
from ostinato.runs.folder import Run

RECORDS = [
    {"epoch": 0, "train_log_likelihood": -9.0, "valid_log_likelihood": -9.5, "best": True},
    {"event": "non-finite gradient", "epoch": 1},
    {"epoch": 1, "train_log_likelihood": -8.0, "valid_log_likelihood": -8.5, "best": True},
    {"epoch": 2, "train_log_likelihood": -7.0, "valid_log_likelihood": -8.9, "best": False},
]
SCORE = {
    "value": -8.6,
    "unit": "nats/frame",
    "convention": "pooled",
    "count": 9,
    "songs": 3,
    "standard_error": 0.1,
    "estimate": False,
}
TEST = {"log_likelihood": SCORE}


def make(folder, records=RECORDS, *, results: dict | None = None, **settings):
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(tomli_w.dumps({"data": "jsb", "recipe": "SGD+C"} | settings))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    if results is not None:
        (folder / "results.json").write_text(json.dumps(results))
    return folder


def results(epochs: int, test: dict | None = None) -> dict:
    training = {"epochs": epochs, "threads": 1}
    return {"recipe": {}, "results": {"model": {"test": test or TEST}}, "training": training}


def only(folder):
    (run,) = list_runs(folder)
    return run


def test_a_finished_run(tmp_path) -> None:
    make(tmp_path / "a", results=results(3), task="music", output="nade")
    run = only(tmp_path)
    assert (run.name, run.state, run.kind, run.data, run.recipe) == ("a", "finished", "music", "jsb", "SGD+C")
    assert (run.output, run.epochs, run.measure, run.validation) == ("nade", 3, "log_likelihood", -8.5)
    assert (run.test, run.log_likelihood) == (-8.6, -8.5)
    json.dumps(run.to_dict(), allow_nan=False)


def test_the_folder_of_a_run_lists_it(tmp_path) -> None:
    assert only(make(tmp_path / "a")).name == "a"


def test_stopped_not_begun_running(tmp_path) -> None:
    make(tmp_path / "a")
    make(tmp_path / "b", records=[])
    with Run.create(tmp_path / "c", {"data": "jsb"}):
        assert [run.state for run in list_runs(tmp_path)] == ["stopped", "not begun", "running"]
    assert [run.state for run in list_runs(tmp_path)] == ["stopped", "not begun", "not begun"]


def test_scores_from_before_further_epochs_do_not_count(tmp_path) -> None:
    make(tmp_path / "a", results=results(2))
    assert (only(tmp_path).state, only(tmp_path).test) == ("stopped", None)


def test_what_people_quote_of_text_and_of_tasks_and_of_an_rbm(tmp_path) -> None:
    text = {"valid_log_likelihood": -5.0, "valid_perplexity": 148.4, "best": True}
    make(
        tmp_path / "a",
        [text],
        results=results(1, TEST | {"perplexity": SCORE | {"value": 150.0}}),
        task="words",
    )
    run = only(tmp_path)
    assert (run.measure, run.validation, run.test, run.log_likelihood) == ("perplexity", 148.4, 150.0, -5.0)
    shutil.rmtree(tmp_path / "a")
    rbm = {"valid_pseudo_log_likelihood": -11.0, "best": True}
    make(tmp_path / "a", [rbm], results=results(1))
    run = only(tmp_path)
    assert (run.measure, run.validation, run.test) == ("pseudo_log_likelihood", -11.0, -8.6)
    assert run.test_measure == "log_likelihood"


def test_what_is_no_run_or_damaged_is_listed_as_that(tmp_path) -> None:
    (tmp_path / "a-foreign").mkdir()
    (tmp_path / "file").write_text("no folder")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "b-study").mkdir()
    (tmp_path / "b-study" / "study.toml").write_text("")
    (make(tmp_path / "c") / "config.toml").write_text("= no TOML")
    (make(tmp_path / "d") / "metrics.jsonl").write_text("{no JSON}\n")
    make(tmp_path / "e", results=results(3))
    (tmp_path / "e" / "results.json").write_text("[1, 2]")
    (make(tmp_path / "f") / "config.toml").write_text('other = "program"\n')
    (make(tmp_path / "g") / "results.json").write_text('{"results": 3, "training": {"epochs": 3}}')
    states = {run.name: run.state for run in list_runs(tmp_path)}
    assert not any(run.is_run for run in list_runs(tmp_path))
    assert states["a-foreign"] == "no run"
    assert states["b-study"] == "no run: a study"
    assert states["f"] == "no run: config.toml has no data"
    for name in "cdeg":
        assert states[name].startswith("damaged: "), states[name]
    assert set(states) == {"a-foreign", "b-study", *"cdefg"}


def test_a_folder_that_may_not_be_read_is_not_called_damaged(tmp_path, monkeypatch) -> None:
    make(tmp_path / "a")

    def refused(folder, name):
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr("ostinato.report.listing._read", refused)
    assert [run.state for run in list_runs(tmp_path)] == ["cannot be read: Permission denied"]


@pytest.mark.parametrize(
    ("records", "test", "found"),
    [
        ([1], TEST, "line 1 of .*expected an object, found 1"),
        (["valid"], TEST, "expected an object, found 'valid'"),
        ([{"valid_log_likelihood": "high"}], TEST, "a number at valid_log_likelihood"),
        ([{"valid_log_likelihood": -1.0, "epoch": True}], TEST, "a whole number at epoch|a number at epoch"),
        (RECORDS, {"log_likelihood": SCORE | {"value": "high"}}, "a number at results.model.test.log_likeli"),
        (RECORDS, {"log_likelihood": SCORE | {"value": math.nan}}, "likelihood.value, found nan"),
        (RECORDS, {"log_likelihood": SCORE | {"songs": 10**30}}, "songs, found one of more than 19 digits"),
        (RECORDS, {"log_likelihood": {}}, "expected results.model.test.log_likelihood.value, found none"),
    ],
)
def test_records_of_another_make_are_listed_as_damaged(tmp_path, records, test, found) -> None:
    make(tmp_path / "a", records, results=results(3, test))
    run = only(tmp_path)
    assert not run.is_run
    assert re.search(f"^damaged: .*{found}", run.state), run.state


def test_a_score_that_is_none_is_none(tmp_path) -> None:
    make(tmp_path / "a", [{"valid_log_likelihood": None}])
    assert (only(tmp_path).validation, only(tmp_path).epochs) == (None, 1)


def test_no_folder(tmp_path) -> None:
    with pytest.raises(UserError, match=r"expected a folder of runs at .*nowhere, found nothing there"):
        list_runs(tmp_path / "nowhere")


def test_differences_of_settings_and_circumstances(tmp_path) -> None:
    make(tmp_path / "a", results=results(3), seed=1, l1=0.5)
    make(tmp_path / "b", results=results(3), seed=2, l1=0.5)
    make(tmp_path / "c", seed=1)
    runs = list_runs(tmp_path)
    assert differences(runs[:2]) == {"seed": [1, 2]}
    assert differences(runs) == {
        "seed": [1, 2, 1],
        "l1": [0.5, 0.5, None],
        "threads (training)": [1, 1, None],
    }
    other = dataclasses.replace(runs[0], training={"environment": {"torch": "1.0"}})
    assert differences([runs[0], other]) == {
        "threads (training)": [1, None],
        "torch (training)": [None, "1.0"],
    }


def test_removing_takes_the_whole_folder_and_nothing_else(tmp_path) -> None:
    make(tmp_path / "a")
    make(tmp_path / "b")
    check_removable(tmp_path / "a")
    remove_run(tmp_path / "a")
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_what_is_not_removed(tmp_path) -> None:
    (tmp_path / "foreign").mkdir()
    with pytest.raises(UserError, match="expected a run folder"):
        check_removable(tmp_path / "foreign")
    make(tmp_path / "project")
    (tmp_path / "project" / "config.toml").write_text('title = "a web site"\n')
    with pytest.raises(UserError, match=r"found no run: config\.toml has no data"):
        check_removable(tmp_path / "project")
    make(tmp_path / "other")
    (tmp_path / "other" / "metrics.jsonl").unlink()
    with pytest.raises(UserError, match="expected a run"):
        check_removable(tmp_path / "other")
    make(tmp_path / "a")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    with pytest.raises(UserError, match="found a link"):
        check_removable(tmp_path / "link")
    lock = FileLock(tmp_path / "a" / ".lock")
    with pytest.raises(UserError, match="is running; stop it"):
        check_removable(tmp_path / "a")
    with pytest.raises(UserError, match="in use"):
        remove_run(tmp_path / "a")
    lock.release()
    make(tmp_path / "study" / "trials" / "0")
    (tmp_path / "study" / "study.toml").write_text("")
    with pytest.raises(UserError, match="is a trial of the study study"):
        check_removable(tmp_path / "study" / "trials" / "0")
    assert (tmp_path / "a").is_dir()
