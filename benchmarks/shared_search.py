"""What a study of many trials in a PostgreSQL database costs its workers; whether each trial has one worker.

    python benchmarks/shared_search.py --storage postgresql://USER@HOST/DATABASE

Fills a study with trials that have ended, of 100 epochs; then as many workers as are asked for, each a
process of its own, take what is left, tell 12 epochs each (with a pause before each, in place of training),
ask after each whether the trial is hopeless, and end it. Prints the median and the 95th percentile of each
call's milliseconds, and of the worker's own CPU time in it. Then many workers at once, as threads of some
processes, take the trials of another study: none may be taken twice, and none may be left out. The server
has to allow three connections for each of them (max_connections).
"""

import argparse
import collections
import multiprocessing
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy
from optuna.trial import TrialState

from ostinato.recipe import Recipe
from ostinato.search import Space, Study, StudySettings, create_study, join_study
from ostinato.search.sampling import is_hopeless
from ostinato.search.storage import database_url, quiet_optuna

SPACE = {
    "hidden_size": {"low": 100, "high": 400},
    "learning_rate": {"low": 1e-4, "high": 1e-1, "log": True},
    "leak_fraction": {"choices": [0.0, 0.25, 0.5]},
}
EPOCHS_TOLD = 12
# Trials as ended ones look like, but for their numbers: every third pruned in its tenth epoch.
FILL = (
    """
    insert into trials (study_id, number, state, datetime_start, datetime_complete)
    select :study, number, cast(case when number % 3 = 0 then 'PRUNED' else 'COMPLETE' end as trialstate),
        now(), now()
    from generate_series(0, :trials - 1) number
    """,
    """
    insert into trial_values (trial_id, objective, value, value_type)
    select trial_id, 0, -9 + random(), 'FINITE' from trials where study_id = :study
    """,
    """
    insert into trial_intermediate_values (trial_id, step, intermediate_value, intermediate_value_type)
    select trial_id, step, -10 + step / 100.0 + random(), 'FINITE'
    from trials, generate_series(0, 99) step
    where study_id = :study and (state = 'COMPLETE' or step < 10)
    """,
    """
    insert into trial_user_attributes (trial_id, key, value_json)
    select trial_id, key, value from trials,
        (values ('host', '"a"'), ('outcome', '"complete"'), ('epochs', '100'), ('seconds', '9.5'))
            as facts (key, value)
    where study_id = :study
    """,
    """
    insert into trial_params (trial_id, param_name, param_value, distribution_json)
    select t.trial_id, p.param_name, p.param_value, p.distribution_json from trials t, trial_params p
    where t.study_id = :study and p.trial_id = :drawn and t.trial_id <> :drawn
    """,
    "analyze",
)


def settings(trials: int, sampler: Any) -> StudySettings:
    return StudySettings(
        recipe=Recipe.parse("SGD+CL"),
        space=Space.from_toml(SPACE),
        data_version="none",
        trials=trials,
        sampler=sampler,
    )


def fill(study: Study, trials: int) -> None:
    """All trials but one, which is taken and ended as by a worker, so that its settings are there to copy."""
    with study.storage.engine.begin() as connection:
        for statement in FILL[:-2]:
            connection.execute(
                sqlalchemy.text(statement), {"study": study.optuna._study_id, "trials": trials - 1}
            )
    attempt = study.claim()
    if attempt is None or attempt.number != trials - 1:
        raise SystemExit("the trials are not numbered as Optuna numbers them")
    study.settings.space.suggest(attempt.trial)
    attempt.settle(TrialState.COMPLETE, -9.0, {"epochs": 100, "seconds": 9.5})
    with study.storage.engine.begin() as connection:
        drawn = {"study": study.optuna._study_id, "drawn": attempt.trial._trial_id}
        connection.execute(sqlalchemy.text(FILL[-2]), drawn)
        connection.execute(sqlalchemy.text(FILL[-1]))


def work(name: str, url: str, seed: int, pause: float, calls: Any) -> None:
    """A worker, without training: sends (call, milliseconds) for each call."""
    rng = np.random.default_rng(seed)

    def timed(call: str, what: Callable[[], Any]) -> Any:
        begin, busy = time.perf_counter(), time.process_time()
        found = what()
        calls.put((f"{call} (CPU)", 1000 * (time.process_time() - busy)))
        calls.put((call, 1000 * (time.perf_counter() - begin)))
        return found

    with join_study(name, url) as study:
        while (attempt := timed("claim", study.claim)) is not None:
            timed("draw settings", lambda attempt=attempt: study.settings.space.suggest(attempt.trial))
            for epoch in range(EPOCHS_TOLD):
                time.sleep(pause)
                score = -8.0 + rng.random()
                timed("report an epoch", lambda e=epoch, s=score, a=attempt: a.report(s, e))
                if epoch >= 5:
                    timed("hopeless?", lambda a=attempt: is_hopeless(a.reported, study.ledger))
            facts = {"epochs": EPOCHS_TOLD, "seconds": 1.0}
            timed("end", lambda a=attempt, f=facts: a.settle(TrialState.COMPLETE, -8.0, f))
            timed("write trials.json", study.write_snapshot)
            calls.put(("trial", attempt.number))
    calls.put(("done", 0))


def simulate(name: str, url: str, threads: int, folder: str, calls: Any) -> None:
    """Workers as threads, each with a storage of its own, that begin at once and take trial after trial."""
    opened = [join_study(name, url, Path(folder) / name) for _ in range(threads)]
    gate = threading.Barrier(threads)

    def take(study: Study) -> None:
        gate.wait()
        while True:
            begin = time.perf_counter()
            attempt = study.claim()
            calls.put(("claim", 1000 * (time.perf_counter() - begin)))
            if attempt is None:
                break
            calls.put(("trial", attempt.number))
            attempt.settle(TrialState.COMPLETE, -8.0, {})
        study.close()

    workers = [threading.Thread(target=take, args=(study,)) for study in opened]
    with quiet_optuna():
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    calls.put(("done", 0))


def collect(target: Callable[..., None], arguments: list[tuple[Any, ...]]) -> dict[str, list[float]]:
    """Run a process for each of the arguments; every number that they send, by its name."""
    context = multiprocessing.get_context("spawn")
    calls = context.Queue()
    processes = [context.Process(target=target, args=(*own, calls)) for own in arguments]
    for process in processes:
        process.start()
    found: dict[str, list[float]] = collections.defaultdict(list)
    while len(found["done"]) < len(processes):
        name, value = calls.get()
        found[name].append(value)
    for process in processes:
        process.join()
    return found


def check_once(numbers: list[float], first: int, last: int) -> None:
    if sorted(numbers) != list(range(first, last)):
        raise SystemExit(f"trials taken twice or left out: {sorted(numbers)}")


def show(found: dict[str, list[float]]) -> None:
    for name, values in found.items():
        if name not in ("done", "trial"):
            median, high = np.percentile(values, [50, 95])
            print(f"  {name:22} {median:7.1f} ms, 95 %: {high:7.1f} ms  ({len(values)} calls)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--storage", required=True)
    parser.add_argument("--trials", type=int, default=5000)
    parser.add_argument("--left", type=int, default=160, help="trials that are not there at the beginning")
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--pause", type=float, default=0.25, help="seconds of an epoch")
    parser.add_argument("--sampler", choices=["random", "tpe"], default="random")
    parser.add_argument("--simulated", type=int, default=200, help="workers at once; 0: none")
    options = parser.parse_args()
    database_url(options.storage)
    with tempfile.TemporaryDirectory() as place:
        name = f"benchmark-{time.time_ns()}"
        begun = options.trials - options.left
        with create_study(Path(place) / name, settings(begun, options.sampler), options.storage) as study:
            fill(study, begun)
        begin = time.perf_counter()
        url, folder = options.storage, Path(place) / name
        with create_study(folder, settings(options.trials, options.sampler), url):
            seconds = time.perf_counter() - begin
            print(f"extended from {begun} to {options.trials} trials in {seconds:.2f} s", flush=True)
        found = collect(work, [(str(folder), url, seed, options.pause) for seed in range(options.workers)])
        check_once(found["trial"], begun, options.trials)
        print(f"{options.trials} trials, {options.workers} workers, {options.sampler}:")
        show(found)
        sys.stdout.flush()
        if options.simulated:
            many = f"{name}-many"
            with create_study(Path(place) / many, settings(2 * options.simulated, "random"), url):
                pass
            each = options.simulated // 8
            found = collect(simulate, [(many, url, each, f"{place}/{n}") for n in range(8)])
            check_once(found["trial"], 0, 2 * options.simulated)
            print(f"{8 * each} workers at once took {2 * options.simulated} trials, each once:")
            show(found)


if __name__ == "__main__":
    main()
