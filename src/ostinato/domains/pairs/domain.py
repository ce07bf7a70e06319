"""Pairs of inputs and targets as everything else sees them. Shapes: T time, B sequences, V targets."""

from collections.abc import Mapping
from collections.abc import Sequence as SequenceOf
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Categorical, Distribution, Independent, Normal

from ostinato.data.batches import batches
from ostinato.data.placement import moved
from ostinato.data.sequences import SPLITS
from ostinato.domains.base import BaseDomain
from ostinato.domains.domain import Scores, Totals, Validation
from ostinato.domains.given import Given
from ostinato.domains.pairs.reading import Pair, PairData, PairStreams, kind_of, pair_of, segment_of, wrap
from ostinato.domains.trained import TrainedModel
from ostinato.errors import UserError
from ostinato.evaluation.predictor import Predictor
from ostinato.evaluation.sequences import SequenceScore, SequenceScores, scores_of
from ostinato.nn import SequenceModel
from ostinato.nn.devices import device_of
from ostinato.recipe.recipe import Recipe
from ostinato.training.build import Sizes, build_model

CONVENTION = "log p(target | inputs up to its step), pooled over the steps that count"


class Pairs(BaseDomain):
    """Whole sequences in minibatches; the name of the domain says what the targets are."""

    carries_state = False

    @property
    def _kind(self) -> str:
        return self.declared.targets

    def load(self, recipe: Recipe, *, progress: bool = True) -> PairData:
        """None: they are in memory."""
        raise UserError("expected pairs of inputs and targets in memory, found none")

    def knows(self, given: Given) -> bool:
        """Tuples (inputs, targets)."""
        return given.module is None and kind_of(given.first) == self._kind

    def wrap(self, recipe: Recipe, given: Given) -> PairData:
        """Pairs, as they are: neither inputs nor targets are scaled."""
        return wrap(given, self._kind)

    def identity(self, data: PairData) -> dict[str, Any]:
        """Name, version, the size of a target and details."""
        return {
            "name": data.name,
            "version": data.version,
            "visible_size": data.details["targets"],
            "details": data.details,
        }

    def summary(self, data: PairData) -> dict[str, Any]:
        """Sequences and steps of each split, sizes."""
        counts = {s: {"sequences": len(data[s]), "steps": data.frames(s)} for s in SPLITS}
        return {"splits": counts, "inputs": data.details["inputs"], "targets": data.details["targets"]}

    def model(
        self,
        recipe: Recipe,
        identity: Mapping[str, Any],
        data: PairData | None = None,
        stored: Mapping[str, Tensor] | None = None,
    ) -> SequenceModel:
        """A model whose output starts at what the targets are on average."""
        details = identity["details"]
        start = {} if data is None else start_of(data.train, self._kind, details["targets"])
        sizes = Sizes(details["inputs"], details["targets"], tokens=details["tokens"])
        return build_model(recipe, sizes, start, stored)

    def streams(self, recipe: Recipe, data: PairData, epoch: int) -> PairStreams:
        """Sequences in an order of the epoch's own."""
        generator = np.random.default_rng([recipe.seed, epoch])
        return PairStreams(data.train, recipe.streams, getattr(torch, recipe.dtype), generator)

    def validate(self, model: SequenceModel, data: PairData) -> Validation:
        """Nats per step."""
        return Validation(scored(model, data.valid).score.value)

    def score(
        self,
        recipe: Recipe,
        model: SequenceModel,
        data: PairData,
        splits: tuple[str, ...] = SPLITS,
        *,
        baselines: bool = True,
    ) -> Scores:
        """The model, and what targets are on average."""
        scores = _on_splits({"model": model}, data, splits)
        return scores | (self.baselines(data, splits) if baselines else {})

    def baselines(self, data: PairData, splits: tuple[str, ...] = SPLITS) -> Scores:
        """One distribution for every step, whatever the inputs."""
        start = start_of(data.train, self._kind, data.details["targets"])
        return _on_splits({"iid": Average(self._kind, start)}, data, splits)

    def totals(self, model: SequenceModel, data: PairData, split: str) -> Totals:
        """Of each sequence."""
        found = scored(model, data[split])
        return Totals(found.score, found.log_probs, found.steps.astype(float), self.what)

    def score_each(self, trained: TrainedModel, sequences: SequenceOf[Any]) -> SequenceScores:
        """Pairs (inputs, targets), each by itself."""
        pairs = [pair_of(one, f"pair {k}", self._kind) for k, one in enumerate(sequences, start=1)]
        _check_sizes(pairs, trained.data["details"])
        return scored(trained.model, pairs)


def scored(predictor: Predictor, pairs: SequenceOf[Pair]) -> SequenceScores:
    """Pairs under a model or a baseline, many at once."""
    found: dict[int, np.ndarray] = {}
    dtype = next(predictor.parameters()).dtype if isinstance(predictor, torch.nn.Module) else torch.float64
    for group in batches([len(pair) for pair in pairs]):
        segment = moved(segment_of([pairs[k] for k in group], dtype), device_of(predictor))
        with torch.no_grad():
            distribution, _ = predictor(segment.inputs, None, segment.starts)
            log_probs = distribution.log_prob(segment.targets).double()
        rows = log_probs.masked_fill(~segment.mask, torch.nan).cpu().numpy()
        found |= {k: rows[: len(pairs[k]), b] for b, k in enumerate(group)}
    each = [SequenceScore(pair.name, found[k]) for k, pair in enumerate(pairs)]
    return scores_of(each, "nats/step", CONVENTION)


def _on_splits(systems: Mapping[str, Predictor], data: PairData, splits: tuple[str, ...]) -> Scores:
    some = [split for split in splits if data.frames(split) > 0]
    return {
        name: {split: {"log_likelihood": scored(system, data[split]).score} for split in some}
        for name, system in systems.items()
    }


def _check_sizes(pairs: SequenceOf[Pair], details: Mapping[str, Any]) -> None:
    known = details["inputs"], details["targets"]
    for pair in pairs:
        same = [
            int(part.max()) < size if part.ndim == 1 else part.shape[1] == size
            for part, size in zip((pair.inputs, pair.targets), known, strict=True)
        ]
        if (pair.inputs.ndim == 1) != details["tokens"] or not all(same):
            raise UserError(
                f"expected inputs and targets of the sizes that the model knows, {known[0]} and {known[1]}, "
                f"found others in {pair.name}"
            )


def start_of(pairs: SequenceOf[Pair], kind: str, size: int) -> dict[str, np.ndarray]:
    """What targets are on average: frequencies, add-1/2 smoothed, or means and deviations."""
    targets = np.concatenate([pair.targets[pair.counts] for pair in pairs])
    if kind == "category":
        counts = np.bincount(targets, minlength=size) + 0.5
        return {"frequencies": counts / counts.sum()}
    if kind == "binary":
        return {"frequencies": (targets.sum(0, dtype=np.int64) + 0.5) / (len(targets) + 1)}
    deviations = np.nanstd(targets, axis=0)
    return {"means": np.nanmean(targets, axis=0), "deviations": np.where(deviations > 0, deviations, 1.0)}


class Average:
    """A baseline that knows what targets are on average, and nothing of the inputs.

    Called like a model: `(inputs, states, starts) -> (distribution, states)`.

    Args:
        kind: of the targets.
        start: what `start_of` found.

    Example:
        >>> average = Average("category", {"frequencies": np.array([0.25, 0.75])})
        >>> average(torch.zeros(3, 2, 5))[0].log_prob(torch.zeros(3, 2, dtype=torch.int64)).exp().unique()
        tensor([0.2500], dtype=torch.float64)
    """

    def __init__(self, kind: str, start: Mapping[str, np.ndarray]) -> None:
        self.kind, self.start = kind, {name: torch.from_numpy(value) for name, value in start.items()}

    def __call__(
        self, inputs: Tensor, states: Any = None, starts: Tensor | None = None
    ) -> tuple[Distribution, Any]:
        """The same distribution at every step."""
        shape = inputs.shape[:2]
        each = {name: value.expand(*shape, -1) for name, value in self.start.items()}
        if self.kind == "category":
            return Categorical(probs=each["frequencies"]), None
        if self.kind == "binary":
            return Independent(_Frames(probs=each["frequencies"]), 1), None
        return Independent(_Observed(each["means"], each["deviations"]), 1), None


class _Frames(Bernoulli):
    """Of values of any type."""

    def log_prob(self, value: Tensor) -> Tensor:
        """Of frames as bytes."""
        return super().log_prob(value.to(self.probs.dtype))


class _Observed(Normal):
    """Of values of which some are missing."""

    def __init__(self, loc: Tensor, scale: Tensor) -> None:
        super().__init__(loc, scale, validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        """0 where a value is NaN."""
        return torch.where(value.isnan(), 0.0, super().log_prob(value.nan_to_num()))
