"""A study that is extended: the trials that it would have had, results anew, workers that notice."""

import json
import threading

import pytest
from optuna.trial import TrialState, create_trial

from ostinato import seal
from ostinato.errors import UserError
from ostinato.search import Worker, create_study, finish, join_study, read_study
from ostinato.search.worker import SilentStudyMonitor

SAMPLERS = ["random", "tpe"]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_more_trials_go_on_and_are_those_of_a_study_made_so(ostinato, small, tmp_path, trials_of, sampler):
    options = ("--sampler", sampler)
    assert ostinato("search", *small(2), "--study", "s", *options, "--quiet")[0] == 0
    first = trials_of(tmp_path / "s")
    code, _, err = ostinato("search", *small(4), "--study", "s", *options)
    assert code == 0, err
    assert "extended from 2 to 4 trials: s" in err
    assert trials_of(tmp_path / "s")[:2] == first
    assert ostinato("search", *small(4), "--study", "whole", *options, "--quiet")[0] == 0
    assert trials_of(tmp_path / "s") == trials_of(tmp_path / "whole")
    kept, whole = (read_study(tmp_path / name)["results"] for name in ("s", "whole"))
    assert kept["trials"] == {"complete": 4, "pruned": 0, "failed": 0}
    assert kept["study"] == whole["study"]
    assert kept["chosen"] == whole["chosen"]


def test_without_trials_or_with_fewer_it_keeps_what_it_has(ostinato, small, tmp_path):
    data, options = small(3)[:4], small(3)[6:]
    assert ostinato("search", *small(3), "--study", "s", "--quiet")[0] == 0
    written = (tmp_path / "s" / "results.json").read_bytes()
    code, _, err = ostinato("search", *data, *options, "--study", "s")
    assert code == 0, err
    assert "already" not in err
    code, _, err = ostinato("search", *small(2), "--study", "s", "--quiet")
    assert code == 0
    assert err == "the study s has 3 trials already; --trials 2 takes none away: it goes on to 3\n"
    assert (tmp_path / "s" / "results.json").read_bytes() == written
    assert read_study(tmp_path / "s")["settings"].trials == 3


def test_whoever_joins_may_extend(ostinato, small, tmp_path):
    assert ostinato("search", *small(1), "--study", "s", "--quiet")[0] == 0
    code, _, err = ostinato("search", "--join", "s", "--trials", "2", "--quiet")
    assert code == 0, err
    assert len(read_study(tmp_path / "s")["trials"]) == 2
    for option in (("--sampler", "tpe"), ("--no-pruning",), ("--heartbeat", "3")):
        code, _, err = ostinato("search", "--join", "s", *option)
        assert (code, err.count("\n")) == (2, 1)
        assert "expected --join without settings" in err


def test_the_first_default_folder_of_the_same_study_is_extended(ostinato, small, tmp_path):
    assert ostinato("search", *small(1), "--quiet")[0] == 0
    assert ostinato("search", *small(2), "--quiet")[0] == 0
    (folder,) = (tmp_path / "studies").iterdir()
    assert len(read_study(folder)["trials"]) == 2


def test_a_worker_at_the_old_number_goes_on_with_the_new(data_and_settings, tmp_path):
    data, settings = data_and_settings(2)
    study = create_study(tmp_path / "s", settings)

    class Extends(SilentStudyMonitor):
        def ended(self, number, records):
            if number == 1:  # the last that the worker knows of
                create_study(tmp_path / "s", data_and_settings(4)[1])

    Worker(study, data, monitor=Extends()).work()
    assert [record["state"] for record in study.records()] == ["complete"] * 4
    assert finish(study, data)["trials"]["complete"] == 4


def test_results_of_more_trials_are_not_replaced_by_those_of_fewer(data_and_settings, tmp_path):
    data, settings = data_and_settings(1)
    slow = create_study(tmp_path / "s", settings)
    Worker(slow, data).work()
    study = create_study(tmp_path / "s", data_and_settings(2)[1])
    Worker(study, data).work()
    summary = finish(study, data)
    assert finish(slow, data) == summary
    assert summary["study"]["study"]["trials"] == 2


# Studies of version 0.1.0, whose trials all waited from the beginning


def enqueue(study, trials):
    for _ in range(trials):
        study.optuna.add_trial(create_trial(state=TrialState.WAITING))


def test_a_study_whose_trials_wait_goes_on_and_is_extended(data_and_settings, tmp_path, trials_of):
    data, settings = data_and_settings(3)
    study = create_study(tmp_path / "old", settings)
    enqueue(study, 3)
    study.claim().hold.release()  # and its worker dies
    retried = study.claim()
    assert (retried.number, retried.trial.number) == (0, 3)
    retried.hold.release()
    longer = create_study(tmp_path / "old", data_and_settings(5)[1])
    Worker(longer, data).work()
    whole = create_study(tmp_path / "whole", data_and_settings(5)[1])
    Worker(whole, data).work()
    assert trials_of(tmp_path / "old") == trials_of(tmp_path / "whole")
    assert [record["attempts"] for record in longer.records()] == [3, 1, 1, 1, 1]


def test_numbers_have_no_gap_where_a_trial_was_retried(data_and_settings, tmp_path):
    _, settings = data_and_settings(4)
    study = create_study(tmp_path / "s", settings)
    first = study.claim()
    first.hold.release()
    taken = [study.claim() for _ in range(4)]
    assert [attempt.number for attempt in taken] == [0, 1, 2, 3]
    assert [attempt.trial.number for attempt in taken] == [1, 2, 3, 4]
    assert study.claim() is None
    drawn = [settings.space.suggest(attempt.trial) for attempt in taken]
    assert drawn == [settings.space.sample(0, number) for number in range(4)]


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_threads_claim_each_trial_once(data_and_settings, tmp_path):
    _, settings = data_and_settings(12)
    create_study(tmp_path / "s", settings)
    taken, wrong = [], []

    def work():
        try:
            study = join_study(str(tmp_path / "s"))
            while (attempt := study.claim()) is not None:
                taken.append(attempt)  # a worker that forgets its attempt lets go of it
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert sorted(attempt.number for attempt in taken) == list(range(12))


def test_a_file_that_is_no_study_any_more_is_a_mistake(data_and_settings, tmp_path):
    _, settings = data_and_settings(1)
    create_study(tmp_path / "s", settings)
    (tmp_path / "s" / "study.toml").write_text("trials = ")
    with pytest.raises(UserError, match=r"study\.toml as it was written"):
        join_study(str(tmp_path / "s"))
    (tmp_path / "s" / "seal.json").unlink()
    with seal.telling(lambda _: None), pytest.raises(UserError, match="expected TOML"):
        join_study(str(tmp_path / "s"))


def test_trials_json_is_a_list_of_records(data_and_settings, tmp_path):
    data, settings = data_and_settings(2)
    study = create_study(tmp_path / "s", settings)
    study.write_snapshot()
    assert json.loads((tmp_path / "s" / "trials.json").read_text()) == []
    Worker(study, data).work()
    assert json.loads((tmp_path / "s" / "trials.json").read_text()) == study.records()
