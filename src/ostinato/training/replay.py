"""A recorded step, made again: the same bits, and where in it things went wrong."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ostinato.diagnostics.blame import Blame, blame
from ostinato.domains.domain import domain_named
from ostinato.errors import UserError, argument
from ostinato.nn import SequenceModel
from ostinato.optim.schedules import END_WITH_TRAINING
from ostinato.recipe.recipe import Recipe
from ostinato.training import flight
from ostinato.training.build import MODEL_PREFIX
from ostinato.training.environment import changes, environment
from ostinato.training.flights import made
from ostinato.training.pretraining import objective_at
from ostinato.training.progress import take_learned
from ostinato.training.updates import Batch, build_updates


@dataclass(frozen=True)
class Replay:
    """What came of a bundle.

    Attributes:
        different: of loss, norms, weights and optimizer what is not as recorded, to the bit; [] for nothing.
        blame: where the step went wrong.
        about: the bundle's record.
        elsewhere: what sums depend on that is other than where it was recorded.
    """

    different: list[str]
    blame: Blame
    about: dict[str, Any]
    elsewhere: list[str]

    @property
    def same(self) -> bool:
        """Whether the step came out as it was recorded, to the bit."""
        return not self.different

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        kept = ("why", "what", "advice", "epoch", "segment", "where", "clip_at", "last")
        return {
            "same": self.same,
            "different": self.different,
            "elsewhere": self.elsewhere,
            **{name: self.about[name] for name in kept},
            "blame": self.blame.to_dict(),
        }


def replay(path: str | Path, *, device: torch.device | str = "cpu") -> Replay:
    """Make the step of a bundle again, and look for where it went wrong.

    Args:
        path: of the bundle: RUN/flight/NAME.
        device: where the model computes.

    Raises:
        UserError: there is no whole bundle, or its network is a program's own.
    """
    bundle = flight.read(path)
    about, tensors, segment = bundle.about, bundle.tensors, bundle.segment_on(device)
    recipe = Recipe.from_dict(about["recipe"])
    domain = domain_named(recipe.domain)
    if domain.declared.own_network:
        raise UserError(
            f"expected a bundle of a network that ostinato makes, found one of a program's own: {bundle.path}"
        )
    if recipe.minutes is not None and recipe.get("learning_rate_rule") in END_WITH_TRAINING:
        raise UserError(
            f"expected a bundle whose rates come again, found a run with {argument('minutes')}, whose rates "
            "are those of a clock"
        )
    stored = {k.removeprefix(MODEL_PREFIX): v for k, v in tensors.items() if k.startswith(MODEL_PREFIX)}
    model = domain.model(recipe, about["data"], None, stored=stored).to(device)
    updates = build_updates(recipe, model, about["updates"])
    try:
        take_learned(dict(tensors), MODEL_PREFIX, model, updates.optimizer, about["optimizer"])
    except (RuntimeError, KeyError) as error:
        raise UserError(
            f"expected the two files of a bundle, found weights in {bundle.path.with_suffix('.safetensors')} "
            f"that do not fit the settings in {bundle.path.name}"
        ) from error
    objective = objective_at(recipe, model.output, about["epoch"])
    place = (segment.inputs, segment.targets, bundle.carried_on(device), segment.starts, segment.mask)
    _draw_as_before(model, tensors)
    found = blame(model, *place, objective)
    _draw_as_before(model, tensors)
    model.train()
    batch = Batch(
        segment, place[2], objective, about["epoch"], about["segment"], about["clip_at"], lambda *_: None
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(about["threads"])
    try:
        now = made(model, updates.optimizer, updates(batch))
    finally:
        torch.set_num_threads(threads)
    different = [name for name, value in about["made"].items() if now[name] != value]
    here = environment(torch.device(device))
    return Replay(different, found, about, changes(about["environment"], here))


def _draw_as_before(model: SequenceModel, tensors: Any) -> None:
    if model.generator is not None and flight.GENERATOR in tensors:
        model.generator.set_state(tensors[flight.GENERATOR])
