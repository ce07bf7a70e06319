"""`ostinato evaluate`: scores of a run's model, or of the baselines alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ostinato.cli.output import human, list_skipped, print_json, print_table, show
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
from ostinato.evaluation.tables import Table, table_of
from ostinato.runs.folder import Run

if TYPE_CHECKING:
    from ostinato.domains.declared import DomainDeclared
    from ostinato.domains.domain import Data, Domain, Each
    from ostinato.nn import SequenceModel
    from ostinato.runs.results import ByOverlap, Results

Named: Any = choice(DOMAINS)
Own: Any = own_options("evaluate")


def evaluate(
    run: Path | None = None,
    *,
    baselines: bool = False,
    data: str | None = None,
    domain: Named = None,
    device: str = "cpu",
    overlap: bool = False,
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
    overlap
        Also score apart what of validation and test data stands in the training data already: songs whose
        tune, harmony or frames a training song has in any key; sentences that the training text has.
    json
        Print one JSON object.
    """
    if baselines == (run is not None):
        raise UserError(
            "expected a run folder, or --baselines with --data NAME; see ostinato evaluate --help"
        )
    if run is None:
        if overlap:
            raise UserError(
                f"expected a run with {option('overlap')}, found {option('baselines')}; leave it out"
            )
        return _baselines(_declared(data, domain), data, own, json=json)
    if domain is not None:
        raise UserError(
            f"expected {option('domain')} with --baselines, found a run too; a run has its domain"
        )
    return _run(run, data, own, device, overlap=overlap, json=json)


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
    _print(declared.name, results, loaded, f"baselines on {loaded.name}", None, [], json=json)
    return 0


def _declared(data: str | None, domain: str | None) -> DomainDeclared:
    """The domain that was named, or that data look like."""
    from ostinato.domains import catalogue

    if domain is None and data is not None:
        return catalogue.kind_of(data)
    return DOMAINS[domain or DOMAINS.default]


def _run(folder: Path, data: str | None, own: Any, device: str, *, overlap: bool, json: bool) -> int:
    """A run's model, beside the baselines."""
    from ostinato.data.sequences import SPLITS
    from ostinato.domains.domain import domain_named
    from ostinato.nn.devices import find_device
    from ostinato.runs.results import Results
    from ostinato.runs.trained import load_model, own_data

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
    apart = _apart(kind, trained.model, loaded) if overlap else []
    _print(declared.name, results, loaded, f"{opened.folder} on {loaded.name}", each, apart, json=json)
    return 0


def _apart(kind: Domain, model: SequenceModel, data: Data) -> list[ByOverlap]:
    """What of validation and test data the training data have."""
    from ostinato.runs.results import by_overlap

    found = [by_overlap(kind, model, data, split) for split in ("valid", "test") if data.frames(split) > 0]
    if None in found:
        raise UserError(
            f"expected data that can stand in each other with {option('overlap')}, found "
            f"{kind.declared.called}; leave it out"
        )
    return [each for each in found if each is not None]


def _of_data(declared: DomainDeclared, own: Any) -> dict[str, Any]:
    """The options that are settings of data."""
    settings = {setting.name for setting in declared.settings}
    return {name: value for name, value in given_options(own).items() if name in settings}


def _print(
    domain: str,
    results: Results,
    data: Data,
    title: str,
    each: Each | None,
    apart: list[ByOverlap],
    *,
    json: bool,
) -> None:
    from ostinato.domains.domain import domain_named

    list_skipped(data, human())
    if json:
        about = {"name": data.name, "version": data.version, "details": data.details}
        listing: dict[str, Any] = {} if each is None else {each.name: each.records}
        if apart:
            listing["overlap"] = {one.split: one.to_dict() for one in apart}
        print_json({"data": about, "results": results.to_dict()} | listing)
        return
    print_table(domain_named(domain).table(results.scores, title, whole=True))
    for one in apart:
        print_table(_overlap_table(one))
    if each is not None:
        print_table(each.table)


def _overlap_table(apart: ByOverlap) -> Table:
    """Seen and unseen beside all."""
    unit = apart.scores["all"].unit
    title = f"log-likelihood on {apart.split} by what training has ({unit})"
    table = table_of("", apart.of, "steps", "log-likelihood", title=title)
    for name, score in apart.scores.items():
        table.add(name, f"{score.songs:,}", f"{score.count:,}", show(score))
    table.notes = [f"{apart.how}; {apart.share:.1%} of all steps are in such runs"]
    return table
