"""`ostinato search`: settings by random search or TPE, on this machine or on many that share a database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from ostinato.addresses import secrets_in
from ostinato.cli.options import MOST_USED, Quiet
from ostinato.cli.output import human, print_json, print_table, say
from ostinato.cli.process import hide_arguments
from ostinato.cli.settings import Domain, Options, given_settings, recipe_from
from ostinato.cli.workboard import tell
from ostinato.errors import UserError, check_installed, check_not_negative
from ostinato.evaluation.numbers import counted, number, setting
from ostinato.evaluation.tables import Table, number_columns
from ostinato.recipe.effective import effective_settings
from ostinato.runs.names import default_folder

if TYPE_CHECKING:
    from ostinato.domains.domain import Data
    from ostinato.recipe.recipe import Recipe
    from ostinato.search import Space, Study, StudySettings


def search(
    domain: Domain = None,
    /,
    *,
    settings: Annotated[Options | None, Parameter(name="*")] = None,
    config: Path | None = None,
    space: Annotated[Path | None, Parameter(group=MOST_USED)] = None,
    trials: Annotated[int | None, Parameter(group=MOST_USED)] = None,
    workers: Annotated[int, Parameter(group=MOST_USED)] = 1,
    study: Annotated[Path | None, Parameter(group=MOST_USED)] = None,
    sampler: Literal["random", "tpe"] | None = None,
    pruning: Annotated[bool | None, Parameter(negative="--no-pruning")] = None,
    storage: str | None = None,
    join: str | None = None,
    heartbeat: int | None = None,
    checkpoint_seconds: float = 15.0,
    quiet: Quiet = False,
    json: bool = False,
) -> int:
    """Search for settings; choose by validation, and score the chosen run, and it alone, on the test songs.

    Without --space, the intervals of Bengio et al. 2012 for the recipe's letters, but for settings given as
    options. Stop it with Ctrl-C whenever you like: the same command continues; with more --trials it extends
    the study, also while others are at it.

    Many machines: start it with --storage, then on every machine "ostinato search --join NAME --storage URL".
    A trial whose worker dies is gone on with by another: from its last checkpoint if the study's folder
    (--study) is on a path that both reach, from its beginning otherwise, with the same settings and so the
    same result.

    Parameters
    ----------
    domain
        What to model: music by default.
    config
        Settings from a TOML file, such as the config.toml of a run.
    space
        What to search, from a TOML file: [search], with lines like
        learning_rate = {low = 1e-4, high = 0.1, log = true} or streams = {choices = [1, 4]}.
    trials
        Trials of the study [default: 20, or as many as it has]; more than it has extend it.
    workers
        Processes on this machine, of one thread each.
    study
        The study's folder; its last part is the study's name in a database. studies/DATA-1 by default, or the
        first after it that holds the same study or none.
    sampler
        random: a trial's settings are a function of --seed and its number; tpe: they follow what was good
        [default: random].
    pruning
        Stop trials that do worse than the median of the others [default: --pruning].
    storage
        A PostgreSQL database that machines share: postgresql://USER@HOST/DATABASE. Its password is best left
        to PGPASSWORD or ~/.pgpass; one that is given here is kept nowhere.
    join
        Work on the study of this name (with --storage), or in this folder, as it was made.
    heartbeat
        Seconds between a worker's signs of life in the database; one that gives none for three times as long
        counts as dead [default: 10].
    checkpoint_seconds
        Seconds between checkpoints: the work that a worker's death can cost.
    quiet
        No progress.
    json
        Print the results as one JSON object.
    """
    if storage is not None:
        hide_arguments(secrets_in(storage))
    import torch

    from ostinato.cli.search_workers import work

    for name, value in (("workers", workers), ("trials", trials)):
        if value is not None and value < 1:
            raise UserError(f"expected --{name} of at least 1, found {value}")
    check_not_negative("checkpoint_seconds", checkpoint_seconds)
    check_installed("search", "optuna")
    if storage is not None:
        check_installed("postgres", "psycopg")
    torch.set_num_threads(1)
    own = {"sampler": sampler, "pruning": pruning, "heartbeat": heartbeat}
    chosen: dict[str, Any] = {name: value for name, value in own.items() if value is not None}
    if join is not None:
        if any((domain, given_settings(settings), config, space, chosen)):
            raise UserError("expected --join without settings, found some; a study keeps its own")
        opened, data = _joined(join, storage, study, trials, quiet=quiet)
    else:
        recipe = recipe_from(settings, config, domain)
        searched = _space(recipe, space, given_settings(settings))
        opened, data = _made(recipe, searched, storage, study, trials, chosen, quiet=quiet)
    with opened:
        _announce(opened, trials, quiet=quiet)
        work(opened, data, workers, checkpoint_seconds, quiet=quiet)
        return _conclude(opened, data, json=json)


def _joined(
    name: str, storage: str | None, folder: Path | None, trials: int | None, *, quiet: bool
) -> tuple[Study, Data]:
    """A study that is there, and its data."""
    from ostinato.domains.domain import load_data
    from ostinato.search import join_study

    opened = join_study(name, storage, folder, trials=trials)
    return opened, load_data(opened.settings.recipe, progress=not quiet)


def _made(
    recipe: Recipe,
    space: Space,
    storage: str | None,
    folder: Path | None,
    trials: int | None,
    chosen: dict[str, Any],
    *,
    quiet: bool,
) -> tuple[Study, Data]:
    """The study of these settings, new or gone on with, and its data."""
    from ostinato.domains.domain import load_data
    from ostinato.search import StudySettings, create_study

    data = load_data(recipe, progress=not quiet)
    if trials is not None:
        chosen = chosen | {"trials": trials}
    wanted = StudySettings(recipe=recipe, space=space, data_version=data.version, **chosen)
    where = folder or _folder(data.name, wanted)
    return create_study(where, wanted, storage, extend=trials is not None), data


def _announce(study: Study, trials: int | None, *, quiet: bool) -> None:
    """Say what is searched, and how many trials that makes."""
    console, has = human(), study.settings.trials
    if trials is not None and has > trials:
        # said even if quiet: it is not what was asked for
        tell(
            console,
            f"the study {study.folder} has {counted(has, 'trial')} already; --trials {trials} takes none "
            f"away: it goes on to {has}",
        )
    if quiet:
        return
    if study.extended_from is not None:
        tell(console, f"extended from {study.extended_from} to {counted(has, 'trial')}: {study.folder}")
    names = ", ".join(study.settings.space.ranges)
    tell(console, f"searching {names}: {counted(has, 'trial')}, in {study.folder}")


def _space(recipe: Recipe, path: Path | None, given: dict[str, Any]) -> Space:
    """The space from a file, or the built-in one without what is given."""
    from ostinato.search import Space, builtin_space, check_fits

    if path is None:
        return builtin_space(recipe, frozenset(given))
    space = Space.read(path)
    check_fits(space, recipe)
    for name in sorted(space.ranges.keys() & given.keys()):
        raise UserError(f"{name} is given and searched, in {path}; leave one of them out")
    return space


def _folder(name: str, wanted: StudySettings) -> Path:
    """The default folder: the first that holds the same study, or the first that is free."""
    from ostinato.search import read_settings
    from ostinato.search.study import SETTINGS

    free = default_folder(name, "studies")
    stem, _, last = free.name.rpartition("-")
    for place in range(1, int(last)):
        folder = free.with_name(f"{stem}-{place}")
        if (folder / SETTINGS).is_file() and not wanted.differences(read_settings(folder)[0]):
            return folder
    return free


def _conclude(study: Study, data: Data, *, json: bool) -> int:
    from ostinato.domains.domain import domain_named
    from ostinato.runs.results import Results
    from ostinato.search import choose, finish

    summary = finish(study, data, notice=lambda text: tell(human(), text))
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
    title = f"{study.settings.recipe.name} on {data.name}"
    print_table(_best_trials(study, title, records))
    chosen = summary["chosen"]["number"]
    say("")
    results = Results.from_dict(summary["results"]["results"])
    domain = domain_named(study.settings.recipe.domain)
    print_table(domain.table(results.scores, f"{title}: trial {chosen}, chosen by validation"))
    say(f"run: {study.trial_folder(chosen)}  (results: {study.folder / 'results.json'})")
    return 0


def _best_trials(study: Study, title: str, records: list[dict[str, Any]]) -> Table:
    names = list(study.settings.space.ranges)
    table = Table(number_columns("trial", "state", "validation", *names), f"{title}: best trials")
    ranked = sorted((r for r in records if r["value"] is not None), key=lambda r: -r["value"])
    for record in ranked[:10]:
        used = effective_settings(study.settings.recipe, record["params"])
        params = [setting(used.get(name)) for name in names]
        table.add(str(record["number"]), record["state"], number(record["value"], "nats"), *params)
    return table
