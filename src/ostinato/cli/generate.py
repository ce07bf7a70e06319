"""`ostinato generate`: new music from a run's model, as MIDI, sound or picture; or new text."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Group, Parameter

from ostinato.cli.generate_text import TextOptions, write_text
from ostinato.cli.kinds import Forms, for_kind
from ostinato.cli.output import human, print_json, say

if TYPE_CHECKING:
    import numpy as np

    from ostinato.data.pieces import Piece
    from ostinato.music_model import MusicModel


@dataclass(frozen=True, kw_only=True)
class MusicOptions:
    """What only a run on music is asked.

    Parameters
    ----------
    steps
        Frames to compose; a frame is a quarter note in bach and jsb, an eighth in most others.
    prime_steps
        Use only so many frames of the beginning of --prime; by default all.
    semitones
        Move --prime by so many semitones for the model; by default to C, by its key.
    count
        Pieces to compose; their files are numbered.
    tempo
        Quarter notes a minute.
    out
        A file to write, .mid, .wav, .png, .svg or .pdf; can be given several times. By default
        RUN-SEED.mid, .wav and .png in the current folder.
    """

    steps: int = 64
    prime_steps: int | None = None
    semitones: int | None = None
    count: int = 1
    tempo: float = 100.0
    out: list[Path] | None = None


def generate(
    run: Path,
    *,
    temperature: float = 1.0,
    seed: int = 0,
    prime: str | None = None,
    device: str = "cpu",
    json: bool = False,
    music: Annotated[MusicOptions | None, Parameter(name="*", group=Group("Music", sort_key=2))] = None,
    text: Annotated[TextOptions | None, Parameter(name="*", group=Group("Text", sort_key=3))] = None,
) -> int:
    """Let a trained model compose music, or write text.

    Pieces of music are in C major or C minor, as the model's data were; a piece that continues --prime is
    moved back to the key of that file. Text is printed as it comes.

    Parameters
    ----------
    run
        The run's folder.
    temperature
        Below 1 the model keeps to what is likely, above 1 it is bolder; for text, 0 always takes the most
        probable token.
    seed
        Another number, another piece or text.
    prime
        What to continue, which is part of what is written: of music a MIDI, MusicXML, ABC or kern file; of
        text a beginning.
    device
        Where the model computes: cpu, cuda, cuda:1 or auto; a seed draws the same numbers on each.
    json
        Print one JSON object.
    """
    forms: Forms = {"music": compose, "words": write_text, "chars": write_text}
    form, own = for_kind(run, forms, {"music": music, "words": text, "chars": text})
    return form(run, own, temperature=temperature, seed=seed, prime=prime, device=device, json=json)


def compose(
    run: Path,
    own: MusicOptions | None,
    *,
    temperature: float,
    seed: int,
    prime: str | None,
    device: str,
    json: bool,
) -> int:
    """Compose music, and write it into files."""
    from ostinato.data import piano_roll
    from ostinato.generation import generate as draw
    from ostinato.music_model import MusicModel, seeded

    own = own or MusicOptions()
    music = MusicModel.open(run, device=device)
    name = f"{run.resolve().name}-{seed}"
    paths = own.out or [Path(name + ending) for ending in (".mid", ".wav", ".png")]
    for path in paths:
        piano_roll.check_writable(path)
    beginning = None if prime is None else music.read(Path(prime), semitones=own.semitones)
    given = None if beginning is None else beginning.frames[: own.prime_steps]
    pieces = draw(
        music.model,
        own.steps,
        visible_size=music.visible_size,
        count=own.count,
        temperature=temperature,
        prime=given,
        generator=seeded(seed),
    )
    written = []
    for number, frames in enumerate(pieces, start=1):
        piece = frames if beginning is None else beginning.in_own_key(frames)
        files = [numbered(path, number, own.count) for path in paths]
        for path in files:
            piano_roll.write(
                piece, path, frames_per_beat=music.frames_per_beat, tempo=own.tempo, title=path.stem
            )
        written.append(_record(files, piece, frames))
    _print(written, beginning, 0 if given is None else len(given), music, json=json)
    return 0


def numbered(path: Path, number: int, count: int) -> Path:
    """The path of one piece of several: `a.mid` is `a-3.mid` for the third.

    Example:
        >>> str(numbered(Path("a.mid"), 3, 12)), str(numbered(Path("a.mid"), 1, 1))
        ('a-03.mid', 'a.mid')
    """
    return path if count == 1 else path.with_stem(f"{path.stem}-{number:0{len(str(count))}d}")


def _record(files: list[Path], own: np.ndarray, frames: np.ndarray) -> dict[str, Any]:
    return {
        "files": [str(path) for path in files],
        "frames": len(own),
        "notes_per_frame": float(own.sum(axis=1).mean()),
        # only a piece that is moved back can lose notes
        "notes_off_the_keyboard": int(frames.sum()) - int(own.sum()),
    }


def _print(
    written: list[dict[str, Any]], beginning: Piece | None, given: int, music: MusicModel, *, json: bool
) -> None:
    semitones = 0 if beginning is None else beginning.semitones
    if json:
        print_json(
            {
                "pieces": written,
                "frames_per_beat": music.frames_per_beat,
                "prime": None if beginning is None else {"frames": given, "semitones": semitones},
            }
        )
        return
    if beginning is not None:
        human().print(f"{beginning.name}: {given} frames, {said(semitones)}")
    for record in written:
        say(
            f"{', '.join(record['files'])}: {record['frames']} frames, "
            f"{record['notes_per_frame']:.2f} notes a frame"
        )


def said(semitones: int) -> str:
    """What was done about the key, in words.

    Example:
        >>> said(-2)
        'moved by -2 semitones for the model and back in what is written'
    """
    return (
        f"moved by {semitones:+d} semitones for the model and back in what is written"
        if semitones
        else ("in the key the model knows")
    )
