"""`ostinato evaluate`: scores of a run's model, or of the baselines alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from ostinato.cli.output import human, list_skipped, print_json, print_table, results_table
from ostinato.cli.tables import Column, Table, number_columns
from ostinato.errors import UserError
from ostinato.evaluation.numbers import number
from ostinato.recipe.recipe import Recipe
from ostinato.runs.folder import Run

if TYPE_CHECKING:
    from ostinato.data.sequences import Splits
    from ostinato.runs.results import Results


def evaluate(
    run: Path | None = None,
    *,
    baselines: bool = False,
    data: str | None = None,
    frames_per_beat: int | None = None,
    transpose: Annotated[bool, Parameter(negative="--no-transpose")] = True,
    per_song: Literal["train", "valid", "test"] | None = None,
    per_sentence: Literal["train", "valid", "test"] | None = None,
    device: str = "cpu",
    json: bool = False,
) -> int:
    """Score a run's best model on every split of its data, beside the baselines.

    Parameters
    ----------
    run
        The run's folder.
    baselines
        Score the baselines alone, on --data.
    data
        Other data than the run was trained on.
    frames_per_beat
        Frames a quarter note, for the data named by --data.
    transpose
        Transpose files to C major or C minor, for the data named by --data.
    per_song
        List the log-likelihood of each song of a split.
    per_sentence
        List the log-probability of each sentence of a split, for a run on text.
    device
        Where the model computes: cpu, cuda, cuda:1 or auto; baselines stay on the CPU.
    json
        Print one JSON object.
    """
    from ostinato.cli.evaluate_task import evaluate_task
    from ostinato.cli.evaluate_text import evaluate_text
    from ostinato.domains.music.domain import score_baselines
    from ostinato.domains.music.evaluation.frames import score_songs
    from ostinato.domains.music.reading import data_sets as music
    from ostinato.nn.devices import find_device
    from ostinato.runs.results import Results, score_run
    from ostinato.runs.trained import load_model

    if baselines == (run is not None):
        raise UserError(
            "expected a run folder, or --baselines with --data NAME; see ostinato evaluate --help"
        )
    find_device(device)
    songs = None
    domain = "music" if run is None else load_model(opened := Run.open(run)).recipe.domain
    if domain == "delays":
        listing = per_song is not None or per_sentence is not None
        return evaluate_task(opened, data, listing=listing, device=device, json=json)
    if domain != "music":
        if per_song is not None:
            raise UserError("expected --per-sentence for a run on text, found --per-song")
        return evaluate_text(opened, data, per_sentence, device=device, json=json)
    if run is None:
        splits = music.load(data or "bach", frames_per_beat=frames_per_beat, transpose=transpose)
        results = Results(score_baselines(splits))
        title = f"baselines on {splits.name}"
    else:
        opened = Run.open(run)
        splits = _data_for(opened, data, frames_per_beat, transpose)
        results = score_run(opened, splits, device=device)
        title = f"{opened.folder} on {splits.name}"
        if per_song is not None:
            songs = score_songs(load_model(opened, device=device).model, splits[per_song])
    list_skipped(splits, human())
    _print(results, splits, title, songs, json=json)
    return 0


def _data_for(run: Run, data: str | None, frames_per_beat: int | None, transpose: bool) -> Splits:
    """The data asked for, or the run's own, which must not have changed since."""
    from ostinato.domains.music.reading import data_sets as music
    from ostinato.runs.trained import load_model

    trained = load_model(run)
    if data is not None:
        return music.load(data, frames_per_beat=frames_per_beat, transpose=transpose)
    recipe: Recipe = trained.recipe
    splits = music.load(recipe.data, frames_per_beat=recipe.frames_per_beat, transpose=recipe.transpose)
    if splits.version != trained.data["version"]:
        raise UserError(
            f"expected the data the run was trained on (version {trained.data['version'][:12]}), found "
            f"version {splits.version[:12]} of {recipe.data}: its files changed, and held-out songs may "
            f"have been trained on; name the data with --data {recipe.data} to score it all the same"
        )
    return splits


def _print(
    results: Results, splits: Splits, title: str, songs: list[dict[str, Any]] | None, *, json: bool
) -> None:
    if json:
        data = {"name": splits.name, "version": splits.version, "details": splits.details}
        print_json({"data": data, "results": results.to_dict()} | ({} if songs is None else {"songs": songs}))
        return
    print_table(results_table(results, title, ("train", "valid", "test")))
    if songs is not None:
        columns = [Column("song", text=True), *number_columns("frames", "log-likelihood")]
        table = Table(columns, "log-likelihood of each song (nats/frame)")
        for song in sorted(songs, key=lambda s: s["log_likelihood"]):
            table.add(str(song["name"]), str(song["frames"]), number(song["log_likelihood"], "nats/frame"))
        print_table(table)
