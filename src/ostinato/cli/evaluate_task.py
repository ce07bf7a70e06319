"""`ostinato evaluate` for a run on a task with long delays."""

from ostinato.building import load_model
from ostinato.cli.output import print_json, print_table
from ostinato.cli.task_output import task_table
from ostinato.data.tasks import TaskData, find_task
from ostinato.errors import UserError
from ostinato.results import score_run
from ostinato.runs import Run


def evaluate_task(run: Run, data: str | None, *, listing: bool, device: str, json: bool) -> int:
    """Score the run's best model on fresh sequences of its task."""
    if data is not None or listing:
        option = "--data" if data is not None else "--per-song or --per-sentence"
        raise UserError(f"expected none of it for a run on a task, found {option}; leave it out")
    recipe = load_model(run).recipe
    fresh = TaskData(find_task(recipe.data, recipe.length))
    results = score_run(run, fresh, device=device)
    if json:
        identity = {"name": fresh.name, "version": fresh.version, "details": fresh.details}
        print_json({"data": identity, "results": results.to_dict()})
    else:
        print_table(task_table(results, f"{run.folder} on {fresh.name}"))
    return 0
