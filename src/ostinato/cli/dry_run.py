"""`ostinato train --dry-run`: what a run would be, before it is begun."""

from pathlib import Path
from typing import Any

import torch

from ostinato.cli.help import written
from ostinato.cli.output import human, list_skipped, print_json, print_table, say
from ostinato.cli.own_options import option
from ostinato.domains.domain import Data, domain_named
from ostinato.evaluation.numbers import counted, span
from ostinato.evaluation.tables import Column, Table, number_columns
from ostinato.planning import Plan, make_plan
from ostinato.recipe.recipe import Recipe
from ostinato.runs.folder import Run
from ostinato.training.progress import Progress, check_same_run, check_same_settings, go_on


def print_plan(
    recipe: Recipe, data: Data, folder: Path, run: Run | None, *, device: torch.device, json: bool
) -> int:
    """Print the plan of a run, new or to go on with; what training would refuse is refused.

    Args:
        recipe: the settings.
        data: what it would train on.
        folder: where it would be, or is.
        run: the run that would go on; None for a new one.
        device: where it would compute.
        json: print one JSON object instead.
    """
    progress = None
    if run is None:
        Run.check_unused(folder)
    elif run.has_checkpoint("last"):
        state = run.load_checkpoint("last")[1]
        progress = Progress.from_dict(state["progress"])
        check_same_run(recipe, domain_named(recipe.domain).identity(data), state)
        go_on(progress, Recipe.from_dict(state["recipe"]), recipe)
    else:
        check_same_settings(recipe, Recipe.from_dict(run.config()))
    plan = make_plan(recipe, data, folder, device=device, progress=progress)
    list_skipped(data, human())
    if json:
        print_json(plan.to_dict())
    else:
        _print(plan, progress)
    return 0


def _print(plan: Plan, progress: Progress | None) -> None:
    letters = plan.recipe.name
    say(f"dry run of {letters} on {plan.data['name']}: nothing is trained or written")
    if plan.changed:
        table = _table("settings of your own", "setting", "here", f"{letters}'s")
        for name, (here, usual) in plan.changed.items():
            table.add(option(name), written(here), written(usual))
        print_table(table)
    else:
        say(f"settings: all as {letters} has them for this data")
    print_table(_data_table(plan.data))
    table = _table("parameters", "name", "shape", "number")
    for name, shape, number in plan.rehearsal.parameters:
        table.add(name, " x ".join(map(str, shape)), f"{number:,}")
    table.add("all", "", f"{sum(n for *_, n in plan.rehearsal.parameters):,}", bold=True)
    print_table(table)
    for line in (*_time(plan), *_memory(plan)):
        say(line)
    stands = "" if progress is None else f", {counted(progress.epoch, 'epoch')} done"
    say(f"run: {plan.folder}{stands}")


def _data_table(data: dict[str, Any]) -> Table:
    first = next(iter(data["splits"].values()))
    table = _table(f"data: {data['name']}", "split", *first)
    for split, counts in data["splits"].items():
        table.add(split, *(f"{count:,}" for count in counts.values()))
    facts = {name: value for name, value in data.items() if name not in ("name", "version", "splits")}
    table.notes = [", ".join(f"{name}: {value:,}" for name, value in facts.items())]
    return table


def _table(title: str, first: str, *others: str) -> Table:
    return Table([Column(first, text=True), *number_columns(*others)], title)


def _time(plan: Plan) -> list[str]:
    """An epoch and all of them, and how that is known."""
    each = plan.rehearsal
    how = "measured" if each.validation_measured else "estimated from the time of a loss"
    bounded = "cg_iterations" in plan.recipe  # an update is as long as it takes, up to this
    if bounded:
        of = (
            f"with {counted(plan.recipe.cg_iterations, 'iteration')}, from the first of one that was "
            "measured; updates may stop earlier"
        )
    else:
        of = f"the mean of {each.updates:,} measured"
    most = "at most " if bounded else "about "
    passes = " and a pass to find the clipping threshold" if plan.finds_threshold else ""
    if plan.ended:
        return [f"time: none, the run has ended: {plan.ended}"]
    return [
        f"time: {most}{span(each.epoch_seconds)} an epoch on {plan.device} with "
        f"{counted(plan.threads, 'thread')}: {counted(each.updates_per_epoch, 'update')} of "
        f"{span(each.update_seconds)} ({of}) and {span(each.validation_seconds)} of validation ({how})",
        f"in all: {most}{span(plan.seconds)} for {counted(plan.epochs, 'epoch')}{passes}; less where "
        f"patience ({counted(plan.recipe.patience, 'epoch')}) ends it sooner; without the scores at the end",
    ]


def _memory(plan: Plan) -> list[str]:
    each = plan.rehearsal
    total = each.parameter_bytes + each.optimizer_bytes + each.update_bytes
    return [
        f"memory: {size(total)} of tensors: parameters {size(each.parameter_bytes)}, optimizer "
        f"{size(each.optimizer_bytes)}, an update's gradients and activations {size(each.update_bytes)} "
        "(peak of one that was measured); without the data, the native kernels' own memory, Python and "
        "PyTorch",
    ]


def size(count: int) -> str:
    """Bytes in words.

    Example:
        >>> size(900), size(302_752), size(101_376_076)
        ('900 B', '0.3 MB', '101.4 MB')
    """
    if count < 100_000:
        return f"{count:,} B" if count < 1000 else f"{count / 1000:.1f} kB"
    return f"{count / 1e6:,.1f} MB"
