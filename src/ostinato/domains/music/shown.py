"""Tables of what models of music come to, and of what is in their data."""

from collections.abc import Iterator, Mapping
from typing import Any

from ostinato.data.sequences import Splits
from ostinato.domains.answer import Part
from ostinato.domains.domain import Each, Scores
from ostinato.domains.music.evaluation.estimated import efforts
from ostinato.domains.music.evaluation.frames import score_songs
from ostinato.domains.music.writing.pictures import pitch_name
from ostinato.evaluation.numbers import counted, number
from ostinato.evaluation.scores import Score
from ostinato.evaluation.tables import Column, Table, number_columns, show, table_of
from ostinato.nn import SequenceModel

# Of a large folder the beginning of the listing; names so long that a line has 80 columns.
MOST_LISTED, LONGEST_NAME = 50, 27

SCORE_NAMES = {
    "log_likelihood": "log-likelihood\n(nats/frame)",
    "accuracy_bay": "accuracy\n(a) %",
    "accuracy_per_frame": "accuracy\n(b) %",
}
SCORES_NOTE = (
    "± standard error over songs. Log-likelihood: pooled over all frames, first frame of each song included. "
    "Accuracy, expected: (a) pooled TP/(TP+FP+FN), Bay et al. 2009; (b) per frame TP/max(|predicted|, "
    "|true|), mean over frames."
)
ESTIMATE_NOTE = (
    "≈ an estimate, ≥ a lower bound, with an interval for the exact value: log-likelihoods (99%) from "
    "annealing from data to independent notes, too low in expectation, and from there back, too high; "
    "accuracies from drawn frames, of an RBM by chains that start at the true frames and by others (99%)."
)


def results_table(scores: Scores, title: str, splits: tuple[str, ...] = ("valid", "test")) -> Table:
    """Systems against splits: log-likelihood on each, expected accuracies on the last."""
    splits = tuple(s for s in splits if any(s in by_split for by_split in scores.values()))
    accuracies = ("accuracy_bay", "accuracy_per_frame")
    headings = [f"{split}\n{SCORE_NAMES['log_likelihood']}" for split in splits]
    headings += [f"{splits[-1]}\n{SCORE_NAMES[name]}" for name in accuracies]
    table = Table([Column("", text=True), *number_columns(*headings)], title, [SCORES_NOTE])
    for system, by_split in scores.items():
        last = by_split.get(splits[-1], {})
        cells = [show(by_split.get(split, {}).get("log_likelihood")) for split in splits]
        cells += [show(last.get(name)) for name in accuracies]
        table.add(system, *cells, bold=system == "model")
    table.notes += list(_quarters(scores.get("model", {}), splits))
    every = [s for by_split in scores.values() for own in by_split.values() for s in own.values()]
    if any(score.estimate for score in every):
        table.notes.append(ESTIMATE_NOTE)
    for split in splits:
        own = scores.get("model", {}).get(split, {})
        table.notes += [f"{split}: {text}" for text in efforts({n: s.effort for n, s in own.items()})]
    return table


def _quarters(scores: Mapping[str, Mapping[str, Score]], splits: tuple[str, ...]) -> Iterator[str]:
    """The model's log-likelihood a quarter note, and that of what sounds alone where onsets are said."""
    for split in splits:
        own = scores.get(split, {})
        if "log_likelihood_per_quarter" in own:
            whole, roll = own["log_likelihood_per_quarter"], own.get("log_likelihood_roll_per_quarter")
            more = "" if roll is None else f"; {show(roll)} for what sounds, onsets left out"
            yield f"{split}: {show(whole)} nats a quarter note{more}"


def each_song(model: SequenceModel, data: Splits, split: str) -> Each:
    """The log-likelihood of each song of a split, the least likely first in the table."""
    songs = score_songs(model, data[split])
    return Each("songs", songs, _songs_table(songs))


def _songs_table(songs: list[dict[str, Any]]) -> Table:
    headings = ("frames", "log-likelihood")
    table = table_of("song", *headings, title="log-likelihood of each song (nats/frame)")
    for song in sorted(songs, key=lambda s: (s["log_likelihood"] is None, s["log_likelihood"])):
        table.add(str(song["name"]), str(song["frames"]), number(song["log_likelihood"], "nats/frame"))
    return table


def described(found: dict[str, Any]) -> Iterator[Part]:
    """What `statistics.describe` found."""
    details = found["details"]
    keys = "in C major and C minor" if details["transposed"] else "in their own keys"
    beat = counted(details["frames_per_beat"], "frame")
    yield f"{beat} to a quarter note, {keys}, split {details['split']}"
    yield from details.get("notices", ())
    if "attacks" in found["all"]:
        shares = found["all"]["attacks"]
        yield (
            f"{shares['repeated']:.1%} of strikes repeat a pitch that sounds, {shares['off_beat']:.1%} are "
            f"between quarter notes from the first frame; {shares['held']:.1%} of what sounds is held"
        )
    table = table_of("split", "songs", "frames", "notes per frame", "silent frames", "pitches")
    for split, own in found["splits"].items():
        low, high = own["pitch_range"] or (None, None)
        pitches = f"{pitch_name(low)} to {pitch_name(high)}" if low and high else "none"
        notes, silent = f"{own['polyphony_mean']:.2f}", f"{own['silent_frames']:.1%}"
        table.add(split, f"{own['songs']:,}", f"{own['frames']:,}", notes, silent, pitches)
    yield table
    if found.get("listing"):
        yield ""
        yield _listing(found["listing"])


def _listing(records: list[dict[str, Any]]) -> Table:
    """Each piece: where it is, how far it was moved and from which key, what of its notes is lost."""
    table = Table(
        [
            Column("piece", text=True),
            Column("split", text=True),
            *number_columns("shift", "key", "notes", "moved", "lost"),
        ]
    )
    for one in records[:MOST_LISTED]:
        numbers = (f"{one[name]:,}" for name in ("notes", "moved", "lost"))
        table.add(_short(one["name"]), one["split"], f"{one['shift']:+d}", one["key"], *numbers)
    if (more := len(records) - MOST_LISTED) > 0:
        table.notes = [f"and {more:,} more; the JSON object has all"]
    return table


def _short(name: str) -> str:
    """The end of a long name: it tells pieces of one folder apart."""
    return name if len(name) <= LONGEST_NAME else f"...{name[3 - LONGEST_NAME :]}"
