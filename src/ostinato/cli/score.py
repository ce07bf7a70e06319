"""`ostinato score`: how likely pieces are under a run's model, and which of their notes are surprising."""

from pathlib import Path
from typing import Any

from ostinato.cli.generate import numbered
from ostinato.cli.output import human, print_json, print_table, say
from ostinato.cli.tables import Column, Table, number_columns
from ostinato.corrections import CONVENTION as CORRECTIONS
from ostinato.corrections import Correction, find_corrections
from ostinato.data import pictures
from ostinato.errors import UserError
from ostinato.music_model import MusicModel
from ostinato.numbers import number
from ostinato.scoring import CONVENTION, UNIT, PieceScore, score_piece


def score(
    run: Path,
    files: list[Path],
    *,
    top: int = 10,
    wrong_notes: bool = False,
    beats_per_bar: float = 4.0,
    semitones: int | None = None,
    out: Path | None = None,
    json: bool = False,
) -> int:
    """Rank pieces by likelihood; list their most surprising notes and bars: wrong notes, odd passages.

    Parameters
    ----------
    run
        The run's folder.
    files
        MIDI, MusicXML, ABC or kern files.
    top
        How many surprising notes of each piece to list.
    wrong_notes
        Also list the notes that, moved by a semitone, would make the piece more likely (takes longer).
    beats_per_bar
        Quarter notes in a bar, to number the bars.
    semitones
        Move the files by so many semitones for the model, instead of to C by their keys.
    out
        Draw the piano-roll coloured by surprisal to this file (.png, .svg or .pdf); numbered if several
        pieces are scored.
    json
        Print one JSON object.
    """
    if top < 0:
        raise UserError(f"expected --top of at least 0, found {top}")
    if beats_per_bar <= 0:
        raise UserError(f"expected --beats-per-bar above 0, found {beats_per_bar:g}")
    if out is not None:
        pictures.check_writable(out)
    music = MusicModel.open(run)
    scores = [
        score_piece(music.model, music.read(file, semitones=semitones), beats_per_bar=beats_per_bar)
        for file in files
    ]
    better = [find_corrections(music.model, one.piece) if wrong_notes else [] for one in scores]
    drawn = [] if out is None else _draw(scores, out)
    ranked = sorted(zip(files, scores, better, strict=True), key=lambda entry: -entry[1].log_likelihood)
    if json:
        pieces = [_record(file, one, found, wrong_notes=wrong_notes) for file, one, found in ranked]
        print_json({"pieces": pieces, "pictures": drawn})
        return 0
    _print_ranking([(file, one) for file, one, _ in ranked])
    for one, found in zip(scores, better, strict=True):
        if top:
            _print_notes(one, top)
        if wrong_notes:
            _print_corrections(one, found[:top])
    for path in drawn:
        human().print(f"picture: {path}")
    return 0


def _record(file: Path, one: PieceScore, found: list[Correction], *, wrong_notes: bool) -> dict[str, Any]:
    record = {"file": str(file), **one.to_dict()}
    if wrong_notes:
        corrections = [note.to_dict() for note in found]
        record["corrections"] = {"unit": "bits", "convention": CORRECTIONS, "notes": corrections}
    return record


def _draw(scores: list[PieceScore], out: Path) -> list[str]:
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
    headings = ("frames", "log-likelihood\n(nats/frame)", "note surprisal\n(bits)")
    table = Table([Column("piece", text=True), *number_columns(*headings)], "most likely first")
    for file, one in ranked:
        mark = "" if one.exact else "≈ "
        likelihood = number(one.log_likelihood, "nats/frame")
        table.add(str(file), str(len(one.piece)), mark + likelihood, number(one.mean_surprisal(), UNIT))
    table.notes = [
        "log-likelihood: mean over all frames, the first included, all 88 notes of each",
        f"note surprisal: {CONVENTION}",
    ]
    print_table(table)


def _print_notes(one: PieceScore, top: int) -> None:
    headings = ("bar", "beat", "note", "frames", "surprisal (bits)")
    table = Table(number_columns(*headings), f"{one.piece.name}: most surprising notes")
    for note in one.notes()[:top]:
        frames, surprisal = f"{note.begin}-{note.end - 1}", number(note.surprisal, UNIT)
        table.add(str(note.bar), f"{note.beat:g}", note.name, frames, surprisal)
    odd = (f"{bar.number} ({number(bar.log_likelihood, 'nats/frame')})" for bar in one.bars()[:3])
    table.notes = [f"least likely bars (nats/frame): {', '.join(odd)}"]
    say("")
    print_table(table)


def _print_corrections(one: PieceScore, found: list[Correction]) -> None:
    title = f"{one.piece.name}: notes that a semitone would improve"
    table = Table(
        number_columns("bar", "beat", "note", "better", "gain (bits)"), title, [f"gain: {CORRECTIONS}"]
    )
    for note in found:
        if note.gain > 0:
            bar, beat = one.place(note.begin)
            names = pictures.pitch_name(note.pitch), pictures.pitch_name(note.better)
            table.add(str(bar), f"{beat:g}", *names, number(note.gain, UNIT, plus=True))
    say("")
    if table.rows:
        print_table(table)
    else:
        say(f"{one.piece.name}: no note would be better a semitone away")
