"""A run as a program has it: its model, what it made of its data, and what to do with it."""

import json
import os
import shutil
import signal
import tempfile
import warnings
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Unpack

import torch
from torch import nn

from ostinato.api.data import wrapped
from ostinato.api.given import sequences_of
from ostinato.api.options import check_type, options_of
from ostinato.data.sequences import SPLITS
from ostinato.domains.answer import Asked
from ostinato.domains.domain import Data, Domain, domain_named, load_data
from ostinato.domains.given import Given, LossFunction
from ostinato.domains.trained import TrainedModel
from ostinato.errors import UserError, argument, check_not_negative
from ostinato.evaluation.sequences import SequenceScores
from ostinato.files import TEMPORARY_SUFFIX, write_error
from ostinato.nn.devices import device_of, find_device
from ostinato.recipe.recipe import Recipe
from ostinato.runs.finish import conclude, fit
from ostinato.runs.folder import LOCK, RESULTS, Run
from ostinato.runs.results import Results
from ostinato.runs.summary import read_summary
from ostinato.runs.trained import NO_MODEL, load_model, own_data
from ostinato.training.loop import Conditions
from ostinato.training.monitor import Interrupted, Monitor, PlainNotices
from ostinato.training.recorder import GO_ON
from ostinato.training.stopping import stop_signals
from ostinato.training.threads import default_threads
from ostinato.training.threads import threads as with_threads


class TrainingStopped(KeyboardInterrupt):
    """Ctrl-C has stopped training; what was learned is in the run, which goes on with `run.resume()`.

    Arguments:
        run: the run.
    """

    def __init__(self, run: "TrainedRun") -> None:
        super().__init__(f"training was stopped after {len(run.history)} epochs; run.resume() goes on")
        self.run = run


class TrainedRun:
    """A run: made by `ostinato.train`, or opened with `ostinato.open_run`.

    A run without a folder of its own is kept in a temporary one until it is saved, and goes with the object.

    Args:
        run: its folder.
        data: its data, where a program has them; otherwise they are loaded again where they are needed.
        module, loss: the program's own network and loss, where it has them.
        temporary: a folder, above the run's, that goes when this object does.
        device: where the model computes.
    """

    def __init__(
        self,
        run: Run,
        data: Data | None = None,
        *,
        module: nn.Module | None = None,
        loss: LossFunction | None = None,
        temporary: Path | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        self._run, self._data = run, data
        self._temporary: weakref.finalize[Any, Any] | None = None
        if temporary is not None:
            self._temporary = weakref.finalize(self, shutil.rmtree, temporary, ignore_errors=True)
        self._module, self._loss, self._device = module, loss, device
        self._trained: TrainedModel | None = None

    def __repr__(self) -> str:
        recipe, place = self.recipe, self.folder or "no folder yet"
        return f"<run {recipe.name} on {recipe.domain}, {len(self.history)} epochs, {place}>"

    @property
    def folder(self) -> Path | None:
        """Where the run is kept; None until it is saved."""
        return None if self._temporary is not None else self._run.folder

    @property
    def recipe(self) -> Recipe:
        """Its settings."""
        return Recipe.from_dict(self._run.config())

    @property
    def data(self) -> Data:
        """What it was trained on.

        Raises:
            UserError: they were in a program's memory when the run was made, or have changed since.
        """
        if self._data is None:
            self._data = own_data(self.trained)
        return self._data

    @property
    def history(self) -> list[dict[str, Any]]:
        """A record of each epoch: its number (`epoch`, from 0), `train_` and `valid_` scores, `best`,
        `seconds` and what else was measured.
        """
        return [record for record in self._run.metrics() if "best" in record]

    @property
    def stopped_because(self) -> str:
        """Why training ended; "" where it has not."""
        state = self._run.load_checkpoint("last")[1] if self._run.has_checkpoint("last") else None
        return "" if state is None else str(state["progress"]["stopped_because"])

    @property
    def trained(self) -> TrainedModel:
        """The model with the best validation score, and what goes with it.

        Raises:
            UserError: there is none yet.
        """
        return self._on(None)

    @property
    def model(self) -> nn.Module:
        """The network with the best validation score, in evaluation mode: a `SequenceModel`; or the program's
        own, into which the weights have been put.
        """
        return self.trained.model if self._module is None else self._module

    def evaluate(
        self,
        data: Any = None,
        *,
        splits: Sequence[str] = SPLITS,
        baselines: bool = True,
        device: torch.device | str | None = None,
    ) -> Results:
        """The model's scores on its data, beside the baselines', each with its unit, convention and error.

        Args:
            data: other data by name, or files; or those that it was trained on, in memory, where the run has
                been opened. By default its own.
            splits: of "train", "valid" and "test".
            baselines: whether these are scored too.
            device: where the model computes; see `nn.devices.find_device`.

        Raises:
            UserError: there is no such split, or the data are not there any more.
        """
        for split in splits:
            if split not in SPLITS:
                raise UserError(f"expected splits of {', '.join(SPLITS)}, found {split!r}")
        trained, domain = self._on(device), self._domain
        if data is None:
            loaded = self.data
        elif isinstance(data, str | Path):
            loaded = domain.other_data(self._run, str(data), {})
        else:
            loaded = self._data = self._known(data)
        empty = [split for split in splits if loaded.frames(split) == 0] if splits is not SPLITS else []
        if empty:
            raise UserError(f"expected splits that have something in them, found none in {', '.join(empty)}")
        scores = domain.score(trained.recipe, trained.model, loaded, tuple(splits), baselines=baselines)
        return Results(scores)

    def generate(
        self, prime: Any = None, *, seed: int = 0, device: torch.device | str | None = None, **options: Any
    ) -> Any:
        """What the model makes: of music an array (K, T, V) of K pieces, of text a string (of token ids a
        list of arrays), of series a `Forecast`.

        Args:
            prime: what to continue: a file or frames of music, a text, a file or an array of a series.
            seed: another number, another piece.
            device: where the model computes.
            options: those of `ostinato generate` for this kind of data: `steps`, `count` and `temperature` of
                music, `tokens` and `temperature` of text, `horizon` and `samples` of series, and so on; with
                `out` files are written too.

        Raises:
            UserError: nothing is generated from such data, or an option is not for them.
        """
        check_type("seed", seed, int)
        trained = self._on(device)
        asked = Asked(seed, _prime(prime), str(device_of(trained.model)))
        return self._domain.generate(trained, asked, options_of(self._domain.declared, "generate", options))

    def score(self, sequences: Any, *, device: torch.device | str | None = None) -> SequenceScores:
        """The log-probability of every step of sequences, many at once; each sequence is by itself.

        Args:
            sequences: of the kind that the model was trained on, as `ostinato.train` takes them, or files;
                one text, file or pair may be given by itself.
            device: where the model computes.

        Returns:
            One `SequenceScore` for each sequence: `log_probs` (T,) in nats, their sum and mean, and as
            `detail` of music a `PieceScore` with the surprisal of every note, of text a `ScoredText` with its
            tokens, of series a `Surprise` with that of every value. `score` is the mean over all steps, with
            its error.

        Raises:
            UserError: they are of another kind.
        """
        alone = isinstance(sequences, str | Path | tuple)
        return self._domain.score_each(self._on(device), sequences_of([sequences] if alone else sequences))

    def resume(
        self,
        *,
        data: Any = None,
        device: torch.device | str | None = None,
        threads: int | None = None,
        checkpoint_seconds: float = 15.0,
        monitor: Monitor | None = None,
        exact: bool = False,
        on_failure: str = GO_ON,
        diagnose_every: int = 0,
        **settings: Any,
    ) -> "TrainedRun":
        """Go on where the run stands, and end bit for bit where an unbroken one would.

        Args:
            data: the run's, where it has been opened and they were in memory.
            device, threads: as before, unless they are given.
            checkpoint_seconds: seconds between checkpoints.
            monitor: what to report to.
            exact: refuse to go on where the run would not end bit for bit as it would have, since processor,
                threads or versions are others than before; without it there is a notice to the monitor.
            on_failure, diagnose_every: see `ostinato.train`.
            settings: `epochs` and `patience`, to which a run that is done goes on.

        Returns:
            The run itself.

        Raises:
            TrainingStopped: Ctrl-C; the same call goes on.
            UserError: other settings than the run's, or other data.
        """
        check_not_negative("checkpoint_seconds", checkpoint_seconds)
        recipe = self.recipe.replace(**settings)
        before = self._run.load_checkpoint("last")[1] if self._run.has_checkpoint("last") else {}
        if data is not None:
            self._data = self._wrapped(data)
        elif self._data is None:
            self._data = load_data(recipe, before=before.get("data"))
        given = [one for one in (device, self._device) if one is not None]
        self._device = given[0] if given else before.get("devices", ["cpu"])[-1]
        threads = before.get("threads") if threads is None else threads
        self._fit(
            recipe,
            self._data,
            monitor,
            threads,
            checkpoint_seconds=checkpoint_seconds,
            exact=exact,
            on_failure=on_failure,
            diagnose_every=diagnose_every,
        )
        return self

    def save(self, path: str | Path) -> Path:
        """Keep the run in a folder: one without a folder moves there, another one is copied.

        Args:
            path: a new or an empty folder.

        Returns:
            The folder. What is written has no trace of where the run was before.

        Raises:
            UserError: there is something in the folder, or it cannot be written.
        """
        if not isinstance(path, str | Path):
            raise UserError(f"expected a path to save the run at, found {path!r}")
        target = Path(path)
        Run.check_unused(target)
        with self._run.lock():
            _copy(self._run.folder, target)
        saved = Run.open(target)
        if self._temporary is not None:
            self._temporary()
            self._run, self._temporary, self._trained = saved, None, None
        if self._data is not None and not (target / RESULTS).exists():
            self._conclude(saved)
        return target

    @property
    def opened(self) -> Run:
        """The run's folder, for what this class has no word for; a temporary one may be gone soon."""
        return self._run

    @property
    def known_data(self) -> Data | None:
        """The data, where they are there already."""
        return self._data

    @property
    def _domain(self) -> Domain:
        return domain_named(self.recipe.domain)

    def _on(self, device: torch.device | str | None) -> TrainedModel:
        """The model on a device, read once for as long as it is asked for there."""
        wanted = next((one for one in (device, self._device) if one is not None), "cpu")
        if self._trained is None or device_of(self._trained.model) != find_device(wanted):
            known = self._data
            if known is None and self._module is not None:
                known = self._domain.wrap(self.recipe, Given({}, self._module, self._loss))
            self._trained = load_model(self._run, device=wanted, data=known)
        return self._trained

    def _wrapped(self, data: Any) -> Data:
        return wrapped(self.recipe, data, self._module, self._loss)

    def _known(self, data: Any) -> Data:
        """Data in memory that are the run's own."""
        found, before = self._wrapped(data), self.trained.data["version"]
        if found.version != before:
            raise UserError(
                f"expected the {argument('data')} the run was trained on (version {before[:12]}), found "
                f"others (version {found.version[:12]}) in memory; score() has what the model says of these"
            )
        return found

    def _fit(
        self,
        recipe: Recipe,
        data: Data,
        monitor: Monitor | None,
        asked_threads: int | None,
        **conditions: Unpack[Conditions],
    ) -> None:
        self._trained = None
        number = default_threads(recipe) if asked_threads is None else asked_threads
        try:
            with self._run, with_threads(number), stop_signals(signal.SIGINT) as asked:
                conditions |= {"device": self._device or "cpu", "stop_requested": asked}
                plain = None if monitor is None else PlainNotices(monitor)
                fit(self._run, recipe, data, plain, **conditions)
        except (Interrupted, KeyboardInterrupt):
            raise TrainingStopped(self) from None
        if not self._run.has_checkpoint("best") and self.stopped_because:
            warnings.warn(NO_MODEL, stacklevel=4)
        if self._temporary is None:
            self._conclude(self._run)
        if self._module is not None and self._run.has_checkpoint("best"):
            self._on(None)  # the program's network has the weights from here on

    def _conclude(self, run: Run) -> None:
        """Results and picture beside the checkpoints, where there is a model."""
        if run.has_checkpoint("best") and self._data is not None:
            with run.lock():
                conclude(run, self._data, device=self._device or "cpu")


def _prime(prime: Any) -> Any:
    """What is continued: a text, a path, or an array."""
    if prime is None or isinstance(prime, str | Path):
        return prime
    (found,) = sequences_of([prime])
    return found


def _copy(source: Path, target: Path) -> None:
    """A run's files in a new folder, which is there whole or not at all."""
    place = target.absolute().parent
    try:
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(suffix=TEMPORARY_SUFFIX, prefix=".", dir=place) as half:
            whole = Path(half) / "run"
            left_out = shutil.ignore_patterns(LOCK, f".*{TEMPORARY_SUFFIX}")
            shutil.copytree(source, whole, symlinks=True, ignore=left_out)
            with Run.open(whole) as copy:
                if (results := read_summary(whole)) is not None:
                    copy.write_text(RESULTS, json.dumps(results | {"run": str(target)}, indent=1) + "\n")
            (whole / LOCK).unlink(missing_ok=True)
            os.replace(whole, target)
    except OSError as error:
        raise write_error(target, error, "choose another folder for the run") from error
