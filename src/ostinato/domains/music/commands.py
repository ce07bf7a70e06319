"""Music in commands: `generate` composes, and `score` says how likely pieces are and what surprises."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ostinato.data.sequences import Skipped
from ostinato.data.side import Side
from ostinato.domains.answer import Answer, Asked, Notice, Part
from ostinato.domains.music.chains import chains_notice, chains_record
from ostinato.domains.music.compose import generate
from ostinato.domains.music.layout import has_onsets, roll
from ostinato.domains.music.memory import frames as frames_of
from ostinato.domains.music.open import MusicModel
from ostinato.domains.music.options import ComposeOptions, ScoreOptions
from ostinato.domains.music.reading.keys import in_words
from ostinato.domains.music.reading.pieces import Piece
from ostinato.domains.music.rhythm import attacks
from ostinato.domains.music.source import Source
from ostinato.domains.music.surprise import CONVENTION, PieceScore, score_piece
from ostinato.domains.music.writing import pictures
from ostinato.domains.music.writing.score import Score, check_writable, checked_tempo
from ostinato.domains.music.wrong_notes import CONVENTION as CORRECTIONS
from ostinato.domains.music.wrong_notes import Correction, find_corrections
from ostinato.domains.seed import seeded
from ostinato.errors import UserError, argument
from ostinato.evaluation.numbers import counted, number, score
from ostinato.evaluation.tables import Table, number_columns, table_of
from ostinato.files import check_apart, numbered


def compose(run: Path, asked: Asked, own: ComposeOptions) -> Answer:
    """Compose music, and write it into files."""
    music = MusicModel.open(run, device=asked.device)
    name = f"{run.resolve().name}-{asked.seed}"
    paths = own.out or [Path(name + ending) for ending in (".mid", ".wav", ".png")]
    made = composed(music, asked, own, paths)
    chains = chains_record(music.model)

    def record() -> dict[str, Any]:
        prime = None
        if made.beginning is not None:
            prime = {
                "frames": made.primed,
                "semitones": made.beginning.piece.semitones,
                "key": made.beginning.piece.key or None,
                "notes": made.written[0]["given_notes"],
            }
        own = {} if chains is None else {"chains": chains}
        if has_onsets(made.pieces[0]):
            own["attacks"] = attacks(made.pieces, music.frames_per_beat, made.first_beat)
        return {"pieces": made.written, "frames_per_beat": music.frames_per_beat, "prime": prime} | own

    def parts() -> Iterator[Part]:
        if made.beginning is not None:
            piece = made.beginning.piece
            yield Notice(f"{piece.name}: {counted(made.primed, 'frame')}, {moved(piece)}")
            if made.beginning.unseen:
                yield Notice(unseen(made.beginning.unseen))
        for one in made.written:
            kept = ""
            if made.beginning is not None:
                kept = f"{notes_in_words(one['given_notes'], one['given_notes_kept'], one['added_notes'])}, "
            yield (
                f"{', '.join(one['files'])}: {counted(one['frames'], 'frame')}, {kept}"
                f"{one['notes_per_frame']:.2f} notes a frame"
            )
            yield from (Notice(notice) for notice in one["notices"])

    unmixed = chains_notice(chains)
    return Answer(record, parts(), [] if unmixed is None else [Notice(unmixed)])


@dataclass(frozen=True)
class Composed:
    """Pieces, and the files that they are in. Shapes: K pieces, T frames, V notes.

    Arguments:
        pieces: (K, T, V) uint8, in the key of what they continue.
        written: a record of each.
        beginning: what they continue.
        primed: frames of it that they do.
        first_beat: where their first frame lies, in quarter notes from the first bar line.
    """

    pieces: np.ndarray
    written: list[dict[str, Any]]
    beginning: Source | None
    primed: int
    first_beat: float


def composed(music: MusicModel, asked: Asked, own: ComposeOptions, paths: Sequence[Path]) -> Composed:
    """Compose music, and write it into files, if there are any."""
    for path in paths:
        check_writable(path)
    check_apart(paths, asked.prime)
    checked_tempo(own.tempo)
    beginning = _beginning(music, asked.prime, own)
    given = None if beginning is None else _first(beginning.piece, own.prime_steps)
    primed = 0 if given is None else len(given)
    pieces = generate(
        music.model,
        own.steps,
        visible_size=music.visible_size,
        count=own.count,
        temperature=own.temperature,
        prime=given,
        side=_side(music, beginning, primed, own),
        generator=seeded(asked.seed),
    )
    written, own_key = [], []
    for order, frames in enumerate(pieces, start=1):
        own_key.append(frames if beginning is None else beginning.piece.in_own_key(frames))
        files = [numbered(path, order, own.count) for path in paths]
        record = _composed(files, own_key[-1], frames)
        if files:
            score = _score(music, beginning, frames, primed, own)
            notices = [f"{path}: {text}" for path in files for text in score.write(path, title=path.stem)]
            count, kept = score.counted()
            record |= {"given_notes": count, "given_notes_kept": kept, "added_notes": score.added}
            record["notices"] = notices
        written.append(record)
    first = -music.bars(own.metre, own.pickup).pickup if beginning is None else beginning.piece.first_beat
    return Composed(np.stack(own_key), written, beginning, primed, first)


def _score(
    music: MusicModel, beginning: Source | None, frames: np.ndarray, primed: int, own: ComposeOptions
) -> Score:
    """What is written: the beginning as it came, and new voices from where it ends."""
    if beginning is None:
        beginning = music.source_of_frames(frames[:0], "new", music.bars(own.metre, own.pickup))
    given = beginning.placed.first < primed
    # of a whole piece everything stays, what the model cannot see, too
    whole = primed >= len(beginning.piece)
    given = given | whole
    return beginning.with_frames(frames, given, cut=None if whole else primed, tempo=own.tempo)


def _side(music: MusicModel, beginning: Source | None, primed: int, own: ComposeOptions) -> Side | None:
    """The bars that the model is told: those of what it continues, or those that were asked for."""
    if beginning is None:
        nothing = np.zeros((0, music.visible_size), np.uint8)
        return music.piece("", nothing, music.bars(own.metre, own.pickup)).side(own.steps)
    return beginning.piece.side(primed + own.steps)


def _beginning(music: MusicModel, prime: Any, own: ComposeOptions) -> Source | None:
    """What is continued: a file, or frames that a program has, which are in the model's key."""
    if prime is None:
        for name in ("prime_steps", "semitones", "key"):
            if getattr(own, name) is not None:
                raise UserError(
                    f"expected {argument(name)} with {argument('prime')}, found it alone; leave it out"
                )
        return None
    if isinstance(prime, str | Path):
        for name in ("metre", "pickup"):
            if getattr(own, name) is not None:
                raise UserError(
                    f"expected {argument(name)} without a file to continue, which has its own, found both; "
                    "leave it out"
                )
        return music.source(Path(prime), semitones=own.semitones, key=own.key)
    for name in ("semitones", "key"):
        if getattr(own, name) is not None:
            raise UserError(f"expected {argument(name)} with a file to continue, found frames; move them")
    bars = music.bars(own.metre, own.pickup)
    return music.source_of_frames(frames_of(prime, "prime", music.visible_size), "prime", bars)


def _first(beginning: Piece, steps: int | None) -> np.ndarray:
    """So many frames of what is continued."""
    if steps is not None and not 1 <= steps <= len(beginning.frames):
        raise UserError(
            f"expected {argument('prime_steps')} in [1, {len(beginning.frames)}], the frames of "
            f"{beginning.name}, found {steps}"
        )
    return beginning.frames[:steps]


def _composed(files: list[Path], own: np.ndarray, frames: np.ndarray) -> dict[str, Any]:
    return {
        "files": [str(path) for path in files],
        "frames": len(own),
        "notes_per_frame": float(roll(own).sum(axis=1).mean()),
        # only a piece that is moved back can lose notes
        "notes_off_the_keyboard": int(roll(frames).sum()) - int(roll(own).sum()),
    }


def unseen(count: int) -> str:
    """That the model cannot see so many notes of a piece, in words."""
    return (
        f"{counted(count, 'given note')} the model cannot see (too short for its frames, off its "
        "keyboard, or drums): written as they came"
    )


def moved(piece: Piece) -> str:
    """What was done about the key, in words.

    Example:
        >>> moved(Piece("a.mid", np.zeros((1, 88)), 1, semitones=-2, key="D guessed"))
        'in D, guessed from the notes: moved by -2 semitones for the model and back in what is written'
    """
    done = (
        f"moved by {piece.semitones:+d} semitones for the model and back in what is written"
        if piece.semitones
        else ("in the key the model knows")
    )
    return f"{in_words(piece.key)}: {done}" if piece.key else done


def notes_in_words(given: int, kept: int, added: int, replaced: int = 0) -> str:
    """What became of a piece's notes.

    Example:
        >>> notes_in_words(12, 12, 6, replaced=1), notes_in_words(0, 0, 31, replaced=13)
        ('12 of 12 given notes kept, 1 replaced, 6 added', 'no notes given, 13 replaced, 31 added')
    """
    parts = [f"{kept} of {counted(given, 'given note')} kept" if given else "no notes given"]
    parts += [f"{replaced} replaced"] if replaced else []
    return ", ".join([*parts, f"{added} added"])


def score_pieces(run: Path, files: list[Path], own: ScoreOptions) -> Answer:
    """Rank pieces by likelihood, with their most surprising notes and bars."""
    if own.top < 0:
        raise UserError(f"expected {argument('top')} of at least 0, found {own.top}")
    if own.beats_per_bar is not None and not 1 / 16 <= own.beats_per_bar <= 1000:
        raise UserError(
            f"expected {argument('beats_per_bar')} of 1/16 to 1,000 quarter notes, found "
            f"{own.beats_per_bar:g}"
        )
    if own.out is not None:
        pictures.check_writable(own.out)
    music = MusicModel.open(run, device=own.device)
    pieces, failed = music.read_all(files, semitones=own.semitones, key=own.key)
    if not pieces:
        raise UserError(_none(failed))
    names = [name for name, _ in pieces]
    scores = [score_piece(music.model, piece, beats_per_bar=own.beats_per_bar) for _, piece in pieces]
    better = [find_corrections(music.model, one.piece) if own.wrong_notes else [] for one in scores]
    drawn = [] if own.out is None else _draw(scores, own.out)
    ranked = sorted(zip(names, scores, better, strict=True), key=lambda entry: -entry[1].rank)

    def record() -> dict[str, Any]:
        scored = [_scored(name, one, found, wrong_notes=own.wrong_notes) for name, one, found in ranked]
        unusable = [{"file": skip.path, "reason": skip.reason} for skip in failed]
        return {"pieces": scored, "pictures": drawn, "failed": unusable}

    def parts() -> Iterator[Part]:
        yield _ranking([(name, one) for name, one, _ in ranked])
        for one, found in zip(scores, better, strict=True):
            if own.top:
                yield ""
                yield _notes(one, own.top)
            if own.wrong_notes:
                yield ""
                yield _corrections(one, found[: own.top])
        yield from (Notice(f"picture: {path}") for path in drawn)
        if failed:
            yield Notice(f"{counted(len(failed), 'file or piece', 'files or pieces')} cannot be scored:")
            yield from (Notice(f"  {skip}") for skip in failed)

    return Answer(record, parts(), complete=not failed)


def _none(failed: Sequence[Skipped]) -> str:
    """Nothing could be read: the reason, or the first of them."""
    more = f"; and {len(failed) - 3} more" if len(failed) > 3 else ""
    return "; ".join(str(skip) for skip in failed[:3]) + more


def _scored(name: str, one: PieceScore, found: list[Correction], *, wrong_notes: bool) -> dict[str, Any]:
    record = {"file": name, **one.to_dict()}
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
            title=f"{piece.name}: {shown(one).replace(chr(10), ' ')} nats/frame",
            max_frames=pictures.MOST_FRAMES,
            surprisal=piece.in_own_key(one.surprisal),
            frame_surprisal=one.frame_surprisal,
        )
        paths.append(str(path))
    return paths


def shown(one: PieceScore) -> str:
    """The log-likelihood, marked where it is an estimate, which has its interval."""
    value = one.log_likelihood
    return score(value, "nats/frame", estimate=not one.exact, interval=one.interval)


def _ranking(ranked: list[tuple[str, PieceScore]]) -> Table:
    headings = ("frames", "log-likelihood\n(nats/frame)", "note surprisal\n(bits)")
    table = table_of("piece", *headings, title="most likely first")
    for name, one in ranked:
        table.add(name, str(len(one.piece)), shown(one), number(one.mean_surprisal(), "bits"))
    table.notes = [
        "log-likelihood: mean over all frames, the first included, all 88 notes of each",
        f"note surprisal: {CONVENTION}",
    ]
    return table


def _notes(one: PieceScore, top: int) -> Table:
    headings = ("bar", "beat", "note", "frames", "surprisal (bits)")
    table = Table(number_columns(*headings), f"{one.piece.name}: most surprising notes")
    for note in one.notes()[:top]:
        frames, surprisal = f"{note.begin}-{note.end - 1}", number(note.surprisal, "bits")
        table.add(str(note.bar), f"{note.beat:g}", note.name, frames, surprisal)
    odd = (f"{bar.number} ({number(bar.log_likelihood, 'nats/frame')})" for bar in one.bars()[:3])
    table.notes = [f"least likely bars (nats/frame): {', '.join(odd)}"]
    return table


def _corrections(one: PieceScore, found: list[Correction]) -> Part:
    title = f"{one.piece.name}: notes that a semitone would improve"
    table = Table(
        number_columns("bar", "beat", "note", "better", "gain (bits)"), title, [f"gain: {CORRECTIONS}"]
    )
    for note in found:
        if note.gain > 0:
            bar, beat = one.place(note.begin)
            names = pictures.pitch_name(note.pitch), pictures.pitch_name(note.better)
            table.add(str(bar), f"{beat:g}", *names, number(note.gain, "bits", plus=True))
    return table if table.rows else f"{one.piece.name}: no note would be better a semitone away"
