"""`ostinato data`: list the data sets, make one ready, show what is in one (or in your own files)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from ostinato.cli.options import OPTIONS
from ostinato.cli.output import print_json
from ostinato.cli.own_options import given_options, option_names, own_options
from ostinato.cli.own_options import option as typed
from ostinato.cli.settings import choice
from ostinato.domains.registry import DOMAINS
from ostinato.errors import UserError

if TYPE_CHECKING:
    from ostinato.domains.declared import DomainDeclared

Named: Any = choice(DOMAINS)
Own: Any = own_options("show")

app = App(
    name="data",
    help="List, fetch and show data sets: music, text, problems with long delays, and series.",
    group_commands="Commands",
    group_parameters=OPTIONS,
)

Json = Annotated[bool, Parameter(negative="", help="Print one JSON object on standard output.")]


@app.command(name="list")
def list_(*, json: Json = False) -> None:
    """List the data sets: what they are, where they come from, and whether they are ready."""
    from ostinato.cli import data_tables
    from ostinato.domains import catalogue

    entries = catalogue.listing()
    if json:
        print_json({"data_sets": [vars(entry) | {"ready": entry.ready} for entry in entries]})
        return
    data_tables.show_listing(entries)


@app.command
def fetch(name: str, *, json: Json = False) -> None:
    """Make a data set ready: download and verify it, or read it from files, so that training can begin.

    Parameters
    ----------
    name
        One of the names that `ostinato data list` prints.
    """
    from ostinato.cli import data_tables
    from ostinato.domains import catalogue

    entry = catalogue.listed(name)
    module = catalogue.module(catalogue.kind_of(name))
    data = module.load(name)
    # asked again: what was to download is in the cache now
    entry = catalogue.listed(name)
    if json:
        found = {"name": name, "kind": entry.kind, "ready": entry.ready, "version": data.version}
        print_json(found | {"source": entry.source, "origin": entry.origin, "place": entry.place})
    else:
        from ostinato.cli.tables import say

        say(f"{name} is ready: {module.content(data)}, {data_tables.origin_in_words(entry)} ({entry.place})")


@app.command
def show(
    name: str, *, domain: Named = None, overlap: bool = False, json: Json = False, own: Own = None
) -> None:
    """Show what is in a data set, and where it is from.

    Of music: songs, polyphony, pitches, the files that were skipped, and a picture. Of text: tokens,
    sentences, the vocabulary and the first lines. Of a problem with long delays: one of its sequences. Of
    series: steps, columns, what is missing, and a picture.

    Parameters
    ----------
    name
        A name that `ostinato data list` prints; a file or folder of MIDI, MusicXML, ABC or kern; a text
        file, several separated by commas, or a folder of .txt files; a CSV, NPY or NPZ file, or a folder of
        such files.
    domain
        What it is; by default what it looks like.
    overlap
        Also say what of validation and test data stands in the training data already.
    """
    from ostinato.cli import data_tables
    from ostinato.cli.tables import say
    from ostinato.domains import catalogue

    given = given_options(own)
    kind = _kind(name, domain, given)
    for option in given:
        _check_option(name, kind, option)
    out = given.pop("out", None)
    module = catalogue.module(kind)
    data = module.load(name, **given)
    if out is not None:
        module.draw(data, out)
    found = module.describe(data)
    if overlap:
        found["overlap"] = _overlap(kind, data)
    if json:
        print_json(found | {"picture": str(out) if out else None})
        return
    data_tables.show(kind, found)
    if overlap:
        data_tables.show_overlap(found["overlap"])
    if out is not None:
        say(f"picture: {out}")


def _overlap(kind: DomainDeclared, data: Any) -> dict[str, Any]:
    """What of validation and test data the training data have, by split."""
    from ostinato.domains.domain import domain_named

    domain = domain_named(kind.name)
    found = {}
    for split in ("valid", "test"):
        if data.frames(split) == 0:
            continue
        overlap = domain.overlap(data, split)
        if overlap is None:
            raise UserError(
                f"expected data that can stand in each other with {typed('overlap')}, found {kind.called}; "
                "leave it out"
            )
        seen = int(overlap.seen.sum())
        own = {
            "seen": seen,
            "of": len(overlap.seen),
            "share": float(overlap.shares.mean()),
            "how": overlap.how,
        }
        found[split] = own | {"what": kind.sequences}
    return found


def _kind(name: str, domain: str | None, given: dict[str, Any]) -> DomainDeclared:
    """The kind of data: what was said it is, or what it looks like."""
    from ostinato.domains import catalogue

    if domain is not None:
        return next(kind for kind in catalogue.kinds() if kind.family == DOMAINS[domain].family)
    kind = catalogue.kind_of(name)
    if catalogue.of_name(name) is not None:
        return kind
    for claiming in catalogue.kinds():
        if claiming.claims in given:
            return claiming
    if Path(name).is_file() and not catalogue.owned(Path(name)):
        reads = " or ".join(each.reads for each in catalogue.kinds() if each.reads)
        raise UserError(f"expected {reads}, found {name}; if it is text, say --unit words or --unit chars")
    return kind


def _check_option(name: str, kind: DomainDeclared, option: str) -> None:
    """An option of another kind of data is a mistake, not to be passed over."""
    from ostinato.domains import catalogue

    having = {each.name: each for each in catalogue.kinds() if option in option_names(each, "show")}
    if kind.name not in having:
        called = " or ".join(each.called for each in having.values())
        raise UserError(
            f"{typed(option)} is for {called}, found {name}, which is {kind.called}; leave it out"
        )
