"""What `ostinato data` prints: the list of the data sets, and what is in one of each kind."""

from collections.abc import Sequence
from typing import Any

from ostinato.cli.output import print_part
from ostinato.cli.tables import print_table, say
from ostinato.data.listing import COMES_WITH, FOLDER, GENERATED, TO_INSTALL, Listed
from ostinato.domains import catalogue
from ostinato.domains.declared import DomainDeclared
from ostinato.evaluation.tables import Column, Table

# Into a file or a pipe a line is not broken: names are looked for there.
_PIPED = 1000


def origin_in_words(entry: Listed) -> str:
    """How a data set is had here.

    Example:
        >>> origin_in_words(Listed("a", "delays", "", "", "", "generated", "ostinato"))
        'generated'
    """
    words = {
        COMES_WITH: f"comes with {entry.place}",
        FOLDER: "in the folder of OSTINATO_DATA",
        GENERATED: "generated",
        TO_INSTALL: f"to install: {entry.place}",
    }
    return words.get(entry.origin, "in the cache" if entry.ready else "to download: ostinato data fetch")


def show_listing(entries: Sequence[Listed]) -> None:
    """What there is, how it is had here, and whose it is."""
    table = Table([Column(heading, text=True) for heading in ("name", "kind", "what", "here")])
    for entry in entries:
        table.add(entry.name, entry.kind, entry.about, origin_in_words(entry))
    print_table(table, piped=_PIPED)
    say("")
    say("Where they come from:")
    for line in sources(entries):
        say(line)


def sources(entries: Sequence[Listed]) -> list[str]:
    """Public sources and licences, a line for those that share both; of addresses, the folder.

    Example:
        >>> jsb = Listed("jsb", "music", "", "https://example.org/a/jsb.mat", "unknown", "cache", "")
        >>> ptb = Listed("ptb", "text", "", "https://example.org/a/ptb.txt", "unknown", "cache", "")
        >>> sources([jsb, ptb])
        ['jsb, ptb: https://example.org/a/; licence: unknown']
    """
    together: dict[tuple[str, str], list[str]] = {}
    for entry in entries:
        folder, slash, _ = entry.source.rpartition("/")
        source = folder + slash if "://" in entry.source else entry.source
        together.setdefault((source, entry.licence), []).append(entry.name)
    return [
        f"{', '.join(names)}: {source}; licence: {licence}" for (source, licence), names in together.items()
    ]


def show(kind: DomainDeclared, found: dict[str, Any]) -> None:
    """What `describe` of this kind found."""
    say(f"{found['name']}: {found['details']['source']}")
    for part in catalogue.module(kind).described(found):
        print_part(part, piped=_PIPED)
    say(f"version {found['version']}")
    if found["skipped"]:
        say(f"skipped {len(found['skipped'])}:")
        for skip in found["skipped"]:
            say(f"  {skip['path']}: {skip['reason']}")


def show_overlap(found: dict[str, Any]) -> None:
    """What of each split the training data have."""
    for split, own in found.items():
        count = f"{own['seen']:,} of {own['of']:,} {own['what']}"
        say(f"{split}: training has seen {count}; {own['share']:.1%} of one on average is in such runs")
    if found:
        say(next(iter(found.values()))["how"])
