"""`ostinato harmonize`: voices added to a melody, or a gap filled, by a run's model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ostinato.cli.output import human, print_json, say
from ostinato.cli.own_options import domain_of
from ostinato.domains.music.declared import MUSIC
from ostinato.errors import UserError
from ostinato.evaluation.numbers import counted, number
from ostinato.files import check_apart

if TYPE_CHECKING:
    import numpy as np

    from ostinato.domains.music.harmonize import Constraint
    from ostinato.domains.music.open import MusicModel
    from ostinato.domains.music.particles import Particles
    from ostinato.domains.music.source import Source
    from ostinato.domains.music.writing.score import Score


def harmonize(
    run: Path,
    melody: Path,
    *,
    out: list[Path] | None = None,
    particles: int = 500,
    temperature: float = 1.0,
    seed: int = 0,
    fixed: list[str] | None = None,
    free: list[str] | None = None,
    above: bool = False,
    semitones: int | None = None,
    key: str | None = None,
    tempo: float | None = None,
    device: str = "cpu",
    json: bool = False,
) -> int:
    """Let a trained model add voices to a melody, or fill a gap in a piece.

    Every given note is written as it came, in its own track, with all else that the file says; what is
    composed has tracks of its own, the highest voice first. Nothing is added above the highest given
    note. With --fixed or --free, parts of the file are held, with their silences, and all else is composed
    anew; a note that sounds in what is held is kept whole.

    Parameters
    ----------
    run
        The run's folder.
    melody
        The MIDI, MusicXML, ABC or kern file with the given notes.
    out
        A file to write, .mid, .musicxml, .wav, .png, .svg or .pdf; needed, and can be given several times.
    particles
        Drafts that are kept side by side and weighed by how well they lead to the given notes: more are
        better and slower.
    temperature
        Below 1 the model keeps to what is likely, above 1 it is bolder.
    seed
        Another number, another harmony.
    fixed
        A region to hold as it is: "bars 5-8" (both are in it, and a pickup is bar 0), 0-16 (quarter notes
        from the first), C4-G5 (pitches), 0-16@C4-G5 or "bars 5-8@C4-G5"; can be given several times.
    free
        A region to compose anew while the rest is held, written like --fixed; can be given several times.
    above
        Allow notes above the melody.
    semitones
        Move the file by so many semitones for the model, instead of to C by its key.
    key
        The file's key, by which it is moved to C for the model: a name, such as D, Bb or F#m, or guessed from
        the notes, or stated by the file; by default as the run's data were read.
    tempo
        Quarter notes a minute, in the place of the file's own; 100 where it has none, of MIDI files 120.
    device
        Where the model computes: cpu, cuda, cuda:1 or auto; a seed draws the same numbers on each.
    json
        Print one JSON object.
    """
    from ostinato.domains.music.chains import chains_notice, chains_record
    from ostinato.domains.music.writing.score import checked_tempo

    checked_tempo(tempo)
    music = _opened(run, out or [], device)
    check_apart(out or [], melody)
    source = music.source(melody, semitones=semitones, key=key)
    given, constraint = _constraint(source, fixed or [], free or [], above=above)
    found, frames = _drawn(music, source, constraint, particles, temperature, seed)
    score = source.with_frames(frames, given, tempo=tempo)
    title = f"{source.piece.name}, harmonized"
    notices = [f"{path}: {text}" for path in out or [] for text in score.write(path, title=title)]
    chains = chains_record(music.model)
    record = _record(source, score, found, out or []) | {"notices": notices}
    _print(record | ({} if chains is None else {"chains": chains}), source, json=json)
    if unmixed := chains_notice(chains):
        human().print(unmixed)
    return 0


def _opened(run: Path, out: list[Path], device: str) -> MusicModel:
    """The run's model; a run on something else is told before a file to write is asked for."""
    from ostinato.domains.music.open import MusicModel
    from ostinato.domains.music.writing.score import check_writable

    declared = domain_of(run)
    if declared.name != MUSIC.name:
        raise UserError(f"expected a run on {MUSIC.name}, found one on {declared.name}: {run}")
    if not out:
        raise UserError("expected --out FILE, found none; see ostinato harmonize --help")
    for path in out:
        check_writable(path)
    return MusicModel.open(run, device=device)


def _drawn(
    music: MusicModel,
    source: Source,
    constraint: Constraint,
    particles: int,
    temperature: float,
    seed: int,
) -> tuple[Particles, np.ndarray]:
    """The drafts, and one of them, by their weights."""
    from ostinato.domains.music.particles import sample_conditioned
    from ostinato.domains.seed import seeded

    generator = seeded(seed)
    found = sample_conditioned(
        music.model,
        constraint.fixed,
        constraint.values,
        side=source.piece.side(),
        particles=particles,
        temperature=temperature,
        generator=generator,
    )
    return found, found.draw(generator)


def _constraint(
    source: Source, fixed: list[str], free: list[str], *, above: bool
) -> tuple[np.ndarray, Constraint]:
    """Which of the notes are given, (N,), and what is so of the frames."""
    import numpy as np

    from ostinato.domains.music.harmonize import melody, region_of

    piece = source.piece
    if not fixed and not free:
        return np.ones(len(source.notes), dtype=bool), melody(piece.frames, above=above)
    if above:
        raise UserError(
            "expected --above with a melody alone, found --fixed or --free too; leave --above out"
        )
    held, gaps = ([region_of(text, piece) for text in texts] for texts in (fixed, free))
    given, constraint = source.selection(held, gaps)
    if constraint.fixed.all():
        raise UserError(
            "expected something to compose, found all of the piece held by --fixed; hold less of it, or name "
            "with --free what is composed anew"
        )
    return given, constraint


def _record(source: Source, score: Score, found: Particles, out: list[Path]) -> dict[str, Any]:
    given, kept = score.counted()
    return {
        "files": [str(path) for path in out],
        "frames": len(source.piece),
        "semitones": source.piece.semitones,
        "key": source.piece.key or None,
        "given_notes": given,
        "given_notes_kept": kept,
        "given_notes_unseen": source.unseen,
        "replaced_notes": len(source.notes) + source.drums - given,
        "added_notes": score.added,
        "particles": len(found.weights),
        "effective_size_mean": float(found.effective_sizes.mean()),
        "effective_size_least": float(found.effective_sizes.min()),
        "ancestors_least": int(found.ancestors.min()),
        "log_evidence": found.log_evidence,
    }


def _print(record: dict[str, Any], source: Source, *, json: bool) -> None:
    if json:
        print_json(record)
        return
    from ostinato.domains.music.commands import moved, notes_in_words, unseen

    console = human()
    console.print(moved(source.piece))
    if record["given_notes_unseen"]:
        console.print(unseen(record["given_notes_unseen"]))
    for notice in record["notices"]:
        console.print(notice)
    if record["log_evidence"] is None:
        console.print("this output cannot weigh drafts: notes given later had no say in earlier frames")
    elif record["effective_size_least"] < 2 and record["particles"] > 1:
        console.print("in some frames a single draft fitted the given notes: more --particles would help")
    names = ("given_notes", "given_notes_kept", "added_notes", "replaced_notes")
    notes = notes_in_words(*(record[name] for name in names))
    say(f"{', '.join(record['files'])}: {counted(record['frames'], 'frame')}, {notes}")
    if record["log_evidence"] is not None:
        say(
            f"log p(given notes) ≈ {number(record['log_evidence'], 'nats')} nats; effective particles: "
            f"{record['effective_size_mean']:.0f} of {record['particles']} on average, at least "
            f"{record['effective_size_least']:.1f}"
        )
