"""`ostinato train`: a model from a recipe and a data set, in a run folder that can be resumed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Unpack

from cyclopts import Parameter

from ostinato.cli.options import MOST_USED, Quiet
from ostinato.cli.output import human, list_skipped, print_json, print_table, say
from ostinato.cli.settings import Domain, Options, recipe_from, resumed
from ostinato.cli.spelling import as_command
from ostinato.cli.stopping import or_unread, saying
from ostinato.errors import UserError, check_not_negative
from ostinato.recipe.owned import places_of_data
from ostinato.recipe.recipe import Recipe
from ostinato.runs.folder import Run
from ostinato.runs.names import create_numbered, default_folder, kept_if_begun

if TYPE_CHECKING:
    import torch

    from ostinato.domains.domain import Data
    from ostinato.runs.results import Results
    from ostinato.training.loop import Conditions


def train(
    domain: Domain = None,
    /,
    *,
    settings: Annotated[Options | None, Parameter(name="*")] = None,
    config: Annotated[Path | None, Parameter(group=MOST_USED)] = None,
    run: Annotated[Path | None, Parameter(group=MOST_USED)] = None,
    resume: Annotated[Path | None, Parameter(group=MOST_USED)] = None,
    device: str | None = None,
    threads: int | None = None,
    checkpoint_seconds: float = 15.0,
    exact: bool = False,
    on_failure: Literal["go-on", "stop", "ignore"] = "go-on",
    diagnose_every: int = 0,
    tensorboard: bool = False,
    dry_run: bool = False,
    quiet: Quiet = False,
    json: bool = False,
) -> int:
    """Train a recurrent network; end with its scores beside the baselines'.

    Stop it with Ctrl-C whenever you like: --resume continues, and ends bit for bit where it would have. A run
    that is done goes on with --resume RUN --epochs MORE, one that stopped for patience with more --patience.

    Parameters
    ----------
    domain
        What to model: music by default.
    config
        Settings from a TOML file, such as the config.toml of another run.
    run
        The folder of the new run; runs/NAME-NUMBER by default.
    resume
        Continue the run in this folder; with --epochs or --patience, to other ones.
    device
        Where the model computes: cpu, cuda, cuda:1 or auto; by default cpu, and for a resumed run where it
        was.
    threads
        Processor threads; by default one for a small model, all for a large one, and for a resumed run
        what it had.
    checkpoint_seconds
        Seconds between checkpoints: the work that a power cut can cost.
    exact
        With --resume: refuse to go on where the run would not end bit for bit as it would have, since the
        processor, the threads, PyTorch or ostinato are others than before; without it there is a notice.
    on_failure
        Where loss or gradient is not finite, jumps, or the loss diverges: write a bundle into the run's
        folder, which ostinato replay repeats, and go on; or write one and stop; or ignore it.
    diagnose_every
        Measure memory horizon, gradients and units after every so many epochs, for metrics, report and
        TensorBoard; 0 for never. ostinato diagnose measures once.
    tensorboard
        Also write TensorBoard events into the run's folder.
    dry_run
        Say what the run would be and take (settings, data, parameters, time, memory, folder); train nothing
        and make no folder.
    quiet
        No progress, only notices.
    json
        Print the results, or the dry run, as one JSON object.
    """
    import torch

    from ostinato.runs.results import score_run

    if threads is not None and threads < 1:
        raise UserError(f"expected --threads of at least 1, found {threads}")
    check_not_negative("checkpoint_seconds", checkpoint_seconds)
    if exact and resume is None:
        raise UserError("expected --exact with --resume, found it alone; a new run is exact by itself")
    if resume is None:
        asked = _new(recipe_from(settings, config, domain), device, threads)
    elif config is None and run is None:
        asked = _to_resume(Run.open(resume), settings, domain, device, threads)
    else:
        raise UserError("expected --resume alone, found --config or --run too; a run keeps its settings")
    recipe, place = asked.recipe, asked.device
    torch.set_num_threads(asked.threads)
    data = _data_of(recipe, resume, asked.before, quiet=quiet)
    if dry_run:
        from ostinato.cli.dry_run import print_plan

        folder = resume or run or default_folder(data.name)
        return print_plan(recipe, data, folder, asked.run, device=place, json=json)
    with (
        asked.run or _created(run, data.name, recipe) as opened,
        kept_if_begun(opened, new=asked.run is None),
    ):
        _fit(
            recipe,
            data,
            opened,
            tensorboard=tensorboard,
            quiet=quiet,
            device=place,
            checkpoint_seconds=checkpoint_seconds,
            exact=exact,
            on_failure=on_failure,
            diagnose_every=diagnose_every,
        )
        results = score_run(opened, data, device=place)
        _conclude(opened, data, recipe, results, json=json)
    return 0


def _created(folder: Path | None, name: str, recipe: Recipe) -> Run:
    """The new run's folder: as it is called, or numbered."""
    if folder is None:
        return create_numbered(name, recipe.to_dict())
    return Run.create(folder, recipe.to_dict())


@dataclass(frozen=True)
class _Asked:
    """What is trained: settings, the run that goes on, if one does, what computes, and the run's data."""

    recipe: Recipe
    run: Run | None
    device: torch.device
    threads: int
    before: dict[str, Any] | None = None


def _new(recipe: Recipe, device: str | None, threads: int | None) -> _Asked:
    from ostinato.nn.devices import find_device
    from ostinato.training.threads import default_threads

    return _Asked(recipe, None, find_device(device or "cpu"), threads or default_threads(recipe))


def _to_resume(
    run: Run, settings: Any, domain: str | None, device: str | None, threads: int | None
) -> _Asked:
    """A run as it was made: with other threads, say, sums could be rounded differently."""
    from ostinato.training.threads import default_threads

    recipe = resumed(run.folder, settings, domain)
    before = run.load_checkpoint("last")[1] if run.has_checkpoint("last") else {}
    place = _place(device, before.get("devices", ["cpu"])[-1])
    return _Asked(
        recipe, run, place, threads or before.get("threads") or default_threads(recipe), before.get("data")
    )


def _data_of(recipe: Recipe, resume: Path | None, before: dict[str, Any] | None, *, quiet: bool) -> Data:
    """The recipe's data; where those of a run have gone, how to say where they are now."""
    from ostinato.domains.domain import load_data

    try:
        return load_data(recipe, progress=not quiet, before=before)
    except UserError as error:
        places = [str(recipe.get(name) or "") for name in places_of_data()]
        paths = [Path(part) for place in places for part in place.split(",") if len(Path(part).parts) > 1]
        if resume is None or all(path.exists() for path in paths):
            raise
        moved = as_command("train", {"resume": str(resume), "data": "PATH"})
        raise UserError(f"{error}; if the data have been moved, say where they are: {moved}") from error


def _place(asked: str | None, before: str) -> torch.device:
    """The device to resume on: the one asked for, or the run's, which may not be there any more."""
    from ostinato.nn.devices import find_device

    try:
        return find_device(asked or before)
    except UserError as error:
        if asked is not None:
            raise
        raise UserError(
            f"expected {before}, where the run was trained: {error}; or resume it with --device cpu"
        ) from error


def _fit(
    recipe: Recipe,
    data: Data,
    run: Run,
    *,
    tensorboard: bool,
    quiet: bool,
    **conditions: Unpack[Conditions],
) -> None:
    from ostinato.cli.progress import ConsoleMonitor
    from ostinato.runs.finish import fit
    from ostinato.runs.trained import NO_MODEL
    from ostinato.training.monitor import Interrupted
    from ostinato.training.stopping import stop_signals

    console = human(patient=True)
    try:
        again = as_command("train", {"resume": str(run.folder)})
        with stop_signals(ends=saying(again)) as asked, ConsoleMonitor(console, quiet=quiet) as monitor:
            watching: Any = monitor
            if tensorboard:
                from ostinato.cli.tensorboard import TensorBoardMonitor

                watching = TensorBoardMonitor(monitor, run.folder)
            conditions["stop_requested"] = or_unread(asked, console)
            progress = fit(run, recipe, data, watching, **conditions)
    except Interrupted as interruption:
        console.print(f"stopped; continue with: {as_command('train', {'resume': str(run.folder)})}")
        raise SystemExit(128 + interruption.signal) from None
    if not quiet:
        best = f"best validation in epoch {progress.best_epoch + 1}" if progress.best_epoch >= 0 else NO_MODEL
        if progress.best_epoch < 0 and progress.best_score > -math.inf:
            best = "no epoch was better than the weights that it began with, which are kept"
        console.print(f"stopped after epoch {progress.epoch}: {progress.stopped_because}; {best}")


def _conclude(run: Run, data: Data, recipe: Recipe, results: Results, *, json: bool) -> None:
    """Write results and picture into the run, and print the table."""
    from ostinato.domains.domain import domain_named
    from ostinato.runs.finish import CURVE, write_results

    notices: list[str] = []
    summary = write_results(run, data, results, notice=notices.append)
    for notice in notices:
        human().print(notice)
    list_skipped(data, human())
    if json:
        print_json(summary)
    else:
        print_table(domain_named(recipe.domain).table(results.scores, f"{recipe.name} on {data.name}"))
        say(f"run: {run.folder}" + ("" if notices else f"  (learning curve: {run.folder / CURVE})"))
