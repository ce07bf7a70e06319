"""How notes are made into frames, as a user asks for it and a run keeps it; and what that cost, in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ostinato.domains.music.grid import Cost, Quantize
from ostinato.domains.music.layout import Frames, roll
from ostinato.domains.music.reading.notation import Playing
from ostinato.evaluation.numbers import counted

Repeats = Literal["played", "written"]


@dataclass(frozen=True)
class AsFrames:
    """What is asked of reading music as frames.

    Arguments:
        frames_per_beat: frames to a quarter note; "auto" takes those that suit the files' own notes.
        transpose: whether each piece is moved to C major or C minor.
        quantize: how notes are placed, see `grid.place`; by default "nearest" for files, "sample" for `bach`.
        pedal: whether the sustain pedal of MIDI holds notes.
        repeats: whether repeats and endings are played, or every bar once as it is written; by default they
            are played in ABC and not in MusicXML.
        chords: whether the chord symbols of ABC and MusicXML sound.
        metre: whether the place in bar and beat is a side input.
        look_back: whether the bars before are, too.
        key: what `transpose` goes by: the key "guessed" from the notes, the one that a file has "stated", or,
            of a piece, one that the user names.
        frames: whether they say where notes begin (`layout`); by default they are piano-rolls.
    """

    frames_per_beat: int | Literal["auto"] | None = None
    transpose: bool = True
    quantize: Quantize | None = None
    pedal: bool = False
    repeats: Repeats | None = None
    chords: bool = False
    metre: bool = False
    look_back: bool = False
    key: str = "guessed"
    frames: Frames | None = None

    @property
    def onsets(self) -> bool:
        """Whether frames say where notes begin."""
        return self.frames == "onsets"

    @property
    def playing(self) -> Playing:
        """What of the notation is played."""
        return Playing(None if self.repeats is None else self.repeats == "played", self.chords)

    def convention(self, quantize: Quantize) -> dict[str, Any]:
        """What a run keeps of it, to read other pieces in the same way."""
        kept: dict[str, Any] = {"quantize": quantize, "pedal": self.pedal, "chords": self.chords}
        if self.key != "guessed":
            kept["key"] = self.key
        if self.frames is not None:
            kept["frames"] = self.frames
        return kept if self.repeats is None else kept | {"repeats": self.repeats}


USUAL = AsFrames()
BEFORE = AsFrames(quantize="sample")  # in runs of before there was a choice


def convention_of(details: Mapping[str, Any]) -> AsFrames:
    """How the data of a run were read, from their details; runs of before have samples.

    Example:
        >>> convention_of({"frames_per_beat": 2, "transposed": True}).quantize
        'sample'
    """
    return AsFrames(
        details["frames_per_beat"],
        details["transposed"],
        details.get("quantize", "sample"),
        details.get("pedal", False),
        details.get("repeats"),
        details.get("chords", False),
        bool(details.get("metre")),
        bool(details.get("metre", {}).get("look_back")),
        details.get("key", "guessed"),
        details.get("frames", "piano-roll"),
    )


def report_of(cost: Cost, played: tuple[float, float], songs: Sequence[np.ndarray]) -> dict[str, Any]:
    """What it cost to make frames of notes; can be written as JSON.

    Args:
        cost: of all pieces.
        played: quarter notes of all notes together, and those in which at least one sounds.
        songs: the frames (T, 88), or (T, 176) with onsets.
    """
    songs = [roll(song) for song in songs]
    sounding = sum(int(song.any(axis=1).sum()) for song in songs)
    return {
        "notes": cost.notes,
        "moved": cost.moved,
        "mean_move": cost.distance / cost.moved if cost.moved else 0.0,
        "largest_move": cost.farthest,
        "lost": cost.lost,
        "unisons": cost.unisons,
        "polyphony_played": played[0] / played[1] if played[1] else 0.0,
        "polyphony_frames": sum(int(song.sum()) for song in songs) / sounding if sounding else 0.0,
    }


def report_lines(report: Mapping[str, Any]) -> list[str]:
    """The report in words.

    Example:
        >>> for line in report_lines(report_of(Cost(10, 2, 0.2, 0.125, 1), (12.0, 8.0), [np.eye(88)])):
        ...     print(line)
        10 notes read; 2 moved (20.0%); 1 lost
        moved by 0.100 quarter notes on average, 0.125 at most
        1.50 notes at a time as played, 1.00 in frames; silence left out
    """
    notes, moved = report["notes"], report["moved"]
    how = f" ({moved / notes:.1%})" if moved else ""
    by = f"moved by {report['mean_move']:.3f} quarter notes on average, {report['largest_move']:.3f} at most"
    played, framed = report["polyphony_played"], report["polyphony_frames"]
    unison = f", {report['unisons']:,} in unison with another" if report["unisons"] else ""
    return [
        f"{counted(notes, 'note')} read; {moved:,} moved{how}; {report['lost']:,} lost{unison}",
        *([by] if moved else []),
        f"{played:.2f} notes at a time as played, {framed:.2f} in frames; silence left out",
    ]
