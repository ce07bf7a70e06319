"""What a search draws settings from: intervals and choices, by the name of the setting."""

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ostinato import foreign
from ostinato.domains.registry import DOMAINS
from ostinato.errors import UserError, argument, near_names
from ostinato.recipe.effective import with_draws
from ostinato.recipe.owned import check_setting, every_setting, owners
from ostinato.recipe.recipe import Recipe

if TYPE_CHECKING:
    from optuna.trial import Trial


def fixed_settings() -> set[str]:
    """Those that no search may draw: trials are compared by their score, and other data have others.

    Example:
        >>> sorted(fixed_settings() & {"chords", "frames_per_beat", "hidden_size"})
        ['chords', 'frames_per_beat']
    """
    return {"domain", "recipe", "data"} | {name for entry in DOMAINS.entries() for name in entry.fixed}


@dataclass(frozen=True)
class Interval:
    """Numbers from `low` to `high`, both included; drawn by their logarithm where `log`, else evenly.

    Args:
        low: the smallest.
        high: the largest.
        log: whether the logarithm is uniform.
        step: the distance between neighbours, from `low` on; None: whole numbers for a whole setting, any
            number otherwise.
        whole: whether the numbers are whole.

    Example:
        >>> round(Interval(1e-4, 1e-1, log=True).at(0.5), 6)
        0.003162
        >>> [Interval(100, 400, step=100, whole=True).at(u) for u in (0.0, 0.3, 0.99)]
        [100, 200, 400]
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None
    whole: bool = False

    def at(self, share: float) -> float:
        """The number below which `share` (in [0, 1)) of the draws lie."""
        value: float
        if self.log:
            # half a step beyond the ends of whole numbers, so that these are as likely as the others
            low, high = (self.low - 0.5, self.high + 0.5) if self.whole else (self.low, self.high)
            exact = math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
            value = round(exact) if self.whole else exact
        elif self.step is not None or self.whole:
            step = self.step or 1
            value = self.low + step * math.floor(share * (self._steps() + 1))
        else:
            value = self.low + share * (self.high - self.low)
        value = min(max(value, self.low), self.high)
        return int(value) if self.whole else value

    def suggest(self, trial: "Trial", name: str) -> Any:
        """What the trial has for this setting, or draws."""
        if self.whole:
            step = int(self.step or 1)
            last = int(self.low) + step * self._steps()
            return trial.suggest_int(name, int(self.low), last, step=step, log=self.log)
        high = self.high if self.step is None else self.low + self.step * self._steps()
        return trial.suggest_float(name, self.low, high, step=self.step, log=self.log)

    def to_toml(self) -> dict[str, Any]:
        """The table that `Space.from_toml` reads."""
        table: dict[str, Any] = {"low": self.low, "high": self.high}
        if self.log:
            table["log"] = True
        return table if self.step is None else table | {"step": self.step}

    def _steps(self) -> int:
        # 0.3 / 0.1 is a little less than 3
        return math.floor((self.high - self.low) / (self.step or 1) + 1e-9)


@dataclass(frozen=True)
class Choices:
    """One of some values, each as likely.

    Example:
        >>> Choices((30.0, 50.0, "none")).at(0.7)
        'none'
    """

    values: tuple[Any, ...]

    def at(self, share: float) -> Any:
        """The value at `share` (in [0, 1)) of the way through."""
        return self.values[math.floor(share * len(self.values))]

    def suggest(self, trial: "Trial", name: str) -> Any:
        """What the trial has for this setting, or draws."""
        return trial.suggest_categorical(name, list(self.values))

    def to_toml(self) -> dict[str, Any]:
        """The table that `Space.from_toml` reads."""
        return {"choices": list(self.values)}


@dataclass(frozen=True)
class Space:
    """What is drawn from for every setting that is searched.

    Example:
        >>> space = Space.from_toml({"learning_rate": {"low": 1e-4, "high": 0.1, "log": True}})
        >>> space.sample(seed=0, number=3) == space.sample(seed=0, number=3)
        True
    """

    ranges: Mapping[str, Interval | Choices]

    @classmethod
    def from_toml(cls, table: Mapping[str, Any]) -> Self:
        """The space that a table `NAME = {low, high, log, step}` or `NAME = {choices}` describes.

        Raises:
            UserError: a name is no setting, or a range is none.
        """
        if not table:
            raise UserError("expected settings to search, found none; add lines to [search]")
        return cls({name: _read_range(name, entry) for name, entry in table.items()})

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """The space in the table [search] of a TOML file.

        Raises:
            UserError: the file cannot be read, is no TOML, or does not describe a space.
        """
        try:
            content = foreign.settings(path)
        except OSError as error:
            raise UserError(
                f"expected a TOML file with [search], cannot read {path}: {error.strerror}"
            ) from None
        except UserError as error:
            raise UserError(f"expected a TOML file with [search], found none in {path}: {error}") from None
        table = content.get("search")
        if not isinstance(table, dict) or set(content) != {"search"}:
            found = ", ".join(sorted(content)) or "an empty file"
            raise UserError(f"expected one table [search] in {path}, found {found}; see docs/searching.md")
        return cls.from_toml(table)

    def to_toml(self) -> dict[str, Any]:
        """The table that `from_toml` reads."""
        return {name: span.to_toml() for name, span in self.ranges.items()}

    def sample(self, seed: int, number: int) -> dict[str, Any]:
        """The settings of trial `number`: a function of the arguments alone.

        The draw for a setting does not depend on which others are searched.
        """
        return {
            name: span.at(np.random.default_rng([seed, number, zlib.crc32(name.encode())]).random())
            for name, span in self.ranges.items()
        }

    def suggest(self, trial: "Trial") -> dict[str, Any]:
        """The settings of an Optuna trial: those it has, or what its study's sampler draws."""
        return {name: span.suggest(trial, name) for name, span in self.ranges.items()}

    def recipe(self, base: Recipe, params: Mapping[str, Any]) -> Recipe:
        """The base with a trial's settings.

        The ends of the leak's range are drawn each by itself: the smaller one is the lower end. What is drawn
        for another output, say, than the one that is drawn is left out.

        Raises:
            UserError: the settings do not go together.
        """
        return with_draws(base, params)


def check_fits(space: Space, recipe: Recipe) -> None:
    """Refuse what no trial has a use for, such as the settings of an output that is not trained.

    Raises:
        UserError: a searched setting is none of the recipe's, nor of what is searched over besides.

    Example:
        >>> check_fits(Space.from_toml({"rbm_size": {"choices": [10]}}), Recipe.parse("SGD"))
        Traceback (most recent call last):
        ...
        ostinato.errors.UserError: searched rbm_size is for output rbm, found output bernoulli; leave it out
    """
    for name in space.ranges:
        chooser, having = owners(name)
        searched = space.ranges.get(chooser)
        drawn = searched.values if isinstance(searched, Choices) else ()
        if name not in recipe and not {*having} & {*drawn}:
            raise UserError(
                f"searched {name} is for {chooser} {' or '.join(having)}, found {chooser} "
                f"{recipe.get(chooser)}; leave it out"
            )


def builtin_space(recipe: Recipe, given: frozenset[str] = frozenset()) -> Space:
    """The intervals of Bengio et al. 2012 for a recipe: those of its letters, and those that all share.

    Args:
        recipe: what is searched around.
        given: names of settings that the user has decided, and which are left alone.

    Raises:
        UserError: there are none for this kind of data, or nothing is left to search.

    Example:
        >>> sorted(builtin_space(Recipe.parse("SGD+CM")).ranges)
        ['hidden_size', 'learning_rate', 'momentum']
    """
    if not DOMAINS[recipe.domain].search:
        raise UserError(
            f"expected {argument('space')} FILE.toml for {recipe.domain}, found none; see docs/searching.md"
        )
    table: dict[str, Any] = {}
    for declared in recipe.declared():
        table |= declared.search
    for letter in recipe.letters:
        for declared in recipe.declared():
            table |= declared.search_letters.get(letter, {})
    table = {name: entry for name, entry in table.items() if name in recipe and name not in given}
    if not table:
        raise UserError("expected something to search, found every searched setting given; leave one out")
    return Space.from_toml(table)


def _read_range(name: str, entry: Any) -> Interval | Choices:
    _check_name(name)
    if not isinstance(entry, dict):
        raise UserError(f"expected {name} = {{low, high}} or {{choices}} in [search], found {entry!r}")
    known = {"low", "high", "log", "step", "choices"}
    for key in entry:
        if key not in known:
            raise UserError(f"unknown {key!r} for {name} in [search]: {near_names(key, known)}")
    if "choices" in entry:
        return _read_choices(name, entry)
    return _read_interval(name, entry)


def _check_name(name: str) -> None:
    """A UserError where a name is no setting, or one that cannot be searched."""
    fixed = fixed_settings()
    names = every_setting().keys() - fixed
    if name in fixed:
        raise UserError(f"{name} cannot be searched, as it decides what is compared; give it as an option")
    if name not in names:
        raise UserError(f"unknown setting {name!r} in [search]: {near_names(name, names)}")


def _read_choices(name: str, entry: dict[str, Any]) -> Choices:
    values = entry["choices"]
    if len(entry) > 1 or not isinstance(values, list) or not values:
        raise UserError(
            f"expected {name} = {{choices = [a, b, ...]}} in [search], found {entry!r}; low and high are for "
            "intervals"
        )
    return Choices(tuple(check_setting(name, value) for value in values))


def _read_interval(name: str, entry: dict[str, Any]) -> Interval:
    kind = every_setting()[name].number
    if kind is None:
        raise UserError(f"expected {name} = {{choices = [...]}} in [search], as it is no number")
    if "low" not in entry or "high" not in entry:
        raise UserError(f"expected low and high, or choices, for {name} in [search], found {entry!r}")
    low, high = (check_setting(name, entry[end]) for end in ("low", "high"))
    if not isinstance(low, int | float) or not isinstance(high, int | float):
        raise UserError(f"expected numbers as low and high of {name} in [search], found {entry!r}")
    log, step = entry.get("log", False), entry.get("step")
    if low > high:
        raise UserError(f"expected low <= high for {name} in [search], found {low} > {high}; swap them")
    if not isinstance(log, bool) or (log and low <= 0):
        raise UserError(f"expected log = true with low above 0 for {name} in [search], found {entry!r}")
    if step is not None:
        whole_numbers = (int,) if kind is int else (int, float)
        if log or isinstance(step, bool) or not isinstance(step, whole_numbers) or not 0 < step < math.inf:
            raise UserError(
                f"expected a {'whole ' if kind is int else ''}step above 0, without log, for {name} in "
                f"[search], found {entry!r}"
            )
    return Interval(low, high, log, step, kind is int)
