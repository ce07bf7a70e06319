"""Many workers that share a PostgreSQL server, which the test starts; some of them are killed."""

import collections
import json
import time

import pytest
import sqlalchemy

pytestmark = pytest.mark.slow


def attempts_in_database(url, name):
    """What the database says: (number of the trial, state) of every attempt."""
    engine = sqlalchemy.create_engine(url.replace("postgresql", "postgresql+psycopg"))
    with engine.connect() as connection:
        rows = connection.execute(
            sqlalchemy.text(
                "select t.number, t.state, a.value_json from trials t join studies s using (study_id) "
                "left join trial_system_attributes a on a.trial_id = t.trial_id and a.key = 'failed_trial' "
                "where s.study_name = :name order by t.number"
            ),
            {"name": name},
        ).all()
    engine.dispose()
    firsts = [number for number, _, root in rows if root is None]
    return [(firsts.index(n if root is None else json.loads(root)), str(state)) for n, state, root in rows]


def test_two_of_four_workers_are_killed(server, ostinato, small, started, in_training, tmp_path, trials_of):
    folder = tmp_path / "shared"
    # long enough that the first worker is not done before the others have started
    arguments = (*small(6, 500), "--heartbeat", "2")
    options = ("--storage", server, "--checkpoint-seconds", "0.2")
    workers = [started(*arguments, "--study", folder, *options)]
    end = time.monotonic() + 60
    while not (folder / "study.toml").exists() and time.monotonic() < end:
        time.sleep(0.05)
    workers += [started("--join", folder, *options) for _ in range(3)]
    killed = []
    for worker in workers[1:3]:
        killed.append(in_training(folder, worker))
        worker.kill()
    for worker in (workers[0], workers[3]):
        assert worker.wait(timeout=120) == 0, worker.stdout.read()

    rows = attempts_in_database(server, "shared")
    complete = collections.Counter(root for root, state in rows if state == "COMPLETE")
    assert complete == dict.fromkeys(range(6), 1)
    failed = collections.Counter(root for root, state in rows if state == "FAIL")
    # at least: on a busy machine a worker may be so slow as to be taken for dead, which must do no harm
    assert failed >= collections.Counter(int(name) for name in killed)

    code, _, err = ostinato("search", *arguments, "--study", tmp_path / "alone", "--quiet")
    assert code == 0, err
    assert trials_of(folder) == trials_of(tmp_path / "alone")
    results = [json.loads((path / "results.json").read_text()) for path in (folder, tmp_path / "alone")]
    assert results[0]["chosen"] == results[1]["chosen"]
    assert results[0]["results"]["results"] == results[1]["results"]["results"]


def test_a_worker_with_a_folder_of_its_own_begins_a_dead_ones_trial_anew(
    server, ostinato, small, started, in_training, tmp_path, trials_of
):
    arguments = (*small(2, 80), "--heartbeat", "2")
    first = started(*arguments, "--study", tmp_path / "here" / "apart", "--storage", server)
    in_training(tmp_path / "here" / "apart", first)
    first.kill()
    there = tmp_path / "there" / "apart"
    code, _, err = ostinato("search", "--join", "apart", "--storage", server, "--study", there, "--quiet")
    assert code == 0, err
    assert ostinato("search", *arguments, "--study", tmp_path / "alone", "--quiet")[0] == 0
    assert trials_of(there) == trials_of(tmp_path / "alone")
    # the first machine, back again, has nothing to train, and not the chosen run
    code, _, err = ostinato("search", *arguments, "--study", tmp_path / "here" / "apart", "--storage", server)
    assert code == 2
    assert "its run is not in" in err
    # nor a folder that is not there
    code, _, err = ostinato("search", "--join", tmp_path / "nowhere" / "apart", "--storage", server)
    assert (code, err.count("\n")) == (2, 1)
    assert "give its name alone, apart" in err
    # another study of the same name
    code, _, err = ostinato("search", *small(2, 3), "--study", tmp_path / "x" / "apart", "--storage", server)
    assert (code, err.count("\n")) == (2, 1)
    assert "epochs = 3 (the study has 80)" in err
    code, _, err = ostinato("search", "--join", "apar", "--storage", server)
    assert (code, err.count("\n")) == (2, 1)
    assert "did you mean apart" in err
