"""A network of a program's own, trained on pairs of inputs and targets like ostinato's."""

import copy
from collections.abc import Mapping
from collections.abc import Sequence as SequenceOf
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.utils.data import DataLoader

from ostinato.data.placement import moved
from ostinato.data.sequences import SPLITS
from ostinato.domains.base import BaseDomain
from ostinato.domains.domain import Scores, Validation
from ostinato.domains.given import Given, LossFunction
from ostinato.domains.pairs.batches import Batch, LoaderStreams, ModuleData, tensors_of, wrap
from ostinato.domains.trained import TrainedModel
from ostinato.errors import UserError, argument
from ostinato.evaluation.scores import Score, pooled_score
from ostinato.evaluation.sequences import SequenceScore, SequenceScores, scores_of
from ostinato.nn import SequenceModel
from ostinato.nn.devices import device_of
from ostinato.nn.model import Loss
from ostinato.nn.outputs.base import JOINT, Cost, Objective
from ostinato.recipe.recipe import Recipe

LIKELIHOOD = "log p of the targets under the distributions that the network returns, mean over all of them"
LIKELY = "log_likelihood"
LOSS = "the program's own loss, a mean over the elements of the targets, by batch"


class OwnOutput:
    """In the place of an output layer: what the network returns is a distribution, or what its loss takes.

    Args:
        loss: (what the network returns, targets) -> a mean; None where it returns a `Distribution`.
    """

    def __init__(self, loss: LossFunction | None) -> None:
        self.loss_function = loss

    def __call__(self, returned: Any) -> Any:
        """It, as it is."""
        return returned

    def nll(self, returned: Any, targets: Tensor) -> Tensor:
        """Sum of -log p in nats."""
        return -log_probs_of(returned, targets).sum()

    def count(self, returned: Any, targets: Tensor) -> int:
        """How many elements a batch's loss is a mean over: log-probabilities, or targets."""
        event = returned.event_shape.numel() if isinstance(returned, Distribution) else 1
        return targets.numel() // max(event, 1)

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """The loss, where there is one."""
        return () if self.loss_function is None else (Objective(JOINT, self._cost, "negative_loss"),)

    def _cost(self, returned: Any, targets: Tensor, generator: torch.Generator | None = None) -> Cost:
        assert self.loss_function is not None
        total = self.loss_function(returned, targets) * self.count(returned, targets)
        return Cost(total, total)


class OwnNetwork(SequenceModel):
    """A program's network in the place of a `SequenceModel`: it reads a batch whole, and has no states.

    Args:
        module: the network.
        loss: what it is trained on; None for the log-probability under the distributions that it returns.
        l2: weight of the penalty l2 / 2 times the squared weights.
    """

    output: Any

    def __init__(self, module: nn.Module, loss: LossFunction | None, l2: float = 0.0) -> None:
        nn.Module.__init__(self)
        self.module, self.output, self.l1, self.l2 = module, OwnOutput(loss), 0.0, l2

    def forward(self, inputs: Tensor, states: Any = None, starts: Tensor | None = None) -> tuple[Any, Any]:
        """What the network returns, of a tuple the first, and no states."""
        found = self.module(inputs)
        return (found[0] if isinstance(found, tuple) else found), None

    def loss(
        self,
        inputs: Tensor,
        targets: Tensor,
        states: Any = None,
        starts: Tensor | None = None,
        mask: Tensor | None = None,
        objective: Objective | None = None,
    ) -> Loss:
        """The mean loss of a batch, with the penalty on the weights."""
        returned = self(inputs)[0]
        cost = (objective or self.objective).cost(returned, targets, self.generator)
        count = self.output.count(returned, targets)
        total = cost.loss / max(count, 1)
        if self.l2 > 0:
            total = total + self.penalty([total.new_zeros((1, 1))])
        return Loss(total, cost.nll.detach(), count, torch.zeros(0, 0))

    @property
    def generator(self) -> torch.Generator:
        """PyTorch's global one, from which dropout draws."""
        return torch.default_generator


def log_probs_of(predicted: Any, targets: Tensor) -> Tensor:
    """log p of the targets.

    Raises:
        UserError: what the network returned is no distribution.
    """
    if not isinstance(predicted, Distribution):
        raise UserError(
            f"expected a network that returns a torch.distributions.Distribution, or {argument('loss')}, "
            f"found one that returns {type(predicted).__name__}"
        )
    found: Tensor = predicted.log_prob(targets)
    return found


class OwnModule(BaseDomain):
    """Batches of a program's own, and its network."""

    carries_state = False

    def load(self, recipe: Recipe, *, progress: bool = True) -> ModuleData:
        """None: they are in memory."""
        raise UserError("expected batches and their network in memory, found none")

    def knows(self, given: Given) -> bool:
        """Those that come with a network."""
        return given.module is not None

    def wrap(self, recipe: Recipe, given: Given) -> ModuleData:
        """Loaders, or pairs."""
        return wrap(given, recipe.streams)

    def identity(self, data: ModuleData) -> dict[str, Any]:
        """Name, version, no size, and details."""
        return {"name": data.name, "version": data.version, "visible_size": 0, "details": data.details}

    def summary(self, data: ModuleData) -> dict[str, Any]:
        """Sequences of each split."""
        return {"splits": {split: {"sequences": data.frames(split)} for split in SPLITS}}

    def model(
        self,
        recipe: Recipe,
        identity: Mapping[str, Any],
        data: ModuleData | None = None,
        stored: Mapping[str, Tensor] | None = None,
    ) -> SequenceModel:
        """The network itself where its weights are known, otherwise a copy as it was given."""
        if data is None:
            whose = identity["details"]["module"]
            raise UserError(
                f"expected the network that was trained, {whose} of a program's own, found none; give one "
                f"like it as {argument('model')}"
            )
        if stored is not None:
            return OwnNetwork(data.module, data.loss, recipe.l2)
        return OwnNetwork(copy.deepcopy(data.module), data.loss, recipe.l2)

    def streams(self, recipe: Recipe, data: ModuleData, epoch: int) -> LoaderStreams:
        """The training loader's batches."""
        return LoaderStreams(data.loaders["train"], recipe.seed, epoch)

    def validate(self, model: SequenceModel, data: ModuleData) -> Validation:
        """Minus the loss."""
        found = evaluate(model, data.loaders["valid"])
        return Validation(found[LIKELY].value if LIKELY in found else -found["loss"].value)

    def score(
        self,
        recipe: Recipe,
        model: SequenceModel,
        data: ModuleData,
        splits: tuple[str, ...] = SPLITS,
        *,
        baselines: bool = True,
    ) -> Scores:
        """The network alone: nothing is known that it should beat."""
        some = [split for split in splits if split in data.loaders]
        return {"model": {split: evaluate(model, data.loaders[split]) for split in some}}

    def score_each(self, trained: TrainedModel, sequences: SequenceOf[Any]) -> SequenceScores:
        """Pairs (inputs, targets), each by itself, those of like shapes at once."""
        model: Any = trained.model
        if model.output.loss_function is not None:
            raise UserError("expected a network that returns distributions, found one with a loss of its own")
        each: list[SequenceScore | None] = [None] * len(sequences)
        for places, batch in _together(sequences):
            there = moved(batch, device_of(model))
            with torch.no_grad():
                log_probs = log_probs_of(model(there.inputs)[0], there.targets).double().cpu().numpy()
            for b, place in enumerate(places):
                each[place] = SequenceScore(f"pair {place + 1}", np.atleast_1d(log_probs[b]).ravel())
        return scores_of([one for one in each if one is not None], "nats/step", LIKELIHOOD)


def evaluate(model: SequenceModel, loader: DataLoader[Any]) -> dict[str, Score]:
    """The log-likelihood, or the loss, of all batches; their order is as in the first epoch of seed 0."""
    sums, counts = [], []
    plain = OwnNetwork(model.module, model.output.loss_function)  # type: ignore[arg-type,attr-defined]
    with torch.no_grad():
        for batch in LoaderStreams(loader, 0, 0):
            there = moved(batch, device_of(model))
            found = plain.loss(there.inputs, there.targets)
            sums.append(float(found.nll))
            counts.append(float(found.frames))
    own = plain.score_name != LIKELY
    name, unit, how = ("loss", "loss", LOSS) if own else (LIKELY, "nats/step", LIKELIHOOD)
    sign = 1 if own else -1
    return {name: pooled_score(sign * np.array(sums), np.array(counts), unit, f"{how}; error over batches")}


def _together(sequences: SequenceOf[Any]) -> list[tuple[list[int], Batch]]:
    """Pairs stacked with those of the same shapes, the sequence first; and their places."""
    groups: dict[Any, list[int]] = {}
    pairs = []
    for place, one in enumerate(sequences):
        pair = tensors_of(one)
        pairs.append(pair)
        groups.setdefault(tuple((part.shape, part.dtype) for part in pair), []).append(place)
    return [
        (places, Batch(*map(torch.stack, zip(*(pairs[k] for k in places), strict=True))))  # type: ignore[arg-type]
        for places in groups.values()
    ]
