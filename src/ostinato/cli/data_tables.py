"""What `ostinato data` prints: the list of the data sets, and what is in one of each kind."""

from collections.abc import Sequence
from typing import Any

from ostinato.cli.tables import Column, Table, number_columns, print_table, say
from ostinato.data.listing import COMES_WITH, FOLDER, GENERATED, Listed
from ostinato.data.pictures import pitch_name

# Into a file or a pipe a line is not broken: names are looked for there.
_PIPED = 1000
# A sequence of a task is shown up to so many steps; a token's count is shown for so many tokens.
_STEPS, _TOKENS = 60, 8


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


def _table(first: str, *headings: str) -> Table:
    return Table([Column(first, text=True), *number_columns(*headings)])


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
        table.add(split, f"{own['songs']:,}", f"{own['frames']:,}", notes, silent, pitches)
    print_table(table, piped=_PIPED)


def _show_text(found: dict[str, Any]) -> None:
    vocabulary, unit = found["vocabulary"], found["vocabulary"]["unit"]
    say(f"{unit}, split {found['details']['split']}")
    lines = "sentences" if unit == "words" else "lines"
    table = _table("split", unit, lines, f"different {unit}", "unknown")
    for split, own in found["splits"].items():
        numbers = (f"{own[name]:,}" for name in ("tokens", "sentences", "distinct"))
        table.add(split, *numbers, f"{own['unknown']:.2%}")
    print_table(table, piped=_PIPED)
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
        table.add(split, f"{own['sequences']:,}")
    print_table(table, piped=_PIPED)
    say("those of train are drawn anew for each epoch")
    inputs, judged = found["sample"]["inputs"], found["judged_steps"]
    more = f" ... ({len(inputs) - _STEPS:,} more)" if len(inputs) > _STEPS else ""
    say(f"a sequence: {' '.join(map(str, inputs[:_STEPS]))}{more}")
    first, last = f"{judged[0] + 1:,}", f"{judged[-1] + 1:,}"
    steps = f"step {last}" if first == last else f"steps {first} to {last}"
    say(f"its answer, at {steps}: {' '.join(map(str, found['sample']['targets']))}")
