"""`ostinato score`: how likely pieces are under a run's model, and which of their notes are surprising."""

from pathlib import Path
from typing import Any

from rich.table import Table

from ostinato.cli.generate import numbered
from ostinato.cli.output import human, print_json, print_table
from ostinato.corrections import CONVENTION as CORRECTIONS
from ostinato.corrections import Correction, find_corrections
from ostinato.data import pictures
from ostinato.errors import UserError
from ostinato.music_model import MusicModel
from ostinato.scoring import CONVENTION, PieceScore, score_piece


def score(
    run: Path,
    files: list[Path],
    *,
    top: int = 10,
    wrong_notes: bool = False,
    beats_per_bar: float = 4.0,
    semitones: int | None = None,
    out: Path | None = None,
    device: str = "cpu",
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
    device
        Where the model computes: cpu, cuda, cuda:1 or auto.
    json
        Print one JSON object.
    """
    if top < 0:
        raise UserError(f"expected --top of at least 0, found {top}")
    if beats_per_bar <= 0:
        raise UserError(f"expected --beats-per-bar above 0, found {beats_per_bar:g}")
    if out is not None:
        pictures.check_writable(out)
    music = MusicModel.open(run, device=device)
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
        human().print(f"picture: {path}", markup=False, soft_wrap=True)
    return 0


def _record(file: Path, one: PieceScore, found: list[Correction], *, wrong_notes: bool) -> dict[str, Any]:
    record = {"file": str(file), **one.to_dict()}
    if wrong_notes:
        corrections = [note.to_dict() for note in found]
        record["corrections"] = {"unit": "bits", "convention": CORRECTIONS, "notes": corrections}
    return record


def _draw(scores: list[PieceScore], out: Path) -> list[str]:
    paths = []
    for number, one in enumerate(scores, start=1):
        path = numbered(out, number, len(scores))
        piece = one.piece
        # rows where they sound: the picture shows the piece in its own key
        pictures.picture(
            piece.in_own_key(piece.frames),
            path,
            frames_per_beat=piece.frames_per_beat,
            title=f"{piece.name}: {one.log_likelihood:.2f} nats/frame",
            max_frames=pictures.MOST_FRAMES,
            surprisal=piece.in_own_key(one.surprisal),
            frame_surprisal=one.frame_surprisal,
        )
        paths.append(str(path))
    return paths


def _print_ranking(ranked: list[tuple[Path, PieceScore]]) -> None:
    table = Table(title="most likely first", title_justify="left")
    table.add_column("piece", overflow="fold")
    for column in ("frames", "log-likelihood (nats/frame)", "note surprisal (bits)"):
        table.add_column(column, justify="right")
    for file, one in ranked:
        mark = "" if one.exact else "≈ "
        table.add_row(
            str(file), str(len(one.piece)), f"{mark}{one.log_likelihood:.3f}", f"{one.mean_surprisal():.2f}"
        )
    print_table(table)
    print("log-likelihood: mean over all frames, the first included, all 88 notes of each")
    print(f"note surprisal: {CONVENTION}\n")


def _print_notes(one: PieceScore, top: int) -> None:
    table = Table(title=f"{one.piece.name}: most surprising notes", title_justify="left")
    for column in ("bar", "beat", "note", "frames", "surprisal (bits)"):
        table.add_column(column, justify="right")
    for note in one.notes()[:top]:
        table.add_row(
            str(note.bar),
            f"{note.beat:g}",
            note.name,
            f"{note.begin}-{note.end - 1}",
            f"{note.surprisal:.2f}",
        )
    print_table(table)
    oddest = ", ".join(f"{bar.number} ({bar.log_likelihood:.1f})" for bar in one.bars()[:3])
    print(f"least likely bars (nats/frame): {oddest}\n")


def _print_corrections(one: PieceScore, found: list[Correction]) -> None:
    title = f"{one.piece.name}: notes that a semitone would improve"
    table = Table(title=title, title_justify="left")
    for column in ("bar", "beat", "note", "better", "gain (bits)"):
        table.add_column(column, justify="right")
    for note in found:
        if note.gain > 0:
            bar, beat = one.place(note.begin)
            names = pictures.pitch_name(note.pitch), pictures.pitch_name(note.better)
            table.add_row(str(bar), f"{beat:g}", *names, f"{note.gain:+.2f}")
    if table.rows:
        print_table(table)
        print(f"gain: {CORRECTIONS}\n")
    else:
        print(f"{one.piece.name}: no note would be better a semitone away\n")
