"""Series as everything else sees them."""

from collections.abc import Mapping
from collections.abc import Sequence as SequenceOf
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ostinato.data.batches import batches
from ostinato.data.sequences import SPLITS, Splits, under_name
from ostinato.domains.answer import Asked
from ostinato.domains.base import BaseDomain
from ostinato.domains.domain import Each, Scores, Totals, Validation
from ostinato.domains.given import Given
from ostinato.domains.series import data_sets, memory
from ostinato.domains.series.baselines import fit_baselines
from ostinato.domains.series.evaluation import StepScores, evaluate_series, score_steps, summarise
from ostinato.domains.series.forecast import Forecast
from ostinato.domains.series.options import EvaluateOptions, GenerateOptions
from ostinato.domains.series.predictor import SeriesModel
from ostinato.domains.series.scaling import Scaling
from ostinato.domains.series.shown import each_series, series_table
from ostinato.domains.series.splits import parts_of
from ostinato.domains.series.streams import SeriesStreams
from ostinato.domains.series.surprise import Surprise, surprise_together
from ostinato.domains.trained import TrainedModel
from ostinato.evaluation.sequences import SequenceScore, SequenceScores, scores_of
from ostinato.evaluation.tables import Table
from ostinato.files import check_apart
from ostinato.nn import SequenceModel
from ostinato.nn.model import Segment
from ostinato.recipe.recipe import Recipe
from ostinato.runs.folder import Run
from ostinato.runs.trained import load_model
from ostinato.training.build import Sizes, build_model

OWN_UNITS = (
    "mean over steps with a value, of their observed values, in the data's own units; the first predicted "
    "from zeros"
)


class Series(BaseDomain):
    """Real values, standardised by training; columns and scaling are among the details of the data."""

    what = "series"

    def load(self, recipe: Recipe, *, progress: bool = True) -> Splits:
        """A generated set by name, or files."""
        return data_sets.load(recipe.data, split_seed=recipe.split_seed)

    def knows(self, given: Given) -> bool:
        """Real values, (T,) or (T, D)."""
        return memory.knows(given)

    def wrap(self, recipe: Recipe, given: Given) -> Splits:
        """Series, (T,) or (T, D), NaN where a value is missing."""
        return memory.wrap(given, recipe.split_seed)

    def under_name(self, data: Splits, name: str, version: str) -> Splits:
        """Under the name that they had: a single file's is part of its sequences' names."""
        return under_name(data, name, version)

    def generate(self, trained: TrainedModel, asked: Asked, options: GenerateOptions) -> Forecast:
        """A forecast."""
        from ostinato.domains.series import commands

        paths = options.out or ()
        for path in paths:
            commands.check_writable(path, *commands.pictures.FORMATS)
        check_apart(paths, asked.prime)
        commands.check_counts(options)
        opened = commands.Opened.of_trained(trained)
        history, after, _ = opened.history(asked.prime)
        made = commands.forecasted(opened, history, asked.seed, options)
        commands.write_forecasts(made, history, paths, title=f"after {after}")
        return made

    def score_each(self, trained: TrainedModel, sequences: SequenceOf[Any]) -> SequenceScores:
        """Series, in their own units; the detail is a `Surprise`."""
        from ostinato.domains.series import commands

        opened, series = commands.Opened.of_trained(trained), dict[str, np.ndarray]()
        for k, one in enumerate(sequences, start=1):
            if isinstance(one, str | Path):
                series |= {found.name: found.values for found in opened.read(Path(one))[0]}
            else:
                series[f"series {k}"] = memory.values_of(one, f"series {k}", opened.columns)
        names, values, surprises = list(series), list(series.values()), dict[int, Surprise]()
        for group in batches([len(own) for own in values]):
            found = surprise_together(opened.predictor, [values[k] for k in group], opened.scaling)
            surprises |= dict(zip(group, found, strict=True))
        each = [SequenceScore(n, -surprises[k].steps, surprises[k]) for k, n in enumerate(names)]
        return scores_of(each, "nats/step", OWN_UNITS)

    def identity(self, data: Splits) -> dict[str, Any]:
        """Name, version, the number of columns and details."""
        return {
            "name": data.name,
            "version": data.version,
            "visible_size": len(data.details["columns"]),
            "details": data.details,
        }

    def summary(self, data: Splits) -> dict[str, Any]:
        """Series and steps of each split, columns."""
        counts = {
            s: {"series": len(data[s]), "steps": sum(p.scored for p in parts_of(data, s))} for s in SPLITS
        }
        return {"splits": counts, "columns": len(data.details["columns"])}

    def model(
        self,
        recipe: Recipe,
        identity: Mapping[str, Any],
        data: Splits | None = None,
        stored: Mapping[str, Tensor] | None = None,
    ) -> SequenceModel:
        """A model that reads which values are there, where some are missing."""
        size = identity["visible_size"]
        read = 2 * size if identity["details"]["missing"] else size
        return build_model(recipe, Sizes(read, size), stored=stored)

    def streams(self, recipe: Recipe, data: Splits, epoch: int) -> SeriesStreams:
        """Series dealt anew each epoch; long ones are cut."""
        return SeriesStreams(
            parts_of(data, "train"),
            scaling_of(data),
            recipe.streams,
            recipe.segment_length,
            np.random.default_rng([recipe.seed, epoch]),
            with_mask=data.details["missing"],
            dtype=getattr(torch, recipe.dtype),
        )

    def lost_to_scaling(self, data: Splits, segment: Segment) -> float:
        """The logarithm of the scale of every value that counts."""
        observed = ~segment.targets.isnan()
        if segment.mask is not None:
            observed &= segment.mask.unsqueeze(-1)
        return float(scaling_of(data).log_scale(observed.sum((0, 1)).cpu().numpy()))

    def validate(self, model: SequenceModel, data: Splits) -> Validation:
        """Nats per step in the data's own units, and the distance from the predicted means."""
        found = evaluate_series(_predictor(model, data), parts_of(data, "valid"), scaling_of(data))
        return Validation(found["log_likelihood"].value, {"valid_rmse": found["rmse"].value})

    def prepare(self, data: Splits, run: Run) -> None:
        """Nothing: the scaling is among the details, which every checkpoint has."""

    def score(
        self,
        recipe: Recipe,
        model: SequenceModel,
        data: Splits,
        splits: tuple[str, ...] = SPLITS,
        *,
        baselines: bool = True,
    ) -> Scores:
        """The model, persistence and a vector autoregression."""
        scores = _scored({"model": _predictor(model, data)}, data, splits)
        return scores | (self.baselines(data, splits) if baselines else {})

    def totals(self, model: SequenceModel, data: Splits, split: str) -> Totals:
        """Of each series, or of blocks of steps where there are few."""
        scaling = scaling_of(data)
        steps = score_steps(_predictor(model, data), parts_of(data, split), scaling)
        return Totals(summarise(steps, scaling)["log_likelihood"], *steps.totals(scaling), self._over(steps))

    def _over(self, steps: StepScores) -> str:
        """What errors are taken over."""
        return self.what if steps.by_series else "blocks of consecutive steps"

    def baselines(self, data: Splits, splits: tuple[str, ...] = SPLITS) -> Scores:
        """Persistence and a vector autoregression."""
        return _scored(
            fit_baselines(parts_of(data, "train"), parts_of(data, "valid"), scaling_of(data)), data, splits
        )

    def table(self, scores: Scores, title: str, *, whole: bool = False) -> Table:
        """Systems against splits."""
        return series_table(scores, title, SPLITS if whole else ("valid", "test"))

    def other_data(self, run: Run | None, data: str, given: Mapping[str, Any]) -> Splits:
        """The columns of the run's model, in its scaling."""
        if run is None:
            return data_sets.load(data)
        return data_sets.load_like(data, load_model(run).data["details"])

    def each(self, model: SequenceModel, data: Splits, options: EvaluateOptions) -> Each | None:
        """The series of a split."""
        if options.per_series is None:
            return None
        parts = parts_of(data, options.per_series)
        return each_series(_predictor(model, data), parts, scaling_of(data))


def scaling_of(data: Splits) -> Scaling:
    """The scaling of a data set's training series."""
    return Scaling.from_dict(data.details["scaling"])


def _scored(systems: Mapping[str, Any], data: Splits, splits: tuple[str, ...]) -> Scores:
    scaling = scaling_of(data)
    some = [split for split in splits if data.frames(split) > 0]
    return {
        name: {split: evaluate_series(system, parts_of(data, split), scaling) for split in some}
        for name, system in systems.items()
    }


def _predictor(model: SequenceModel, data: Splits) -> SeriesModel:
    return SeriesModel(model, data.details["missing"])
