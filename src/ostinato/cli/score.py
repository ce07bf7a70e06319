"""`ostinato score`: how likely pieces or sentences are under a run's model, and what surprises in them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Group, Parameter

from ostinato.cli.generate import numbered
from ostinato.cli.kinds import Forms, for_kind
from ostinato.cli.output import human, print_json, print_table, say
from ostinato.cli.score_text import TextOptions, score_text_file
from ostinato.cli.tables import Column, Table, number_columns
from ostinato.errors import UserError
from ostinato.numbers import number

if TYPE_CHECKING:
    from ostinato.corrections import Correction
    from ostinato.scoring import PieceScore


@dataclass(frozen=True, kw_only=True)
class MusicOptions:
    """What only a run on music is asked.

    Parameters
    ----------
    top
        How many surprising notes of each piece to list.
    wrong_notes
        Also list the notes that, moved by a semitone, would make the piece more likely (takes longer).
    beats_per_bar
        Quarter notes in a bar, to number the bars.
    semitones
        Move the files by so many semitones for the model; by default to C, by their keys.
    out
        Draw the piano-roll coloured by surprisal to this file (.png, .svg or .pdf); numbered if several
        pieces are scored.
    device
        Where the model computes: cpu, cuda, cuda:1 or auto.
    """

    top: int = 10
    wrong_notes: bool = False
    beats_per_bar: float = 4.0
    semitones: int | None = None
    out: Path | None = None
    device: str = "cpu"


def score(
    run: Path,
    files: list[Path],
    *,
    json: bool = False,
    music: Annotated[MusicOptions | None, Parameter(name="*", group=Group("Music", sort_key=2))] = None,
    text: Annotated[TextOptions | None, Parameter(name="*", group=Group("Text", sort_key=3))] = None,
) -> int:
    """Rank pieces by likelihood, with their most surprising notes and bars; or score sentences of a text.

    Parameters
    ----------
    run
        The run's folder; for text also an ARPA file.
    files
        MIDI, MusicXML, ABC or kern files; or one text, UTF-8, one sentence a line.
    json
        Print one JSON object.
    """
    forms: Forms = {
        "music": score_pieces,
        "words": score_text_file,
        "chars": score_text_file,
    }
    form, own = for_kind(run, forms, {"music": music, "words": text, "chars": text})
    return form(run, files, own, json=json)


def score_pieces(run: Path, files: list[Path], own: MusicOptions | None, *, json: bool) -> int:
    """Score pieces of music; print them, or JSON."""
    from ostinato.corrections import find_corrections
    from ostinato.data import pictures
    from ostinato.music_model import MusicModel
    from ostinato.scoring import score_piece

    own = own or MusicOptions()
    if own.top < 0:
        raise UserError(f"expected --top of at least 0, found {own.top}")
    if own.beats_per_bar <= 0:
        raise UserError(f"expected --beats-per-bar above 0, found {own.beats_per_bar:g}")
    if own.out is not None:
        pictures.check_writable(own.out)
    music = MusicModel.open(run, device=own.device)
    scores = [
        score_piece(music.model, music.read(file, semitones=own.semitones), beats_per_bar=own.beats_per_bar)
        for file in files
    ]
    better = [find_corrections(music.model, one.piece) if own.wrong_notes else [] for one in scores]
    drawn = [] if own.out is None else _draw(scores, own.out)
    ranked = sorted(zip(files, scores, better, strict=True), key=lambda entry: -entry[1].log_likelihood)
    if json:
        pieces = [_record(file, one, found, wrong_notes=own.wrong_notes) for file, one, found in ranked]
        print_json({"pieces": pieces, "pictures": drawn})
        return 0
    _print_ranking([(file, one) for file, one, _ in ranked])
    for one, found in zip(scores, better, strict=True):
        if own.top:
            _print_notes(one, own.top)
        if own.wrong_notes:
            _print_corrections(one, found[: own.top])
    for path in drawn:
        human().print(f"picture: {path}")
    return 0


def _record(file: Path, one: PieceScore, found: list[Correction], *, wrong_notes: bool) -> dict[str, Any]:
    from ostinato.corrections import CONVENTION as CORRECTIONS

    record = {"file": str(file), **one.to_dict()}
    if wrong_notes:
        corrections = [note.to_dict() for note in found]
        record["corrections"] = {"unit": "bits", "convention": CORRECTIONS, "notes": corrections}
    return record


def _draw(scores: list[PieceScore], out: Path) -> list[str]:
    from ostinato.data import pictures

    paths = []
    for order, one in enumerate(scores, start=1):
        path = numbered(out, order, len(scores))
        piece = one.piece
        # rows where they sound: the picture shows the piece in its own key
        pictures.picture(
            piece.in_own_key(piece.frames),
            path,
            frames_per_beat=piece.frames_per_beat,
            title=f"{piece.name}: {number(one.log_likelihood, 'nats/frame')} nats/frame",
            max_frames=pictures.MOST_FRAMES,
            surprisal=piece.in_own_key(one.surprisal),
            frame_surprisal=one.frame_surprisal,
        )
        paths.append(str(path))
    return paths


def _print_ranking(ranked: list[tuple[Path, PieceScore]]) -> None:
    from ostinato.scoring import CONVENTION

    headings = ("frames", "log-likelihood\n(nats/frame)", "note surprisal\n(bits)")
    table = Table([Column("piece", text=True), *number_columns(*headings)], "most likely first")
    for file, one in ranked:
        mark = "" if one.exact else "≈ "
        likelihood = number(one.log_likelihood, "nats/frame")
        table.add(str(file), str(len(one.piece)), mark + likelihood, number(one.mean_surprisal(), "bits"))
    table.notes = [
        "log-likelihood: mean over all frames, the first included, all 88 notes of each",
        f"note surprisal: {CONVENTION}",
    ]
    print_table(table)


def _print_notes(one: PieceScore, top: int) -> None:
    headings = ("bar", "beat", "note", "frames", "surprisal (bits)")
    table = Table(number_columns(*headings), f"{one.piece.name}: most surprising notes")
    for note in one.notes()[:top]:
        frames, surprisal = f"{note.begin}-{note.end - 1}", number(note.surprisal, "bits")
        table.add(str(note.bar), f"{note.beat:g}", note.name, frames, surprisal)
    odd = (f"{bar.number} ({number(bar.log_likelihood, 'nats/frame')})" for bar in one.bars()[:3])
    table.notes = [f"least likely bars (nats/frame): {', '.join(odd)}"]
    say("")
    print_table(table)


def _print_corrections(one: PieceScore, found: list[Correction]) -> None:
    from ostinato.corrections import CONVENTION as CORRECTIONS
    from ostinato.data import pictures

    title = f"{one.piece.name}: notes that a semitone would improve"
    table = Table(
        number_columns("bar", "beat", "note", "better", "gain (bits)"), title, [f"gain: {CORRECTIONS}"]
    )
    for note in found:
        if note.gain > 0:
            bar, beat = one.place(note.begin)
            names = pictures.pitch_name(note.pitch), pictures.pitch_name(note.better)
            table.add(str(bar), f"{beat:g}", *names, number(note.gain, "bits", plus=True))
    say("")
    if table.rows:
        print_table(table)
    else:
        say(f"{one.piece.name}: no note would be better a semitone away")
