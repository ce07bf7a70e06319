"""Data as a program has them: loaded, with what they were loaded by; or sequences in memory."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from ostinato.api.given import given_of
from ostinato.data.sequences import SPLITS, Skipped
from ostinato.domains.domain import Data, domain_named
from ostinato.domains.given import Given, LossFunction
from ostinato.errors import UserError
from ostinato.recipe.recipe import Recipe


@dataclass(frozen=True)
class LoadedData:
    """A data set, as `ostinato.load_data` returns it and `ostinato.train` takes it.

    Arguments:
        data: what the domain made of them; its splits are `data["train"]`, and so on, where it has them by
            name.
        settings: domain, name, and what else they were loaded with.
    """

    data: Data
    settings: dict[str, Any]

    @property
    def name(self) -> str:
        """As a user would ask for it; "memory" for what a program had."""
        return self.data.name

    @property
    def version(self) -> str:
        """Equal versions, equal data."""
        return self.data.version

    @property
    def details(self) -> dict[str, Any]:
        """How the data were made; can be written as JSON."""
        return self.data.details

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """The files that could not be used."""
        return self.data.skipped

    def frames(self, split: str) -> int:
        """Steps of "train", "valid" or "test"."""
        return self.data.frames(split)

    def __getitem__(self, split: str) -> Any:
        data: Any = self.data
        if not hasattr(data, "__getitem__"):
            raise UserError(
                f"expected data whose splits are there by name, found {self.name}, which draws its own"
            )
        if split not in SPLITS:
            raise UserError(f"expected one of {', '.join(SPLITS)}, found {split!r}")
        return data[split]


def wrapped(recipe: Recipe, data: Any, module: nn.Module | None, loss: LossFunction | None) -> Data:
    """Data as the recipe's domain has them: in memory, loaded, or `Given` by the one or the other."""
    if isinstance(data, LoadedData):
        return data.data
    given = data if isinstance(data, Given) else given_of(data, module, loss)
    return domain_named(recipe.domain).wrap(recipe, given)
