"""Recipe: every setting of a run, checked, and the paper's letters for it.

A recipe has the settings that all runs have (`recipe.core`) and those that its domain, output, cell and
optimizer declare. It has no others: a run on words knows nothing of an RBM.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ostinato import foreign
from ostinato.domains.registry import DOMAINS
from ostinato.errors import UserError, argument
from ostinato.nn.outputs.registry import OUTPUTS
from ostinato.optim.declared import OPTIMIZERS
from ostinato.recipe.core import CHOOSERS, CORE
from ostinato.recipe.declared import Declared
from ostinato.recipe.letters import base_settings, canonical, named
from ostinato.recipe.meanings import settings_meant
from ostinato.recipe.older import renewed
from ostinato.recipe.owned import REGISTRIES, check_names, declared_by, not_owned, owned_settings
from ostinato.recipe.setting import Setting


class Recipe:
    """All settings of a run. Immutable; checked when made; `replace` makes a changed copy.

    Every setting is an attribute. `Recipe(...)` takes settings as they are, `Recipe.parse` the letters.

    Args:
        settings: by name; the others are at their defaults.

    Raises:
        UserError: a setting is unknown, not this recipe's, or out of its range, or two do not go together.

    Example:
        >>> recipe = Recipe.parse("SGD+CL", learning_rate=0.1)
        >>> recipe.clip, recipe.leak_fraction, recipe.learning_rate
        ('quantile', 0.5, 0.1)
        >>> recipe.replace(hidden_size=50).hidden_size
        50
        >>> Recipe.parse("SGD", rbm_size=10)
        Traceback (most recent call last):
        ...
        ostinato.errors.UserError: rbm_size is for output rbm, found output bernoulli; leave it out
    """

    # what every recipe has, for readers and type checkers; `recipe.core` declares it
    domain: str
    data: str
    output: str
    cell: str
    optimizer: str
    hidden_size: int
    num_layers: int
    l1: float
    l2: float
    dropout: float
    input_dropout: float
    output_dropout: float
    recurrent_dropout: float
    averaging: float
    streams: int
    segment_length: int
    epochs: int
    patience: int
    minutes: float | None
    minutes_of: str
    dtype: str
    seed: int

    __slots__ = ("_values",)
    _values: dict[str, Any]

    def __init__(self, **settings: Any) -> None:
        letters = settings.get("recipe")
        meant = base_settings(canonical(letters).partition("+")[0]) if isinstance(letters, str) else {}
        settings = {name: meant[name] for name in CHOOSERS if name in meant} | settings
        chosen = {setting.name: setting.default for setting in CORE}
        chosen |= {name: settings[name] for name in CHOOSERS if name in settings}
        owned = owned_settings(chosen)
        for name in settings:
            if name not in owned:
                raise not_owned(name, chosen)
        values = {
            name: setting.checked(settings.get(name, setting.default)) for name, setting in owned.items()
        }
        values |= {name: REGISTRIES[name].name(values[name]) for name in CHOOSERS}
        values["recipe"] = named(values["recipe"], values["optimizer"])
        object.__setattr__(self, "_values", values)
        self._check()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self._values[name]
        except KeyError:
            raise AttributeError(f"this recipe has no setting {name!r}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("a recipe does not change; use replace")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Recipe) and self._values == other._values

    def __hash__(self) -> int:
        return hash(tuple(self._values.items()))

    def __repr__(self) -> str:
        return f"Recipe({', '.join(f'{name}={value!r}' for name, value in self.to_dict().items())})"

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def __reduce__(self) -> tuple[Any, ...]:
        return Recipe.from_dict, (self._values,)

    def get(self, name: str, default: Any = None) -> Any:
        """A setting's value, or the default where this recipe has no such setting."""
        return self._values.get(name, default)

    @property
    def name(self) -> str:
        """The letters with what stands before them, such as "SGD+CRM"; with other optimizers, "adam+C"."""
        name: str = self._values["recipe"]
        return name

    @property
    def letters(self) -> str:
        """The letters after SGD+, say, such as "CRM"; "" for none."""
        return self.name.partition("+")[2]

    @property
    def base(self) -> str:
        """What stands before the letters: "SGD", "HF", or the name of another optimizer."""
        return self.name.partition("+")[0]

    def declared(self) -> tuple[Declared, ...]:
        """The declarations of its domain, output, cell and optimizer."""
        return tuple(declared_by(self._values))

    def settings(self) -> dict[str, Setting]:
        """The declarations of its settings by name."""
        return owned_settings(self._values)

    def replace(self, /, *, moved: bool = False, **changes: Any) -> "Recipe":
        """The same with other values. Another output, say, has its own settings, at their defaults.

        Args:
            moved: whether data that are named otherwise are the same data in another place, for which
                nothing is chosen anew.
            changes: the values.

        Raises:
            UserError: as for `Recipe`.
        """
        values = self._values | changes
        seen = values | {"data": self.data} if moved else values
        meant, anew = (DOMAINS[v["domain"]].anew(v) for v in (self._values, seen))
        # what the old choices meant, the new ones may mean otherwise; what they do not say is left open
        unsaid = meant.keys() - changes.keys()
        left = {name for name in unsaid if values.get(name) == meant[name] != anew.get(name)}
        values |= dict.fromkeys(left)
        if seen["data"] != self.data:
            left |= {name for name in anew if values.get(name) is None}
        values |= {name: value for name, value in anew.items() if name in left}
        owned = owned_settings(values)
        return Recipe(**{name: value for name, value in values.items() if name in owned or name in changes})

    def values(self) -> dict[str, Any]:
        """The settings by name, with those that are None."""
        return dict(self._values)

    def to_dict(self) -> dict[str, Any]:
        """The settings by name, without those that are None: what a run's config.toml holds."""
        return {name: value for name, value in self._values.items() if value is not None}

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> "Recipe":
        """The recipe of a run: what `to_dict` gave, also of an older version.

        Settings of another output, say, which older versions kept with every run, are left out.

        Raises:
            UserError: an unknown name, or as for `Recipe`.
        """
        settings = renewed(settings)
        for name in CHOOSERS:  # first: a setting that nobody has may be an unknown output's
            REGISTRIES[name].name(settings.get(name, REGISTRIES[name].default))
        check_names(settings)
        owned = owned_settings({setting.name: setting.default for setting in CORE} | settings)
        return cls(**{name: value for name, value in settings.items() if name in owned})

    @classmethod
    def parse(
        cls, letters: str | None, stored: Mapping[str, Any] | None = None, /, **settings: Any
    ) -> "Recipe":
        """The recipe that the paper's letters name, with any setting overridden.

        Defaults depend on the domain, the output, the cell and the optimizer: NADE and RBM have a learning
        rate of their own, and letters mean for them what suits them. Leaky units or momentum without their
        letters take the leaks or the schedule that L or M would mean, unless these are given too.

        Args:
            letters: such as "SGD+CRM", or "adam+C" for another optimizer; None: those of the domain. Where
                settings name another optimizer, it takes the place of SGD.
            stored: settings of a file. They count for less than those given, and those that belong to
                another output, say, are left out.
            settings: those given.

        Raises:
            UserError: as for `Recipe`, or a letter does not go with the optimizer or the cell.

        Example:
            >>> Recipe.parse("SGD+RC").letters
            'CR'
            >>> Recipe.parse("SGD+CM", output="nade").learning_rate
            0.3
            >>> Recipe.parse("adam+C").optimizer, Recipe.parse("SGD+C", optimizer="adam").name
            ('adam', 'adam+C')
            >>> recipe = Recipe.parse("SGD+C", leak_fraction=0.25)
            >>> recipe.leak_low, recipe.leak_high
            (0.8, 0.98)
            >>> Recipe.parse("SGD+M", optimizer="adam")
            Traceback (most recent call last):
            ...
            ostinato.errors.UserError: M is Nesterov momentum, found optimizer adam; leave one of them out
        """
        return cls(**settings_meant(letters, stored or {}, settings))

    @classmethod
    def read_settings(cls, path: str | Path) -> dict[str, Any]:
        """The settings of a TOML file, as `to_dict` writes them.

        Raises:
            UserError: it cannot be read, or names what is no setting.
        """
        try:
            settings = foreign.settings(path)
        except OSError as error:
            raise UserError(
                f"expected a TOML file of settings, cannot read {path}: {error.strerror}"
            ) from None
        except UserError as error:
            raise UserError(f"expected a TOML file of settings, found none in {path}: {error}") from None
        if not isinstance(settings.get("recipe", ""), str):
            raise UserError(f'expected recipe = "SGD+C", say, in {path}, found {settings["recipe"]!r}')
        settings = renewed(settings)
        check_names(settings, f" in {path}")
        return settings

    def _check(self) -> None:
        output, domain = OUTPUTS[self.output], DOMAINS[self.domain]
        targets = domain.targets_of(self.data)
        if output.targets != targets:
            fitting = [entry.name for entry in OUTPUTS.entries() if entry.targets == targets]
            what = self.data if self.data in domain.data_targets else self.domain
            raise UserError(
                f"{argument('output')} {self.output} does not fit {what}; use {' or '.join(fitting)}"
            )
        if OPTIMIZERS[self.optimizer].curvature:
            if not output.curvature:
                raise UserError(f"{argument('output')} {self.output} does not go with HF; leave it out")
            # its steps are of the joint objective's curvature
            for stage in output.pretraining:
                if epochs := self.get(stage.epochs):
                    raise UserError(f"{argument(stage.epochs)} {epochs} does not go with HF; leave it out")
        if self.dropout and self.num_layers == 1:
            raise UserError(
                f"{argument('dropout')} acts between layers, found one layer; set "
                f"{argument('num_layers')} to 2 or more, or {argument('output_dropout')}"
            )
        for declared in self.declared():
            declared.check(self)
