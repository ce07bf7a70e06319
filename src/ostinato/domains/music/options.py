"""What commands can be told of music alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

MAX_FRAMES_PER_BEAT = 48
# How files are read: settings of a run, options of commands that read other files, arguments of `load`.
READING = ("frames_per_beat", "transpose", "quantize", "pedal", "repeats", "chords", "key", "frames")


@dataclass(frozen=True, kw_only=True)
class ComposeOptions:
    """Of `ostinato generate`.

    Parameters
    ----------
    steps
        Frames to compose; a frame is a quarter note in bach and jsb, an eighth in most others.
    prime_steps
        Use only so many frames of the beginning of --prime; by default all.
    semitones
        Move --prime by so many semitones for the model; by default to C, by its key.
    key
        The key of --prime, by which it is moved to C for the model: a name, such as D, Bb or F#m, or guessed
        from the notes, or stated by the file; by default as the run's data were read.
    count
        Pieces to compose; their files are numbered.
    tempo
        Quarter notes a minute; by default those of --prime, or 100.
    temperature
        Below 1 the model keeps to what is likely, above 1 it is bolder.
    metre
        The time signature, such as 3/4; by default what most pieces of the data have. --prime has its own.
    pickup
        Quarter notes before the first full bar; by default as many as most pieces in this metre have.
    out
        A file to write, .mid, .musicxml, .wav, .png, .svg or .pdf; can be given several times. By default
        RUN-SEED.mid, .wav and .png in the current folder.
    """

    steps: int = 64
    prime_steps: int | None = None
    semitones: int | None = None
    key: str | None = None
    count: int = 1
    tempo: float | None = None
    temperature: float = 1.0
    metre: str | None = None
    pickup: float | None = None
    out: list[Path] | None = None


@dataclass(frozen=True, kw_only=True)
class ScoreOptions:
    """Of `ostinato score`.

    Parameters
    ----------
    top
        How many surprising notes of each piece to list.
    wrong_notes
        Also list the notes that, moved by a semitone, would make the piece more likely (takes longer).
    beats_per_bar
        Quarter notes in every bar, to number the bars; by default what the piece's metres say.
    semitones
        Move the files by so many semitones for the model; by default to C, by their keys.
    key
        The key of all the files, by which they are moved to C for the model: a name, such as D, Bb or F#m, or
        guessed from the notes, or stated by each file; by default as the run's data were read.
    out
        Draw the piano-roll coloured by surprisal to this file (.png, .svg or .pdf); numbered if several
        pieces are scored.
    device
        Where the model computes: cpu, cuda, cuda:1 or auto.
    """

    top: int = 10
    wrong_notes: bool = False
    beats_per_bar: float | None = None
    semitones: int | None = None
    key: str | None = None
    out: Path | None = None
    device: str = "cpu"


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """Of `ostinato evaluate`.

    Parameters
    ----------
    frames_per_beat
        Frames a quarter note, or auto, for the data named by --data.
    transpose
        Transpose files to C major or C minor, for the data named by --data.
    quantize
        How notes of files named by --data become frames; by default as for the run.
    pedal
        Whether the sustain pedal holds notes of files named by --data.
    repeats
        Repeats are played, or written once, in files named by --data.
    chords
        Whether the chord symbols of ABC and MusicXML sound in files named by --data.
    key
        What files named by --data are moved to C by: the key guessed from notes, or stated.
    frames
        Whether frames of files named by --data say where notes begin; by default as for the run.
    per_song
        List the log-likelihood of each song of a split.
    """

    frames_per_beat: int | Literal["auto"] | None = None
    transpose: bool = True
    quantize: Literal["nearest", "sample"] | None = None
    pedal: bool = False
    repeats: Literal["played", "written"] | None = None
    chords: bool = False
    key: Literal["guessed", "stated"] = "guessed"
    frames: Literal["onsets", "piano-roll"] | None = None
    per_song: Literal["train", "valid", "test"] | None = None


@dataclass(frozen=True, kw_only=True)
class ShowOptions:
    """Of `ostinato data show`.

    Parameters
    ----------
    out
        Draw the first training song as a piano roll, to this file (.png, .svg or .pdf).
    frames_per_beat
        Frames to a quarter note; auto, the default for files, takes what suits their notes.
    transpose
        Move each piece to C major or C minor, as is done where nothing is said.
    quantize
        How notes become frames: at the nearest one, as by default, or sample, as in runs of before.
    pedal
        Whether the sustain pedal of MIDI files holds notes.
    repeats
        Repeats and endings are played, or written once; by default played in ABC alone.
    chords
        Whether the chord symbols of ABC and MusicXML sound.
    key
        What each piece is moved to C by: the key guessed from its notes, or the one that its file states.
    frames
        Whether frames say where notes begin (onsets); by default they say what sounds, a piano-roll.
    """

    out: Path | None = None
    frames_per_beat: int | Literal["auto"] | None = None
    transpose: bool = True
    quantize: Literal["nearest", "sample"] | None = None
    pedal: bool = False
    repeats: Literal["played", "written"] | None = None
    chords: bool = False
    key: Literal["guessed", "stated"] = "guessed"
    frames: Literal["onsets", "piano-roll"] | None = None
