"""`ostinato search`: settings by random search or TPE, on this machine or on many that share a database."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter
from rich.table import Table

from ostinato.cli.options import MOST_USED, Quiet
from ostinato.cli.output import human, print_json, print_table
from ostinato.cli.settings import Options, given_settings, recipe_from
from ostinato.cli.stopping import stop_signals
from ostinato.effective import effective_settings
from ostinato.errors import UserError
from ostinato.monitoring import Interrupted
from ostinato.numbers import setting
from ostinato.runs import default_folder

if TYPE_CHECKING:
    from ostinato.conclusion import AnyData
    from ostinato.search import Space, Study, StudySettings


def search(
    task: Literal["music", "words", "chars", "task"] | None = None,
    /,
    *,
    settings: Annotated[Options | None, Parameter(name="*")] = None,
    config: Path | None = None,
    space: Annotated[Path | None, Parameter(group=MOST_USED)] = None,
    trials: Annotated[int, Parameter(group=MOST_USED)] = 20,
    workers: Annotated[int, Parameter(group=MOST_USED)] = 1,
    study: Annotated[Path | None, Parameter(group=MOST_USED)] = None,
    sampler: Literal["random", "tpe"] = "random",
    pruning: Annotated[bool, Parameter(negative="--no-pruning")] = True,
    storage: str | None = None,
    join: str | None = None,
    heartbeat: int = 10,
    checkpoint_seconds: float = 15.0,
    quiet: Quiet = False,
    json: bool = False,
) -> int:
    """Search for settings; choose by validation, and score the chosen run, and it alone, on the test songs.

    Without --space, the intervals of Bengio et al. 2012 for the recipe's letters, but for settings given as
    options. Stop it with Ctrl-C whenever you like: the same command continues.

    Many machines: start it with --storage, then on every machine "ostinato search --join NAME --storage URL".
    A trial whose worker dies is gone on with by another: from its last checkpoint if the study's folder
    (--study) is on a path that both reach, from its beginning otherwise, with the same settings and so the
    same result.

    Parameters
    ----------
    task
        What to model: music (the default), words or chars, or a task with long delays.
    config
        Settings from a TOML file, such as the config.toml of a run.
    space
        What to search, from a TOML file: [search], with lines like
        learning_rate = {low = 1e-4, high = 0.1, log = true} or streams = {choices = [1, 4]}.
    trials
        Trials of the study.
    workers
        Processes on this machine, of one thread each.
    study
        The study's folder; its last part is the study's name in a database. studies/DATA-1 by default, or the
        first after it that holds the same study or none.
    sampler
        random: a trial's settings are a function of --seed and its number; tpe: they follow what was good.
    pruning
        Stop trials that do worse than the median of the others.
    storage
        A PostgreSQL database that machines share: postgresql://USER@HOST/DATABASE.
    join
        Work on the study of this name (with --storage), or in this folder, as it was made.
    heartbeat
        Seconds between a worker's signs of life in the database; one that gives none for three times as long
        counts as dead.
    checkpoint_seconds
        Seconds between checkpoints: the work that a worker's death can cost.
    quiet
        No progress.
    json
        Print the results as one JSON object.
    """
    import torch

    from ostinato.loading import load_data
    from ostinato.search import StudySettings, create_study, join_study

    if workers < 1:
        raise UserError(f"expected --workers of at least 1, found {workers}")
    torch.set_num_threads(1)
    if join is not None:
        if task is not None or given_settings(settings) or config is not None or space is not None:
            raise UserError("expected --join without settings, found some; a study keeps its own")
        opened = join_study(join, storage, study)
        data = load_data(opened.settings.recipe, progress=not quiet)
    else:
        recipe = recipe_from(settings, config, task)
        searched = _space(recipe, space, given_settings(settings))
        if trials < 1:
            raise UserError(f"expected --trials of at least 1, found {trials}")
        data = load_data(recipe, progress=not quiet)
        wanted = StudySettings(
            recipe=recipe,
            space=searched,
            data_version=data.version,
            trials=trials,
            sampler=sampler,
            pruning=pruning,
            heartbeat=heartbeat,
        )
        opened = create_study(study or _folder(data.name, wanted), wanted, storage)
    with opened:
        _work(opened, data, workers, checkpoint_seconds, quiet=quiet)
        return _conclude(opened, data, json=json)


def _space(recipe: Any, path: Path | None, given: dict[str, Any]) -> Space:
    """The space from a file, or the built-in one without what is given."""
    from ostinato.search import Space, builtin_space

    if path is None:
        return builtin_space(recipe, frozenset(given))
    space = Space.read(path)
    for name in sorted(space.ranges.keys() & given.keys()):
        raise UserError(f"{name} is given and searched, in {path}; leave one of them out")
    return space


def _folder(name: str, wanted: StudySettings) -> Path:
    """The default folder: the first that holds the same study, or the first that is free."""
    from ostinato.search.study import SETTINGS, read_settings

    free = default_folder(name, "studies")
    stem, _, last = free.name.rpartition("-")
    for number in range(1, int(last)):
        folder = free.with_name(f"{stem}-{number}")
        if (folder / SETTINGS).is_file() and not wanted.differences(read_settings(folder)[0]):
            return folder
    return free


def _work(study: Study, data: AnyData, workers: int, checkpoint_seconds: float, *, quiet: bool) -> None:
    """Work in this process, and in further ones; a signal stops them all."""
    from ostinato.search import Worker

    console = human()
    if not quiet:
        names = ", ".join(study.settings.space.ranges)
        console.print(
            f"searching {names}: {study.settings.trials} trials, in {study.folder}",
            markup=False,
        )
    told = _teller(study) if not quiet else lambda records, number: None
    with (
        _further(study, workers - 1, checkpoint_seconds, quiet=quiet) as stop_others,
        stop_signals() as asked,
    ):
        try:
            Worker(study, data, checkpoint_seconds, asked, told).work()
        except Interrupted as interruption:
            stop_others(interruption.signal)
            again = "the same command continues"
            console.print(f"stopped; {again}: {study.folder}", markup=False)
            raise SystemExit(128 + interruption.signal) from None
        except BaseException:
            stop_others(signal.SIGTERM)
            raise


@contextmanager
def _further(
    study: Study, count: int, checkpoint_seconds: float, *, quiet: bool
) -> Iterator[Callable[[int], None]]:
    """Further workers of the study, until the block ends; gives a function that sends them a signal."""
    context = multiprocessing.get_context("spawn")
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        processes = [
            context.Process(target=_join, args=(study.folder, study.url, checkpoint_seconds, quiet))
            for _ in range(count)
        ]
        # Ctrl-C reaches them too: one that is still starting is to be told by `send`, not to fall over.
        handler = signal.signal(signal.SIGINT, signal.SIG_IGN) if count else None
        for process in processes:
            process.start()
    finally:
        if count:
            signal.signal(signal.SIGINT, handler)
        os.environ.pop("OMP_NUM_THREADS")
        if before is not None:
            os.environ["OMP_NUM_THREADS"] = before

    def send(number: int) -> None:
        for process in processes:
            while process.is_alive() and process.pid is not None:
                os.kill(process.pid, number)
                process.join(0.5)

    try:
        yield send
    finally:
        for process in processes:
            process.join()


def _join(folder: Path, url: str | None, checkpoint_seconds: float, quiet: bool) -> None:
    """A further worker's process."""
    import torch

    from ostinato.loading import load_data
    from ostinato.search import Worker, join_study

    with stop_signals() as asked:
        torch.set_num_threads(1)
        try:
            with join_study(str(folder), url) as study:
                data = load_data(study.settings.recipe, progress=False)
                told = _teller(study) if not quiet else lambda records, number: None
                Worker(study, data, checkpoint_seconds, asked, told).work()
        except Interrupted as interruption:
            sys.exit(128 + interruption.signal)
        except UserError as error:
            human().print(f"ostinato: a worker ended: {error}", markup=False)
            sys.exit(2)


def _teller(study: Study) -> Callable[[list[dict[str, Any]], int], None]:
    """Prints a line for every trial that has come to something."""
    from ostinato.search import choose

    console = human()

    def tell(records: list[dict[str, Any]], number: int) -> None:
        (record,) = (record for record in records if record["number"] == number)
        ended = [record for record in records if record["state"] != "running"]
        score = "" if record["value"] is None else f" {record['value']:.4f}"
        best = ""
        if any(record["state"] == "complete" for record in ended):
            chosen = choose(ended)
            best = f"; best {chosen['value']:.4f} (trial {chosen['number']})"
        console.print(
            f"{len(ended)}/{study.settings.trials}  trial {number} {record['state']}{score}, "
            f"{record['epochs']} epochs{best}",
            markup=False,
        )

    return tell


def _conclude(study: Study, data: AnyData, *, json: bool) -> int:
    from ostinato.search import choose, finish

    summary = finish(study, data)
    records = study.records()
    if summary is None:
        chosen = choose(records)
        raise UserError(
            f"all trials are done, and trial {chosen['number']} is chosen; its run is not in {study.folder} "
            f"but where it was trained, on {chosen.get('host', 'another machine')}: repeat the command there"
        )
    if json:
        print_json(summary)
        return 0
    names = list(study.settings.space.ranges)
    table = Table(title=f"{study.settings.recipe.recipe} on {data.name}: best trials", title_justify="left")
    for heading in ("trial", "state", "validation", *names):
        table.add_column(heading, justify="right", no_wrap=True)
    ranked = sorted((r for r in records if r["value"] is not None), key=lambda r: -r["value"])
    for record in ranked[:10]:
        used = effective_settings(study.settings.recipe, record["params"])
        params = [setting(used.get(name)) for name in names]
        table.add_row(str(record["number"]), record["state"], f"{record['value']:.4f}", *params)
    print_table(table)
    scores = summary["results"]["results"]["model"].get("test", {})
    shown = ", ".join(f"{name} {score['value']:.3f} {score['unit']}" for name, score in scores.items())
    number = summary["chosen"]["number"]
    print(f"chosen by validation: trial {number}; test: {shown}")
    print(f"run: {study.trial_folder(number)}  (results: {study.folder / 'results.json'})")
    return 0
