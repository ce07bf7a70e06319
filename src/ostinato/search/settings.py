"""What a study is: everything that its trials depend on, as one value that is kept with it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

from ostinato.errors import UserError, argument
from ostinato.recipe.older import renewed_study
from ostinato.recipe.owned import places_of_data
from ostinato.recipe.recipe import Recipe
from ostinato.search.space import Space

Sampler = Literal["random", "tpe"]


@dataclass(frozen=True, kw_only=True)
class StudySettings:
    """The settings of a study; every worker has the same.

    Args:
        recipe: what every trial has in common; its seed is the seed of the search too.
        space: what is searched.
        data_version: the identity of the data, so that no worker searches on other files.
        trials: how many trials the study has.
        sampler: random: the settings of a trial are a function of the seed and its number; tpe: they depend
            on the trials that have ended before it began.
        pruning: whether a trial that does worse than the median is stopped.
        heartbeat: seconds between a worker's signs of life in a shared database.

    Raises:
        UserError: a number is out of its range, or a setting is both given and searched.

    Example:
        >>> recipe = Recipe.parse("SGD+CM")
        >>> space = Space.from_toml({"momentum": {"low": 0.5, "high": 0.9}})
        >>> settings = StudySettings(recipe=recipe, space=space, data_version="1", trials=3)
        >>> StudySettings.from_dict(settings.to_dict()) == settings
        True
    """

    recipe: Recipe
    space: Space
    data_version: str
    trials: int = 20
    sampler: Sampler = "random"
    pruning: bool = True
    heartbeat: int = 10

    def __post_init__(self) -> None:
        for name, least in (("trials", 1), ("heartbeat", 1)):
            value = getattr(self, name)
            if value < least:
                raise UserError(f"expected {argument(name)} of at least {least}, found {value}")

    @property
    def grace(self) -> int:
        """Seconds without a sign of life after which a worker counts as dead."""
        return 3 * self.heartbeat

    def to_dict(self) -> dict[str, Any]:
        """The settings as TOML and JSON know them: the tables [study], [recipe] and [search]."""
        study = {
            "trials": self.trials,
            "sampler": self.sampler,
            "pruning": self.pruning,
            "heartbeat": self.heartbeat,
            "data_version": self.data_version,
        }
        return {"study": study, "recipe": self.recipe.to_dict(), "search": self.space.to_toml()}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """What `to_dict` wrote.

        Raises:
            UserError: something is missing, or wrong.
        """
        try:
            content = renewed_study(content)
            study, recipe, space = content["study"], content["recipe"], content["search"]
            return cls(recipe=Recipe.from_dict(recipe), space=Space.from_toml(space), **study)
        except (KeyError, TypeError) as error:
            raise UserError(f"expected the settings of a study, found others: {error}") from None

    def differences(self, other: "StudySettings") -> list[str]:
        """What is other in `other`, the settings of a study that is there: one text each.

        Not how many trials it has: a study may be extended. Nor where its data are: they are known by their
        version.
        """
        found = []
        for table, mine in self.to_dict().items():
            theirs = other.to_dict()[table]
            found += [
                f"{name} = {mine.get(name)!r} (the study has {theirs.get(name)!r})"
                for name in sorted(mine.keys() | theirs.keys())
                if mine.get(name) != theirs.get(name)
                and (table, name) != ("study", "trials")
                and not (table == "recipe" and name in places_of_data())
            ]
        return found

    def with_data_of(self, other: "StudySettings") -> "StudySettings":
        """The same, with the data where `other` has them."""
        places = {name: value for name, value in other.recipe.to_dict().items() if name in places_of_data()}
        return replace(self, recipe=self.recipe.replace(moved=True, **places))

    def check_same(self, other: "StudySettings", where: object) -> None:
        """Refuse to go on with a study whose settings are other ones."""
        if different := self.differences(other):
            raise UserError(
                f"expected the settings of the study {where}, found {', '.join(different)}; leave them out, "
                f"or start a new study in another folder ({argument('study')})"
            )
