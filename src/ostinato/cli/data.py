"""`ostinato data`: list the music data sets, make one ready, show what is in one (or in your own files)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from ostinato.cli.options import OPTIONS
from ostinato.errors import UserError, near_names

if TYPE_CHECKING:
    from ostinato.data.sequences import Splits

app = App(
    name="data",
    help="List, fetch and show music data sets, or look into files of your own.",
    group_commands="Commands",
    group_parameters=OPTIONS,
)

# Into a file or a pipe a line is not broken: names are looked for there.
_PIPED = 1000

Json = Annotated[bool, Parameter(negative="", help="Print one JSON object on standard output.")]


@app.command(name="list")
def list_(*, json: Json = False) -> None:
    """List the data sets: what they are, where they come from, and whether they are ready."""
    from ostinato.data import music

    entries = music.listing()
    if json:
        _print_json({"data_sets": [vars(entry) for entry in entries]})
        return
    from ostinato.cli.tables import Column, Table, print_table

    table = Table([Column(heading, text=True) for heading in ("name", "what", "ready", "from")])
    for entry in entries:
        table.add(entry.name, entry.about, "yes" if entry.ready else "to fetch", entry.source)
    print_table(table, piped=_PIPED)


@app.command
def fetch(name: str, *, json: Json = False) -> None:
    """Make a data set ready: download and verify it, or read it from the scores, so that training can begin.

    Parameters
    ----------
    name
        One of the names that `ostinato data list` prints.
    """
    from ostinato.data import music

    if name not in music.names():
        raise UserError(f"expected the name of a data set, found {name!r}; {near_names(name, music.names())}")
    data = music.load(name)
    if json:
        _print_json({"name": name, "ready": True, "version": data.version, "source": data.details["source"]})
    else:
        from ostinato.cli.tables import say

        say(f"{name} is ready: {len(data):,} songs, from {data.details['source']}")


@app.command
def show(
    name: str,
    *,
    out: Path | None = None,
    frames_per_beat: int | None = None,
    transpose: bool = True,
    json: Json = False,
) -> None:
    """Show what is in a data set: songs, frames, polyphony, pitches, files that were skipped; and a picture.

    Parameters
    ----------
    name
        A name that `ostinato data list` prints, or a file or folder of MIDI, MusicXML, ABC or kern.
    out
        Draw the first training song as a piano roll, to this file (.png, .svg or .pdf).
    frames_per_beat
        Frames to a quarter note.
    transpose
        Move each piece to C major or C minor.
    """
    from ostinato.data import music, pictures, statistics

    data = music.load(name, frames_per_beat=frames_per_beat, transpose=transpose)
    if out:
        song = data.train[0]
        title = f"{data.name}: {song.name}"
        pictures.picture(song.values, out, frames_per_beat=data.details["frames_per_beat"], title=title)
    if json:
        _print_json(statistics.describe(data) | {"picture": str(out) if out else None})
    else:
        _show(data, out)


def _show(data: Splits, out: Path | None) -> None:
    from ostinato.cli.tables import Column, Table, number_columns, print_table, say
    from ostinato.data import pictures, statistics

    headings = ("songs", "frames", "notes per frame", "silent frames", "pitches")
    table = Table([Column("split", text=True), *number_columns(*headings)])
    for split, sequences in data.items():
        found = statistics.of(sequences)
        low, high = found["pitch_range"] or (None, None)
        pitches = f"{pictures.pitch_name(low)} to {pictures.pitch_name(high)}" if low and high else "none"
        notes, silent = f"{found['polyphony_mean']:.2f}", f"{found['silent_frames']:.1%}"
        table.add(split, f"{found['songs']:,}", f"{found['frames']:,}", notes, silent, pitches)
    details = data.details
    keys = "in C major and C minor" if details["transposed"] else "in their own keys"
    say(f"{data.name}: {details['source']}")
    beat = f"{details['frames_per_beat']} frame{'s' if details['frames_per_beat'] > 1 else ''}"
    say(f"{beat} to a quarter note, {keys}, split {details['split']}")
    print_table(table, piped=_PIPED)
    say(f"version {data.version}")
    if out:
        say(f"picture: {out}")
    if data.skipped:
        say(f"skipped {len(data.skipped)}:")
        for skip in data.skipped:
            say(f"  {skip}")


def _print_json(result: dict[str, Any]) -> None:
    print(json.dumps(result))
