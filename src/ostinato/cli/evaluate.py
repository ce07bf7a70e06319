"""`ostinato evaluate`: scores of a run's model, or of the baselines alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ostinato.cli.output import human, list_skipped, print_json, print_table
from ostinato.cli.own_options import (
    domain_of,
    given_options,
    option,
    options_for,
    output_options,
    own_options,
)
from ostinato.cli.settings import choice
from ostinato.domains.registry import DOMAINS
from ostinato.errors import UserError
from ostinato.runs.folder import Run

if TYPE_CHECKING:
    from ostinato.domains.declared import DomainDeclared
    from ostinato.domains.domain import Data, Each
    from ostinato.runs.results import Results
    from ostinato.runs.trained import TrainedModel

Named: Any = choice(DOMAINS)
Own: Any = own_options("evaluate")


def evaluate(
    run: Path | None = None,
    *,
    baselines: bool = False,
    data: str | None = None,
    domain: Named = None,
    device: str = "cpu",
    json: bool = False,
    own: Own = None,
) -> int:
    """Score a run's best model on every split of its data, beside the baselines.

    Parameters
    ----------
    run
        The run's folder.
    baselines
        Score the baselines alone, on --data.
    data
        Other data than the run was trained on.
    domain
        With --baselines, what --data is; by default what it looks like.
    device
        Where the model computes: cpu, cuda, cuda:1 or auto; baselines stay on the CPU.
    json
        Print one JSON object.
    """
    if baselines == (run is not None):
        raise UserError(
            "expected a run folder, or --baselines with --data NAME; see ostinato evaluate --help"
        )
    if run is None:
        return _baselines(_declared(data, domain), data, own, json=json)
    if domain is not None:
        raise UserError(
            f"expected {option('domain')} with --baselines, found a run too; a run has its domain"
        )
    return _run(run, data, own, device, json=json)


def _baselines(declared: DomainDeclared, data: str | None, own: Any, *, json: bool) -> int:
    """The baselines alone."""
    from ostinato.data.sequences import SPLITS
    from ostinato.domains.domain import domain_named
    from ostinato.runs.results import Results

    options_for(declared, "evaluate", own, f"baselines on {declared.name}")
    output_options(own, "", f"baselines on {declared.name}")
    kind = domain_named(declared.name)
    loaded = kind.other_data(None, data or str(declared.defaults["data"]), _of_data(declared, own))
    results = Results(kind.baselines(loaded, SPLITS))
    _print(declared.name, results, loaded, f"baselines on {loaded.name}", None, json=json)
    return 0


def _declared(data: str | None, domain: str | None) -> DomainDeclared:
    """The domain that was named, or that data look like."""
    from ostinato.domains import catalogue

    if domain is None and data is not None:
        return catalogue.kind_of(data)
    return DOMAINS[domain or DOMAINS.default]


def _run(folder: Path, data: str | None, own: Any, device: str, *, json: bool) -> int:
    """A run's model, beside the baselines."""
    from ostinato.data.sequences import SPLITS
    from ostinato.domains.domain import domain_named
    from ostinato.nn.devices import find_device
    from ostinato.runs.results import Results
    from ostinato.runs.trained import load_model

    find_device(device)
    declared = domain_of(folder)
    options = options_for(declared, "evaluate", own, f"one on {declared.name}: {folder}")
    opened, kind = Run.open(folder), domain_named(declared.name)
    output = str(opened.config().get("output", ""))
    changed = output_options(own, output, f"one of {output or 'no output'}: {folder}")
    trained = load_model(opened, device=device, changed=changed)
    of_data = _of_data(declared, own)
    if data is not None:
        loaded = kind.other_data(opened, data, of_data)
    elif of_data:
        raise UserError(
            f"expected {option(next(iter(of_data)))} with --data, found it alone; a run's own data are as "
            "they were"
        )
    else:
        loaded = own_data(trained)
    results = Results(kind.score(trained.recipe, trained.model, loaded, SPLITS, baselines=True))
    each = None if options is None else kind.each(trained.model, loaded, options)
    _print(declared.name, results, loaded, f"{opened.folder} on {loaded.name}", each, json=json)
    return 0


def _of_data(declared: DomainDeclared, own: Any) -> dict[str, Any]:
    """The options that are settings of data."""
    settings = {setting.name for setting in declared.settings}
    return {name: value for name, value in given_options(own).items() if name in settings}


def own_data(trained: TrainedModel) -> Data:
    """The data a model was trained on.

    Raises:
        UserError: they have changed since.
    """
    from ostinato.domains.domain import domain_named, load_data

    loaded, before = load_data(trained.recipe), trained.data["version"]
    if loaded.version != before:
        what, name = domain_named(trained.recipe.domain).what, trained.recipe.data
        raise UserError(
            f"expected the data the run was trained on (version {before[:12]}), found version "
            f"{loaded.version[:12]} of {name}: its files changed, and held-out {what} may have been trained "
            f"on; name the data with --data {name} to score it all the same"
        )
    return loaded


def _print(domain: str, results: Results, data: Data, title: str, each: Each | None, *, json: bool) -> None:
    from ostinato.domains.domain import domain_named

    list_skipped(data, human())
    if json:
        about = {"name": data.name, "version": data.version, "details": data.details}
        listing = {} if each is None else {each.name: each.records}
        print_json({"data": about, "results": results.to_dict()} | listing)
        return
    print_table(domain_named(domain).table(results.scores, title, whole=True))
    if each is not None:
        print_table(each.table)
