"""`ostinato.train`, `open_run` and `load_data`: from a program's data to a run."""

import shutil
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ostinato.api.data import LoadedData, wrapped
from ostinato.api.given import domain_of, given_of
from ostinato.api.run import TrainedRun, TrainingStopped
from ostinato.domains import catalogue
from ostinato.domains.domain import load_data as load_named
from ostinato.domains.given import IN_MEMORY, LossFunction
from ostinato.domains.registry import DOMAINS
from ostinato.errors import UserError, argument, check_not_negative, without_marks
from ostinato.nn.devices import find_device
from ostinato.recipe.notices import notices
from ostinato.recipe.owned import every_setting
from ostinato.recipe.recipe import Recipe
from ostinato.runs import initial
from ostinato.runs.folder import Run
from ostinato.training.monitor import Monitor
from ostinato.training.recorder import GO_ON


def train(
    recipe: str | Recipe | None = None,
    data: Any = None,
    *,
    domain: str | None = None,
    model: nn.Module | None = None,
    loss: LossFunction | None = None,
    out: str | Path | None = None,
    resume: TrainedRun | str | Path | None = None,
    device: torch.device | str | None = None,
    threads: int | None = None,
    checkpoint_seconds: float = 15.0,
    monitor: Monitor | None = None,
    exact: bool = False,
    on_failure: str = GO_ON,
    diagnose_every: int = 0,
    **settings: Any,
) -> TrainedRun:
    """Train a recurrent network on a program's data, on files or on a data set that has a name.

    Args:
        recipe: the paper's letters, such as "SGD+CRM" or "HF"; or a `Recipe`; those of the kind of data by
            default.
        data: a name or files, as `ostinato train` takes them; or what is in memory: a list (or any iterable,
            a `torch.utils.data.Dataset` or `DataLoader`) of frames (T, V) of whole numbers 0 and 1, of texts,
            of token ids (N,), of series (T,) or (T, D) of real numbers, or of pairs (inputs, targets); an
            array (N, T, V) of such. They are dealt to train, valid and test as files are, 60/20/20 (of text
            90/5/5), unless they are given by name, {"train": ..., "valid": ..., "test": ...}, or as a tuple
            of three.
        domain: what the data are, where it cannot be seen: "chars" for texts by character.
        model: a network of the program's own, which is trained on pairs, or on a loader's batches (inputs,
            targets): `model(inputs)` returns a `torch.distributions.Distribution` of the targets, or what
            `loss` takes. The network gets the weights that validation chose.
        loss: (what the network returns, targets) -> a mean over the elements of the targets.
        out: the run's folder; without one it is kept in a temporary folder until `save`.
        resume: a run, or its folder, that is to go on; with `epochs` or `patience`, to other ones.
        device: where the network computes: "cpu", "cuda", "cuda:1" or "auto".
        threads: processor threads; by default one for a small network, PyTorch's number for a large one.
        checkpoint_seconds: seconds between checkpoints: the work that a kill can cost.
        monitor: what to report to.
        exact: with `resume`; see `TrainedRun.resume`.
        on_failure: where loss or gradient is not finite, jumps, or the loss diverges: "go-on" writes a bundle
            into the run, which `ostinato replay` repeats, and goes on; "stop" writes one and stops; "ignore".
        diagnose_every: epochs between measurements of memory horizon, gradients and units, which are in
            `TrainedRun.history`; 0 for none.
        settings: any settings of the recipe, by name, such as `epochs`, `hidden_size` and `learning_rate`.

    Raises:
        TrainingStopped: Ctrl-C; a `KeyboardInterrupt` whose `run` goes on.
        UserError: settings that do not go together, or data that cannot be used.

    Example:
        >>> import numpy as np
        >>> songs = [np.eye(12, dtype=np.uint8)[np.arange(k, k + 24) % 12] for k in range(10)]
        >>> run = train("SGD+C", songs, hidden_size=8, epochs=3, learning_rate=0.1)
        >>> [record["epoch"] for record in run.history], run.generate(steps=4).shape
        ([0, 1, 2], (1, 4, 12))
    """
    if resume is not None:
        _keeps_its_own(recipe=recipe, domain=domain, out=out)
        return _to_go_on(resume, model, loss).resume(
            data=data,
            device=device,
            threads=threads,
            checkpoint_seconds=checkpoint_seconds,
            monitor=monitor,
            exact=exact,
            on_failure=on_failure,
            diagnose_every=diagnose_every,
            **settings,
        )
    if loss is not None and model is None:
        raise UserError(f"expected {argument('loss')} with {argument('model')}, found it alone")
    _check_types(recipe=recipe, out=out, monitor=monitor, checkpoint_seconds=checkpoint_seconds)
    _check_computing(device, threads)
    given, made = _chosen(recipe, data, domain, model, loss, settings)
    prepared = load_named(made) if given is None else wrapped(made, given, model, loss)
    temporary = Path(tempfile.mkdtemp(prefix="ostinato-")) if out is None else None
    folder = Path(str(out)) if temporary is None else temporary / "run"
    with Run.create(folder, made.to_dict()) as opened:
        started = TrainedRun(
            opened,
            prepared,
            module=model,
            loss=loss,
            temporary=temporary,
            device="cpu" if device is None else device,
        )
    try:
        return started.resume(
            threads=threads,
            checkpoint_seconds=checkpoint_seconds,
            monitor=monitor,
            on_failure=on_failure,
            diagnose_every=diagnose_every,
        )
    except TrainingStopped:
        raise
    except Exception:
        if not started.history:  # nothing is lost, and the same call can be made again
            shutil.rmtree(folder, ignore_errors=True)
        raise


def _keeps_its_own(**given: Any) -> None:
    """Refuse what a run that goes on has already."""
    for name, value in given.items():
        if value is not None:
            raise UserError(
                f"expected {argument('resume')} without {argument(name)}, found both; a run keeps its own"
            )


def _to_go_on(
    resume: TrainedRun | str | Path, model: nn.Module | None, loss: LossFunction | None
) -> TrainedRun:
    """The run that is to go on."""
    if not isinstance(resume, TrainedRun):
        return open_run(resume, model=model, loss=loss)
    if model is not None or loss is not None:
        raise UserError(
            f"expected {argument('resume')} without {argument('model')} and {argument('loss')}, found "
            "them with a run that has its own; a run's folder is opened with them"
        )
    return resume


def _check_computing(device: torch.device | str | None, threads: int | None) -> None:
    find_device("cpu" if device is None else device)
    if threads is not None and (not isinstance(threads, int) or threads < 1):
        raise UserError(f"expected {argument('threads')} of at least 1, found {threads!r}")


def _check_types(*, recipe: Any, out: Any, monitor: Any, checkpoint_seconds: Any) -> None:
    """Refuse what would fail, or mean something else, only after the folder has been made."""
    if recipe is not None and not isinstance(recipe, str | Recipe):
        raise UserError(
            f"expected letters such as 'SGD+CRM' as {argument('recipe')}, found {type(recipe).__name__}; "
            f"what is trained on comes second, or as {argument('data')}"
        )
    if out is not None and not isinstance(out, str | Path):
        raise UserError(f"expected a path as {argument('out')}, found {out!r}")
    if monitor is not None and not hasattr(monitor, "epoch"):
        raise UserError(f"expected a Monitor as {argument('monitor')}, found {monitor!r}")
    check_not_negative("checkpoint_seconds", checkpoint_seconds)


def _chosen(
    recipe: str | Recipe | None,
    data: Any,
    domain: str | None,
    model: nn.Module | None,
    loss: LossFunction | None,
    settings: Mapping[str, Any],
) -> tuple[Any, Recipe]:
    """The data in memory, None for others, and the recipe that goes with them; warns of what is not plain."""
    known = dict(settings)
    given: Any = None
    if model is not None and isinstance(data, str | Path | LoadedData):
        raise UserError(
            f"expected pairs or a loader in memory with {argument('model')}, found "
            f"{'loaded data' if isinstance(data, LoadedData) else repr(str(data))}"
        )
    if isinstance(data, str | Path):
        known["data"] = catalogue.found_again(str(data))
        if domain is None:
            known["domain"] = _kind_of(str(data))
    elif isinstance(data, LoadedData):
        given = data
        if domain is not None and DOMAINS.name(domain) != data.settings["domain"]:
            raise UserError(
                f"expected {argument('domain')} {data.settings['domain']}, as which the data were loaded, "
                f"found {domain}"
            )
        for name, value in data.settings.items():
            if known.setdefault(name, value) != value:
                raise UserError(
                    f"expected {argument(name)} {value}, with which the data were loaded, found {known[name]}"
                )
    elif data is not None or model is not None:
        given = given_of(data, model, loss)
        known |= {"data": IN_MEMORY, "domain": domain_of(given, domain)}
    if domain is not None:
        known["domain"] = DOMAINS.name(domain)
    files = {name for name, setting in every_setting().items() if setting.files and name != "data"}
    for name in files & settings.keys():
        if settings[name] is not None:
            known[name] = catalogue.found_again(str(settings[name]))
    made = _made(recipe, known, domain, data)
    declared = DOMAINS[made.domain]
    for name in settings:
        if declared.own_network and name in declared.unused:
            raise UserError(
                f"{argument(name)} is for ostinato's networks, found {argument('model')}; leave it out"
            )
    for line in notices(made, settings):
        warnings.warn(without_marks(line), stacklevel=3)
    return given, made


def _made(recipe: str | Recipe | None, known: dict[str, Any], domain: str | None, data: Any) -> Recipe:
    """The recipe of what is known; where training starts from a run, over what that run has."""
    start = known.get("init_from")
    if start is None:
        return recipe.replace(**known) if isinstance(recipe, Recipe) else Recipe.parse(recipe, **known)
    if isinstance(data, LoadedData) or data is None:
        found = "none" if data is None else "what has been read in a vocabulary of its own"
        raise UserError(
            f"expected {argument('data')} with {argument('init_from')}, to be read in the run's vocabulary, "
            f"found {found}; name them, or give them as they are"
        )
    before = initial.recipe_of(start)
    if domain is None:
        known["domain"] = before.domain
    if isinstance(recipe, Recipe):
        made = recipe.replace(**known)
    else:
        made = Recipe.parse(recipe, initial.settings_taken(before), **known)
    initial.check_taken(made, before, start)
    return made


def open_run(
    path: str | Path,
    *,
    model: nn.Module | None = None,
    loss: LossFunction | None = None,
    device: torch.device | str | None = None,
) -> TrainedRun:
    """The run in a folder, whoever trained it: a program, the command line or a search.

    Args:
        path: the folder.
        model: a network like the one that was trained, where that was a program's own; it gets the weights.
        loss: what it was trained on.
        device: where the network computes.

    Raises:
        UserError: there is no run.
    """
    if not isinstance(path, str | Path):
        raise UserError(f"expected the path of a run, found {path!r}")
    run = Run.open(path)
    found = TrainedRun(run, module=model, loss=loss, device=device)
    own = DOMAINS[found.recipe.domain].own_network
    if model is not None and not own:
        raise UserError(f"expected no {argument('model')} for a run whose network is ostinato's: {path}")
    return found


def load_data(data: Any, *, domain: str | None = None, progress: bool = False, **settings: Any) -> LoadedData:
    """A data set: by its name, from files, or of what a program has in memory, as `train` takes them.

    Args:
        data: see `train`.
        domain: what the data are, where it cannot be seen.
        progress: whether to show how far reading has come.
        settings: those of the data, such as `frames_per_beat` or `vocabulary_size`.

    Example:
        >>> data = load_data(["the cat sat", "the dog sat", "a cat ran"] * 10)
        >>> data.name, data.frames("train"), data.details["unit"]
        ('memory', 108, 'words')
    """
    given, recipe = _chosen(None, data, domain, None, None, settings)
    found = load_named(recipe, progress=progress) if given is None else wrapped(recipe, given, None, None)
    of_data = {setting.name for setting in DOMAINS[recipe.domain].settings} | {"domain", "data"}
    return LoadedData(found, {name: value for name, value in recipe.to_dict().items() if name in of_data})


def _kind_of(data: str) -> str:
    """The domain of a data set's name, or of files."""
    for declared in DOMAINS.entries():
        if data in declared.names:
            return declared.name
    return catalogue.kind_of(data).name
