"""The workers of a search on this machine: one in this process, and others in further ones."""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ostinato.cli.output import human
from ostinato.cli.stopping import or_unread, saying
from ostinato.cli.workboard import Board, Post, post_to, tell
from ostinato.domains.domain import Data, load_data
from ostinato.errors import UserError
from ostinato.evaluation.numbers import counted
from ostinato.evaluation.numbers import number as shown
from ostinato.recipe.effective import effective_settings
from ostinato.search import Study, Worker, choose, join_study
from ostinato.training.monitor import Interrupted
from ostinato.training.stopping import stop_signals


class TrialReporter:
    """Says where a worker is in its trials.

    Args:
        study: whose trials.
        post: where to.
        name: of the study, where several are worked on.
    """

    def __init__(self, study: Study, post: Post, name: str = "") -> None:
        self._study, self._post = study, post
        self._name = f"{name}, " if name else ""

    def began(self, number: int, params: dict[str, Any], epochs: int) -> None:
        """The trial's settings, as it trains with them."""
        used = effective_settings(self._study.settings.recipe, params)
        told = {name: value for name, value in used.items() if value is not None}
        self._post.at(f"{self._name}trial {number}", told, epochs)

    def epoch(self, number: int, record: dict[str, Any]) -> None:
        """The epochs done."""
        self._post.epoch(record["epoch"] + 1)

    def ended(self, number: int, records: list[dict[str, Any]]) -> None:
        """The trial's score, and the best so far."""
        (record,) = (record for record in records if record["number"] == number)
        ended = [record for record in records if record["state"] != "running"]
        total = self._study.settings.trials
        score = "" if record["value"] is None else f" {shown(record['value'], 'nats')}"
        epochs = "" if record["epochs"] is None else f", {counted(record['epochs'], 'epoch')}"
        best = ""
        if any(record["state"] == "complete" for record in ended):
            chosen = choose(ended)
            best = f"best {shown(chosen['value'], 'nats')} (trial {chosen['number']})"
        line = f"{len(ended)}/{total}  {self._name}trial {number} {record['state']}{score}{epochs}"
        # one of several studies is not the whole
        counts = {} if self._name else {"done": len(ended), "total": total, "best": best}
        self._post.done(f"{line}; {best}" if best else line, counts)


def work(study: Study, data: Data, workers: int, checkpoint_seconds: float, *, quiet: bool) -> None:
    """Work in this process, and in further ones; a signal stops them all."""
    console = human(patient=True)
    done = study.ledger.ended(study.settings.trials)
    board = Board(console, workers, "trials", done, study.settings.trials, quiet=quiet)
    with (
        board,
        _further(study, workers - 1, checkpoint_seconds, board, quiet=quiet) as stop_others,
        stop_signals(ends=saying("the same command")) as asked,
    ):
        try:
            heard = or_unread(asked, console)
            Worker(study, data, checkpoint_seconds, heard, TrialReporter(study, board.post(0))).work()
        except Interrupted as interruption:
            stop_others(interruption.signal)
            tell(console, f"stopped; the same command continues: {study.folder}")
            raise SystemExit(128 + interruption.signal) from None
        except BaseException:
            stop_others(signal.SIGTERM)
            raise


@contextmanager
def _further(
    study: Study, count: int, checkpoint_seconds: float, board: Board, *, quiet: bool
) -> Iterator[Callable[[int], None]]:
    """Further workers of the study, until the block ends; gives a function that sends them a signal."""
    processes = _started(
        (study.folder, study.url, checkpoint_seconds, quiet, board.slot(place))
        for place in range(1, count + 1)
    )

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


def _started(arguments: Iterator[tuple[Any, ...]]) -> list[Any]:
    """A process of one thread for each of the arguments of `_join`."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_join, args=own) for own in arguments]
    if not processes:
        return []
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    # Ctrl-C reaches them too: one that is still starting is to be told by `send`, not to fall over.
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        for process in processes:
            process.start()
    finally:
        signal.signal(signal.SIGINT, handler)
        os.environ.pop("OMP_NUM_THREADS")
        if before is not None:
            os.environ["OMP_NUM_THREADS"] = before
    return processes


def _join(folder: Path, url: str | None, checkpoint_seconds: float, quiet: bool, slot: Any) -> None:
    """A further worker's process."""
    with stop_signals(ends=saying("", quiet=True)) as asked:
        torch.set_num_threads(1)
        console = human(patient=True)
        post = post_to(slot, console, quiet=quiet)
        try:
            with join_study(str(folder), url) as study:
                data = load_data(study.settings.recipe, progress=False)
                heard = or_unread(asked, console)
                Worker(study, data, checkpoint_seconds, heard, TrialReporter(study, post)).work()
        except Interrupted as interruption:
            sys.exit(128 + interruption.signal)
        except UserError as error:
            message = f"ostinato: a worker ended: {error}"
            if slot is None:
                tell(console, message)
            else:
                post.notice(message)
            sys.exit(2)
