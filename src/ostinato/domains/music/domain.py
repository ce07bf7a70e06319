"""Music as everything else sees it: songs of binary frames."""

from collections.abc import Mapping
from collections.abc import Sequence as SequenceOf
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ostinato.data.batches import batches
from ostinato.data.sequences import SPLITS, Sequence, Splits, under_name
from ostinato.data.side import columns
from ostinato.data.streams import Streams
from ostinato.domains.answer import Asked
from ostinato.domains.base import BaseDomain
from ostinato.domains.domain import Each, Overlap, Scores, Totals, Validation
from ostinato.domains.given import Given
from ostinato.domains.music import memory
from ostinato.domains.music.augment import in_random_keys
from ostinato.domains.music.evaluation.baselines import BASELINES, fit_baseline, note_frequencies
from ostinato.domains.music.evaluation.frames import POOLED, evaluate_frames, in_quarters, total_by_song
from ostinato.domains.music.evaluation.measures import Sampling
from ostinato.domains.music.memory import frames
from ostinato.domains.music.metre import BARS_AGO
from ostinato.domains.music.open import MusicModel
from ostinato.domains.music.options import READING, ComposeOptions, EvaluateOptions
from ostinato.domains.music.reading import data_sets, published
from ostinato.domains.music.reading.frames import convention_of
from ostinato.domains.music.reading.overlap import overlap
from ostinato.domains.music.reading.pieces import Piece
from ostinato.domains.music.shown import each_song, results_table
from ostinato.domains.music.surprise import PieceScore, score_together
from ostinato.domains.trained import TrainedModel
from ostinato.errors import UserError, argument
from ostinato.evaluation.predictor import Predictor
from ostinato.evaluation.scores import Score
from ostinato.evaluation.sequences import SequenceScore, SequenceScores, scores_of
from ostinato.evaluation.tables import Table
from ostinato.nn import SequenceModel
from ostinato.nn.outputs import CopyGates, Seen
from ostinato.nn.outputs.base import with_onsets
from ostinato.recipe.recipe import Recipe
from ostinato.runs.folder import Run
from ostinato.training.build import Sizes, build_model

# Sets the draw of keys apart from other draws of an epoch.
_KEYS = 1


class Music(BaseDomain):
    """Songs of binary frames."""

    what = "songs"

    def load(self, recipe: Recipe, *, progress: bool = True) -> Splits:
        """A data set by name, or files."""
        how = {name: recipe.get(name) for name in READING}
        if recipe.data not in data_sets.names():
            # a recipe of before there was a choice says nothing
            how["quantize"] = how["quantize"] or "sample"
            how["split_by"] = recipe.get("split_by") or "piece"
        how |= {name: bool(recipe.get(name)) for name in ("metre", "look_back")}
        return data_sets.load(recipe.data, progress=progress, **how)

    def knows(self, given: Given) -> bool:
        """Frames: whole numbers 0 and 1, (T, V)."""
        return memory.knows(given)

    def wrap(self, recipe: Recipe, given: Given) -> Splits:
        """Frames, (T, V), as they are: nothing is transposed."""
        return memory.wrap(given, recipe.frames_per_beat, onsets=recipe.get("frames") == "onsets")

    def under_name(self, data: Splits, name: str, version: str) -> Splits:
        """Under the name that they had: a single file's is part of its sequences' names."""
        return under_name(data, name, version)

    def generate(self, trained: TrainedModel, asked: Asked, options: ComposeOptions) -> np.ndarray:
        """Pieces (K, T, V)."""
        from ostinato.domains.music.commands import composed

        return composed(MusicModel.of(trained), asked, options, options.out or ()).pieces

    def score_each(self, trained: TrainedModel, sequences: SequenceOf[Any]) -> SequenceScores:
        """Pieces: frames (T, V) or files; the detail is a `PieceScore`."""
        music = MusicModel.of(trained)
        pieces = [_piece(music, one, k) for k, one in enumerate(sequences, start=1)]
        found: dict[int, PieceScore] = {}
        for group in batches([len(piece) for piece in pieces]):
            together = score_together(music.model, [pieces[k] for k in group])
            found |= dict(zip(group, together, strict=True))
        each = [SequenceScore(p.name, found[k].log_probs, found[k]) for k, p in enumerate(pieces)]
        estimate = any(not one.exact for one in found.values())
        return scores_of(each, "nats/frame", POOLED, estimate=estimate)

    def identity(self, data: Splits) -> dict[str, Any]:
        """Name, version, V and details; what a model reads, where that is more than a frame."""
        visible = data.train[0].values.shape[1]
        side = data.train[0].side
        return {
            "name": data.name,
            "version": data.version,
            "visible_size": visible,
            "details": data.details,
            **({} if side is None else {"input_size": side.size(visible)}),
        }

    def summary(self, data: Splits) -> dict[str, Any]:
        """Songs and frames of each split, notes in a frame."""
        counts = {s: {"songs": len(data[s]), "frames": data.frames(s)} for s in SPLITS}
        return {"splits": counts, "notes": self.identity(data)["visible_size"]}

    def model(
        self,
        recipe: Recipe,
        identity: Mapping[str, Any],
        data: Splits | None = None,
        stored: Mapping[str, Tensor] | None = None,
    ) -> SequenceModel:
        """A model whose output starts at the note frequencies."""
        size = identity["visible_size"]
        onsets = _onsets(identity["details"])
        start = {} if data is None else {"frequencies": note_frequencies(data.train, onsets=onsets)}
        inputs = identity.get("input_size", size)
        looks_back = inputs > size and identity["details"].get("metre", {}).get("look_back")
        copies = bool(looks_back and recipe.get("copy_gates"))
        for kept, within in ((copies, "output.output."), (onsets, "output.rows.")):
            if kept and stored is not None:
                stored = {name.replace(within, "output."): value for name, value in stored.items()}
        model = build_model(recipe, Sizes(inputs, size, offsets=copies), start, stored)
        output: Any = with_onsets(recipe.output, model.output) if onsets else model.output
        if copies:
            places = len(BARS_AGO)
            seen = Seen(inputs, *columns(inputs, size, places), places)
            output = CopyGates(output, recipe.hidden_size, seen)
        return SequenceModel(model.rnn, output, recipe.l1, recipe.l2)

    def streams(self, recipe: Recipe, data: Splits, epoch: int) -> Streams:
        """Songs dealt anew each epoch, and moved to another key where that is asked for."""
        generator = np.random.default_rng([recipe.seed, epoch])
        songs: SequenceOf[Sequence] = data.train
        if recipe.get("augment") == "transpose":
            songs = in_random_keys(data.train, np.random.default_rng([recipe.seed, epoch, _KEYS]))
        return Streams(songs, recipe.streams, recipe.segment_length, generator)

    def validate(self, model: SequenceModel, data: Splits) -> Validation:
        """Pooled over frames; of an RBM, whose likelihood is dear, the score that stands in for it."""
        return Validation(total_by_song(model, data.valid, cheap=True).log_likelihood().value)

    def prepare(self, data: Splits, run: Run) -> None:
        """Nothing."""

    def score(
        self,
        recipe: Recipe,
        model: SequenceModel,
        data: Splits,
        splits: tuple[str, ...] = SPLITS,
        *,
        baselines: bool = True,
    ) -> Scores:
        """Log-likelihood and expected accuracies."""
        some = [split for split in splits if data.frames(split) > 0]
        sampling = Sampling(recipe.get("accuracy_samples", Sampling().samples))
        scores: Scores = {
            "model": {split: _scored(model, data, split, sampling) for split in some},
        }
        return scores | (score_baselines(data, splits) if baselines else {})

    def overlap(self, data: Splits, split: str) -> Overlap:
        """Songs whose tune or harmony a training song has, or a good part of whose frames."""
        return overlap(data.train, data[split])

    def totals(self, model: SequenceModel, data: Splits, split: str) -> Totals:
        """Of each song."""
        if sum(len(song) > 0 for song in data[split]) < 2:
            raise UserError(
                f"expected two or more songs in {split} of {data.name} to resample, found fewer; "
                f"use another {argument('split')}"
            )
        songs = total_by_song(model, data[split])
        return Totals(songs.log_likelihood(), songs.log_prob, songs.frames, self.what)

    def baselines(self, data: Splits, splits: tuple[str, ...] = SPLITS) -> Scores:
        """Every baseline, fitted on the training songs, on the splits that have songs."""
        return score_baselines(data, splits)

    def table(self, scores: Scores, title: str, *, whole: bool = False) -> Table:
        """Systems against splits."""
        return results_table(scores, title, SPLITS if whole else ("valid", "test"))

    def other_data(self, run: Run | None, data: str, given: Mapping[str, Any]) -> Splits:
        """As they are by themselves: in the frames that they have, and in C if nothing else is said."""
        told: dict[str, Any] = {"metre": False, "look_back": False}
        if run is not None:
            how = _as_the_run(run, data)
            told = {name: how.pop(name) for name in told}
            given = how | dict(given)
            if told["metre"] and data in published.PUBLISHED:
                raise UserError(
                    f"expected pieces with bars, which the run's model reads, found {data}, which has none; "
                    f"train with {argument('metre')} off to evaluate on it"
                )
        loaded = data_sets.load(data, **told, **given)
        found = self.identity(loaded)["visible_size"]
        wanted = found if run is None else run.load_checkpoint("last")[1]["data"]["visible_size"]
        if found != wanted:
            raise UserError(
                f"expected frames of {wanted} rows, as the run was trained on, found {found} in {data}"
            )
        return loaded

    def each(self, model: SequenceModel, data: Splits, options: EvaluateOptions) -> Each | None:
        """The songs of a split."""
        return None if options.per_song is None else each_song(model, data, options.per_song)


def _as_the_run(run: Run, data: str) -> dict[str, Any]:
    """How a run's pieces were read, as far as other data are read in the same way."""
    how = convention_of(run.load_checkpoint("last")[1]["data"]["details"])
    names = [name for name in READING if name != "transpose"]
    if data in data_sets.names():  # they have their own frames, but of `bach` those with onsets
        names = ["frames", "frames_per_beat", "quantize"] if how.onsets and data == data_sets.DEFAULT else []
    return {name: getattr(how, name) for name in (*names, "metre", "look_back")}


def _onsets(details: Mapping[str, Any]) -> bool:
    """Whether the frames of data with these details have onsets."""
    return details.get("frames") == "onsets"


def _piece(music: MusicModel, given: Any, number: int) -> Piece:
    if isinstance(given, str | Path):
        return music.read(given)
    name = f"piece {number}"
    return music.piece(name, frames(given, name, music.visible_size))


def _scored(
    predictor: Predictor,
    data: Splits,
    split: str,
    sampling: Sampling = Sampling(),  # noqa: B008 (frozen)
    *,
    side: bool = True,
) -> dict[str, Score]:
    """The scores of a split; in quarter notes too, where data say what their frames are.

    Without `side` the predictor is not told what stands beside the frames.
    """
    songs = data[split] if side else [song.without_side() for song in data[split]]
    scores = evaluate_frames(predictor, songs, sampling)
    if "frames" not in data.details:
        return scores
    return in_quarters(scores, data.details["frames_per_beat"])


def score_baselines(data: Splits, splits: tuple[str, ...] = SPLITS) -> Scores:
    """Every baseline, fitted on the training songs, on the splits that have songs."""
    scores: Scores = {}
    for name in BASELINES:
        baseline = fit_baseline(name, data.train, onsets=_onsets(data.details))
        # which know frames alone
        scores[name] = {
            split: _scored(baseline, data, split, side=False) for split in splits if data.frames(split) > 0
        }
    return scores
