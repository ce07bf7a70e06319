"""One study in one process: what it leaves, and who may take which trial."""

import json
import shutil

import pytest
from optuna.trial import TrialState, create_trial

from ostinato.domains.domain import load_data
from ostinato.errors import UserError
from ostinato.recipe.recipe import Recipe
from ostinato.runs.finish import train_in
from ostinato.search import (
    Worker,
    choose,
    create_study,
    finish,
    join_study,
    read_study,
    sampling,
    worker,
)
from ostinato.search.worker import SilentStudyMonitor
from ostinato.training.monitor import Diverged, Interrupted


def searched(folder, data, settings):
    study = create_study(folder, settings)
    Worker(study, data).work()
    return study


class Told(SilentStudyMonitor):
    """Writes down the trials that have ended."""

    def __init__(self, numbers):
        self.numbers = numbers

    def ended(self, number, records):
        self.numbers.append(number)


# What a study leaves


def test_every_trial_is_a_run_and_the_best_is_scored_once(ostinato, small, tmp_path):
    folder = tmp_path / "study"
    code, out, err = ostinato("search", *small(), "--study", folder, "--json")
    assert code == 0, err
    results = json.loads(out)
    kept = read_study(folder)
    assert kept["results"] == results
    records = kept["trials"]
    assert [r["number"] for r in records] == [0, 1, 2, 3]
    assert {r["state"] for r in records} == {"complete"}
    best = max(records, key=lambda r: r["value"])
    assert results["chosen"]["number"] == best["number"]
    assert results["chosen"]["valid"] == best["value"]
    # the score of the chosen model, computed anew, and that the trial reported are one
    scores = results["results"]["results"]["model"]
    assert scores["valid"]["log_likelihood"]["value"] == pytest.approx(best["value"], abs=1e-5)
    assert "test" in scores
    # nobody has looked at the test songs for any other trial
    assert [p.parent.name for p in folder.glob("trials/*/results.json")] == [f"{best['number']:04}"]
    assert results["intervals"]["leak_fraction"] == {"choices": [0.0, 0.5]}
    assert results["trials"] == {"complete": 4, "pruned": 0, "failed": 0}
    code, _, err = ostinato("evaluate", folder / best["folder"])
    assert code == 0, err


def test_settings_are_those_that_seed_and_number_give(data_and_settings, tmp_path):
    data, settings = data_and_settings()
    study = searched(tmp_path / "study", data, settings)
    for record in study.records():
        assert record["params"] == settings.space.sample(0, record["number"])
        run = study.trial_folder(record["number"]) / "config.toml"
        assert Recipe.read_settings(run)["learning_rate"] == record["params"]["learning_rate"]


def test_the_same_command_goes_on_where_it_is_and_without_a_folder_too(ostinato, small, tmp_path):
    code, first, err = ostinato("search", *small(2), "--json")
    assert code == 0, err
    (folder,) = (tmp_path / "studies").iterdir()
    written = (folder / "results.json").stat().st_mtime_ns
    code, again, _ = ostinato("search", *small(2), "--json")
    assert (code, again) == (0, first)
    assert (folder / "results.json").stat().st_mtime_ns == written
    # another study, another folder
    assert ostinato("search", *small(1, 3), "--quiet")[0] == 0
    assert len(list((tmp_path / "studies").iterdir())) == 2


def test_a_study_that_was_moved_goes_on(data_and_settings, tmp_path):
    data, settings = data_and_settings()
    before = searched(tmp_path / "a", data, settings).records()
    (tmp_path / "a").rename(tmp_path / "b")
    assert join_study(str(tmp_path / "b")).records() == before


def test_tpe_follows_the_seed_and_not_the_process(data_and_settings, tmp_path):
    data, settings = data_and_settings(14, sampler="tpe")
    params = [r["params"] for r in searched(tmp_path / "a", data, settings).records()]
    for _ in settings.to_dict():  # in three goes
        study = create_study(tmp_path / "b", settings)
        told = []
        with pytest.raises(Interrupted):
            Worker(
                study,
                data,
                stop_requested=lambda told=told: 2 * (len(told) >= 4),
                monitor=Told(told),
            ).work()
    assert [r["params"] for r in searched(tmp_path / "b", data, settings).records()] == params
    assert len({p["learning_rate"] for p in params}) == 14


def test_a_run_that_was_not_trained_to_its_end_is_never_scored(data_and_settings, tmp_path):
    data, settings = data_and_settings()
    study = searched(tmp_path / "study", data, settings)
    folder = study.trial_folder(choose(study.records())["number"])
    # as on a machine that was cut off from the others, and came to something else
    shorter = Recipe.from_dict(Recipe.read_settings(folder / "config.toml")).replace(epochs=1, seed=1)
    shutil.rmtree(folder)
    train_in(folder, shorter, data)
    assert finish(study, data) is None
    assert read_study(tmp_path / "study")["results"] is None


# Hopeless trials


def test_a_trial_that_diverges_has_failed_and_the_others_go_on(data_and_settings, tmp_path, monkeypatch):
    data, settings = data_and_settings()
    train = worker.train_in

    def diverge(folder, *arguments, **options):
        if folder.name == "0001":
            raise Diverged("training diverged: too fast")
        return train(folder, *arguments, **options)

    monkeypatch.setattr(worker, "train_in", diverge)
    study = searched(tmp_path / "study", data, settings)
    records = study.records()
    assert [r["state"] for r in records] == ["complete", "failed", "complete"]
    assert records[1]["value"] is None
    assert records[1]["reason"] == "training diverged: too fast"
    assert finish(study, data)["trials"] == {"complete": 2, "pruned": 0, "failed": 1}


def test_settings_that_do_not_go_together_are_a_failed_trial(data_and_settings, tmp_path):
    data, settings = data_and_settings(1, space={"dropout": {"choices": [0.5]}})
    study = searched(tmp_path / "study", data, settings)
    (record,) = study.records()
    assert record["state"] == "failed"
    assert "dropout acts between layers" in record["reason"]
    with pytest.raises(UserError, match="dropout acts between layers"):
        finish(study, data)


def test_an_error_of_the_machine_is_no_outcome(data_and_settings, tmp_path, monkeypatch):
    data, settings = data_and_settings()
    train = worker.train_in

    def full(folder, *arguments, **options):
        if folder.name == "0001":
            raise UserError("no space left")
        return train(folder, *arguments, **options)

    monkeypatch.setattr(worker, "train_in", full)
    with pytest.raises(UserError, match="no space left"):
        searched(tmp_path / "study", data, settings)
    assert [r["state"] for r in read_study(tmp_path / "study")["trials"]] == ["complete", "running"]
    monkeypatch.setattr(worker, "train_in", train)
    records = searched(tmp_path / "study", data, settings).records()
    assert [r["state"] for r in records] == ["complete"] * 3
    assert [r["attempts"] for r in records] == [1, 2, 1]


def test_what_is_below_the_median_is_pruned_and_not_chosen(data_and_settings, tmp_path, monkeypatch):
    monkeypatch.setattr(sampling, "STARTUP_TRIALS", 1)
    monkeypatch.setattr(sampling, "WARMUP_EPOCHS", 0)
    data, settings = data_and_settings(6, pruning=True)
    study = searched(tmp_path / "study", data, settings)
    records = study.records()
    pruned = [r for r in records if r["state"] == "pruned"]
    assert pruned
    assert records[0]["state"] == "complete"
    for record in pruned:
        assert record["epochs"] == 1
        assert record["value"] < choose(records)["value"]
    _, settings = data_and_settings(6, pruning=False)
    records = searched(tmp_path / "other", data, settings).records()
    assert {r["state"] for r in records} == {"complete"}


def test_a_pruned_trial_is_never_chosen_and_the_first_of_equals_is():
    records = [
        {"number": 0, "state": "pruned", "value": -1.0},
        {"number": 1, "state": "complete", "value": -3.0},
        {"number": 2, "state": "complete", "value": -2.0},
        {"number": 3, "state": "complete", "value": -2.0},
        {"number": 4, "state": "running", "value": None},
    ]
    assert choose(records)["number"] == 2


# Who takes what


def test_two_workers_never_have_one_trial(data_and_settings, tmp_path):
    _, settings = data_and_settings()
    first = create_study(tmp_path / "study", settings)
    second = join_study(str(tmp_path / "study"))
    taken = [first.claim(), second.claim(), first.claim()]
    assert [a.number for a in taken] == [0, 1, 2]
    assert second.claim() is None
    assert not second.finished()


def test_a_dead_workers_trial_is_taken_again_with_its_number_and_settings(data_and_settings, tmp_path):
    _, settings = data_and_settings()
    study, other = create_study(tmp_path / "study", settings), join_study(str(tmp_path / "study"))
    attempt = study.claim()
    drawn = settings.space.suggest(attempt.trial)
    attempt.trial.report(-9.0, 0)
    attempt.hold.release()  # as the end of its process does
    again = other.claim()
    assert again.number == 0
    assert again.trial.number == 1
    assert settings.space.suggest(again.trial) == drawn
    assert again.reported == {0: -9.0}
    # the first worker was not dead after all: what it says counts no more
    assert not attempt.settle(TrialState.COMPLETE, -1.0, {})
    assert again.settle(TrialState.COMPLETE, -8.0, {})
    (record,) = study.records()
    assert (record["number"], record["state"], record["value"], record["attempts"]) == (
        0,
        "complete",
        -8.0,
        2,
    )


def test_a_trial_given_back_is_the_next_to_be_taken(data_and_settings, tmp_path):
    _, settings = data_and_settings()
    study = create_study(tmp_path / "study", settings)
    study.claim().give_back()
    assert [r["state"] for r in study.records()] == ["running"]
    assert study.claim().number == 0


def test_a_study_half_made_is_completed(data_and_settings, tmp_path):
    _, settings = data_and_settings()
    study = create_study(tmp_path / "study", settings)
    for _ in range(2):  # two machines that make it at once enqueue too many
        study.optuna.add_trial(create_trial(state=TrialState.WAITING))
    taken = [study.claim() for _ in range(3)]
    assert [attempt.number for attempt in taken] == [0, 1, 2]
    assert study.claim() is None


def test_a_journal_with_half_a_line_is_read_and_written_on(data_and_settings, tmp_path):
    _, settings = data_and_settings()
    study = create_study(tmp_path / "study", settings)
    first = study.claim()
    with open(tmp_path / "study" / "journal.log", "ab") as file:
        file.write(b'{"op_code":5,"wor')
    other = join_study(str(tmp_path / "study"))
    second = other.claim()
    third = join_study(str(tmp_path / "study")).claim()
    assert [attempt.number for attempt in (first, second, third)] == [0, 1, 2]


def test_other_data_are_refused(data_and_settings, tmp_path):
    _, settings = data_and_settings()
    study = create_study(tmp_path / "study", settings)
    next((tmp_path / "songs").glob("*.mid")).unlink()
    with pytest.raises(UserError, match="expected the data of the study"):
        Worker(study, load_data(settings.recipe, progress=False))


# Mistakes


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (("--trials", "0"), "--trials of at least 1, found 0"),
        (("--workers", "0"), "--workers of at least 1, found 0"),
        (("--heartbeat", "0"), "heartbeat of at least 1, found 0"),
        (("--learning-rate", "0.1"), "learning_rate is given and searched"),
        (("--space", "nothing.toml"), "cannot read nothing.toml"),
        (("--storage", "mysql://db/x"), "expected --storage postgresql://USER@HOST/DATABASE"),
        (("--storage", "postgresql://me:secret@127.0.0.1:9/x"), "expected a PostgreSQL database at"),
        (("--sampler", "grid"), "grid"),
        (("--study", "songs"), "found other files in songs"),
        (("--join", "nothing"), "expected --join without settings"),
    ],
)
def test_a_mistake_is_one_line(ostinato, small, options, found):
    given = list(small())
    if options[0] in given:
        place = given.index(options[0])
        del given[place : place + 2]
    code, out, err = ostinato("search", *given, *options)
    assert (code, out) == (2, "")
    assert err.startswith("ostinato: ")
    assert err.count("\n") == 1
    assert found in err
    assert "secret" not in err


def test_joining_nothing_is_a_mistake(ostinato):
    code, _, err = ostinato("search", "--join", "nothing")
    assert (code, err.count("\n")) == (2, 1)
    assert "expected a study at nothing" in err


def test_a_task_has_no_intervals(ostinato):
    code, _, err = ostinato("search", "delays")
    assert code == 2
    assert "expected --space FILE.toml for delays" in err


def test_a_study_keeps_its_settings(ostinato, small, tmp_path):
    assert ostinato("search", *small(1), "--study", "s", "--quiet")[0] == 0
    code, _, err = ostinato("search", *small(2, 3), "--study", "s", "--sampler", "tpe")
    assert code == 2
    assert "sampler = 'tpe' (the study has 'random')" in err
    assert "trials =" not in err
    assert "epochs = 3 (the study has 2)" in err
    (tmp_path / "s" / "study.toml").write_text("= 1")
    code, _, err = ostinato("search", "--join", "s")
    assert (code, err.count("\n")) == (2, 1)
    assert "s/study.toml as it was written" in err
