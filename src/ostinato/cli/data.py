"""`ostinato data`: list the data sets, make one ready, show what is in one (or in your own files)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from ostinato.cli.options import OPTIONS
from ostinato.cli.output import print_json
from ostinato.errors import UserError

app = App(
    name="data",
    help="List, fetch and show data sets: music, text, and problems with long delays.",
    group_commands="Commands",
    group_parameters=OPTIONS,
)

Json = Annotated[bool, Parameter(negative="", help="Print one JSON object on standard output.")]


@app.command(name="list")
def list_(*, json: Json = False) -> None:
    """List the data sets: what they are, where they come from, and whether they are ready."""
    from ostinato.cli import data_tables
    from ostinato.data import catalogue

    entries = catalogue.listing()
    if json:
        print_json({"data_sets": [vars(entry) | {"ready": entry.ready} for entry in entries]})
        return
    data_tables.show_listing(entries)


@app.command
def fetch(name: str, *, json: Json = False) -> None:
    """Make a data set ready: download and verify it, or read it from the scores, so that training can begin.

    Parameters
    ----------
    name
        One of the names that `ostinato data list` prints.
    """
    from ostinato.cli import data_tables
    from ostinato.data import catalogue

    kind = catalogue.listed(name).kind
    data = catalogue.module(kind).load(name)
    # asked again: what was to download is in the cache now
    entry = catalogue.listed(name)
    if json:
        found = {"name": name, "kind": kind, "ready": entry.ready, "version": data.version}
        print_json(found | {"source": entry.source, "origin": entry.origin, "place": entry.place})
    else:
        from ostinato.cli.tables import say

        content = data_tables.content(kind, data)
        say(f"{name} is ready: {content}, {data_tables.origin_in_words(entry)} ({entry.place})")


@app.command
def show(
    name: str,
    *,
    out: Path | None = None,
    frames_per_beat: int | None = None,
    transpose: Annotated[bool | None, Parameter(negative="--no-transpose")] = None,
    unit: Literal["words", "chars"] | None = None,
    vocabulary_size: int | None = None,
    length: int | None = None,
    json: Json = False,
) -> None:
    """Show what is in a data set, and where it is from.

    Of music: songs, polyphony, pitches, the files that were skipped, and a picture. Of text: tokens,
    sentences, the vocabulary and the first lines. Of a problem with long delays: one of its sequences.

    Parameters
    ----------
    name
        A name that `ostinato data list` prints; a file or folder of MIDI, MusicXML, ABC or kern; a text
        file, several separated by commas, or a folder of .txt files.
    out
        Music: draw the first training song as a piano roll, to this file (.png, .svg or .pdf).
    frames_per_beat
        Music: frames to a quarter note.
    transpose
        Music: move each piece to C major or C minor, as is done where nothing is said.
    unit
        Text: what a token is; words where nothing is said. Files of any name are read as text with it.
    vocabulary_size
        Text: the most tokens that are told apart; 10,000 where nothing is said.
    length
        A problem with long delays: steps of its sequences, or of its delay; 50 where nothing is said.
    """
    from ostinato.cli import data_tables
    from ostinato.data import catalogue

    given = {
        "frames_per_beat": frames_per_beat,
        "transpose": transpose,
        "unit": unit,
        "vocabulary_size": vocabulary_size,
        "length": length,
    }
    given = {option: value for option, value in given.items() if value is not None}
    kind = _kind(name, unit)
    _check_options(name, kind, [*given, *(["out"] if out is not None else [])])
    module = catalogue.module(kind)
    data = module.load(name, **given)
    if out is not None:
        _draw(data, out)
    if json:
        print_json(module.describe(data) | {"picture": str(out) if out else None})
        return
    data_tables.show(kind, module.describe(data))
    if out is not None:
        from ostinato.cli.tables import say

        say(f"picture: {out}")


def _kind(name: str, unit: str | None) -> str:
    """The kind of data; a unit makes text of a file of any name."""
    from ostinato.data import catalogue

    kind = catalogue.kind_of(name)
    if name in catalogue.names():
        return kind
    if unit is None and Path(name).is_file() and not catalogue.owned(Path(name)):
        raise UserError(
            f"expected a score or a .txt file, found {name}; if it is text, say --unit words or --unit chars"
        )
    return kind if unit is None else "text"


def _check_options(name: str, kind: str, given: list[str]) -> None:
    """An option of another kind of data is a mistake, not to be passed over."""
    from ostinato.data import catalogue

    owners = {option: k for k in catalogue.KINDS for option in catalogue.module(k).OPTIONS} | {"out": "music"}
    for option in given:
        if owners[option] != kind:
            raise UserError(
                f"--{option.replace('_', '-')} is for {WORDS[owners[option]]}, found {name}, which is "
                f"{WORDS[kind]}; leave it out"
            )


WORDS = {"music": "music", "text": "text", "task": "a problem with long delays"}


def _draw(data: Any, out: Path) -> None:
    from ostinato.data import pictures

    song = data.train[0]
    title = f"{data.name}: {song.name}"
    pictures.picture(song.values, out, frames_per_beat=data.details["frames_per_beat"], title=title)
