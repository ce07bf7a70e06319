"""What `ostinato data` prints: the list of the data sets, and what is in one of each kind."""

import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.table import Table

from ostinato.cli.output import print_table
from ostinato.data.listing import COMES_WITH, FOLDER, GENERATED, Listed
from ostinato.data.pictures import pitch_name

# A sequence of a task is shown up to so many steps; a token's count is shown for so many tokens.
_STEPS, _TOKENS = 60, 8


def say(line: str) -> None:
    """A line of its own: names of files are not to be taken for markup, nor broken in two.

    What a terminal would obey is shown, not sent: text is whatever its author wrote.
    """
    plain = "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in line)
    Console(file=sys.stdout, markup=False, highlight=False).print(plain, soft_wrap=True)


def origin_in_words(entry: Listed) -> str:
    """How a data set is had here.

    Example:
        >>> origin_in_words(Listed("a", "task", "", "", "", "generated", "ostinato"))
        'generated'
    """
    words = {
        COMES_WITH: f"comes with {entry.place}",
        FOLDER: "in the folder of OSTINATO_DATA",
        GENERATED: "generated",
    }
    return words.get(entry.origin, "in the cache" if entry.ready else "to download: ostinato data fetch")


def listing_table(entries: Iterable[Listed]) -> Table:
    """What there is, and how it is had here."""
    table = Table("name", "kind", "what", "here", box=None, pad_edge=False)
    table.columns[0].no_wrap = table.columns[1].no_wrap = True
    for entry in entries:
        table.add_row(entry.name, entry.kind, entry.about, origin_in_words(entry))
    return table


def sources(entries: Iterable[Listed]) -> list[str]:
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


def content(kind: str, data: Any) -> str:
    """How much there is of a data set that was loaded.

    Example:
        >>> from ostinato.data import tasks
        >>> content("task", tasks.load("temporal-order"))
        'sequences of 50 steps, drawn anew for each epoch'
    """
    if kind == "music":
        return f"{len(data):,} songs"
    if kind == "text":
        total = sum(data.frames(split) for split in ("train", "valid", "test"))
        return f"{total:,} {data.vocabulary.unit}"
    return f"sequences of {data.task.length} steps, drawn anew for each epoch"


def show(kind: str, found: dict[str, Any]) -> None:
    """What `describe` of this kind found."""
    say(f"{found['name']}: {found['details']['source']}")
    {"music": _show_music, "text": _show_text, "task": _show_task}[kind](found)
    say(f"version {found['version']}")
    if found["skipped"]:
        say(f"skipped {len(found['skipped'])}:")
        for skip in found["skipped"]:
            say(f"  {skip['path']}: {skip['reason']}")


def _table(*headings: str) -> Table:
    table = Table(headings[0], box=None, pad_edge=False)
    for heading in headings[1:]:
        table.add_column(heading, justify="right")
    return table


def _show_music(found: dict[str, Any]) -> None:
    details = found["details"]
    keys = "in C major and C minor" if details["transposed"] else "in their own keys"
    beat = f"{details['frames_per_beat']} frame{'s' if details['frames_per_beat'] > 1 else ''}"
    say(f"{beat} to a quarter note, {keys}, split {details['split']}")
    table = _table("split", "songs", "frames", "notes per frame", "silent frames", "pitches")
    for split, own in found["splits"].items():
        low, high = own["pitch_range"] or (None, None)
        pitches = f"{pitch_name(low)} to {pitch_name(high)}" if low and high else "none"
        notes, silent = f"{own['polyphony_mean']:.2f}", f"{own['silent_frames']:.1%}"
        table.add_row(split, f"{own['songs']:,}", f"{own['frames']:,}", notes, silent, pitches)
    print_table(table)


def _show_text(found: dict[str, Any]) -> None:
    vocabulary, unit = found["vocabulary"], found["vocabulary"]["unit"]
    say(f"{unit}, split {found['details']['split']}")
    lines = "sentences" if unit == "words" else "lines"
    table = _table("split", unit, lines, f"different {unit}", "unknown")
    for split, own in found["splits"].items():
        numbers = (f"{own[name]:,}" for name in ("tokens", "sentences", "distinct"))
        table.add_row(split, *numbers, f"{own['unknown']:.2%}")
    print_table(table)
    frequent = ", ".join(f"{_shown(token)} {count:,}" for token, count in vocabulary["frequent"][:_TOKENS])
    say(f"vocabulary: {vocabulary['size']:,} {unit}; most frequent in train: {frequent}")
    say("train begins:")
    for line in found["sample"]:
        say(f"  {line}")


def _shown(token: str) -> str:
    r"""A token that can be seen: characters such as a space or a line's end by their names in Python.

    Example:
        >>> _shown("the"), _shown(" "), _shown("\n")
        ('the', "' '", "'\\n'")
    """
    return token if token.isprintable() and not token.isspace() else repr(token)


def _show_task(found: dict[str, Any]) -> None:
    say(found["about"])
    say(f"{found['steps']:,} steps of {found['symbols']} symbols; {found['classes']} classes")
    table = _table("split", "sequences")
    for split, own in found["splits"].items():
        note = " drawn anew each epoch" if split == "train" else ""
        table.add_row(split, f"{own['sequences']:,}{note}")
    print_table(table)
    inputs, judged = found["sample"]["inputs"], found["judged_steps"]
    more = f" ... ({len(inputs) - _STEPS:,} more)" if len(inputs) > _STEPS else ""
    say(f"a sequence: {' '.join(map(str, inputs[:_STEPS]))}{more}")
    first, last = f"{judged[0] + 1:,}", f"{judged[-1] + 1:,}"
    steps = f"step {last}" if first == last else f"steps {first} to {last}"
    say(f"its answer, at {steps}: {' '.join(map(str, found['sample']['targets']))}")
