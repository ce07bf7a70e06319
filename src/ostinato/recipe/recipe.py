"""Recipe: every setting of a run, checked, and the paper's letters for it.

A recipe has the settings that all runs have (`recipe.core`) and those that its domain, output, cell and
optimizer declare. It has no others: a run on words knows nothing of an RBM.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ostinato.domains.registry import DOMAINS
from ostinato.errors import UserError, argument, near_names
from ostinato.nn.cells.registry import CELLS
from ostinato.nn.outputs.registry import OUTPUTS
from ostinato.optim.declared import OPTIMIZERS
from ostinato.recipe.core import CHOOSERS, CORE
from ostinato.recipe.declared import Declared, Registry
from ostinato.recipe.letters import BASES, LETTERS, MEANT_TOGETHER, SWITCHES, canonical
from ostinato.recipe.older import renewed
from ostinato.recipe.setting import Setting

REGISTRIES: dict[str, Registry[Any]] = {
    "domain": DOMAINS,
    "output": OUTPUTS,
    "cell": CELLS,
    "optimizer": OPTIMIZERS,
}


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
        ('auto', 0.5, 0.1)
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
    averaging: float
    streams: int
    segment_length: int
    epochs: int
    patience: int
    dtype: str
    seed: int

    __slots__ = ("_values",)
    _values: dict[str, Any]

    def __init__(self, **settings: Any) -> None:
        chosen = {setting.name: setting.default for setting in CORE}
        chosen |= {name: settings[name] for name in CHOOSERS if name in settings}
        owned = owned_settings(chosen)
        for name in settings:
            if name not in owned:
                raise _not_owned(name, chosen)
        values = {
            name: setting.checked(settings.get(name, setting.default)) for name, setting in owned.items()
        }
        values |= {name: REGISTRIES[name].name(values[name]) for name in CHOOSERS}
        values["recipe"] = canonical(values["recipe"])
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
        """The letters with what stands before them, such as "SGD+CRM"."""
        name: str = self._values["recipe"]
        return name

    @property
    def letters(self) -> str:
        """The letters after SGD+ or HF+, such as "CRM"; "" for none."""
        return self.name.partition("+")[2]

    @property
    def base(self) -> str:
        """What stands before the letters: "SGD" or "HF"."""
        return self.name.partition("+")[0]

    def declared(self) -> tuple[Declared, ...]:
        """The declarations of its domain, output, cell and optimizer."""
        return tuple(REGISTRIES[name][self._values[name]] for name in CHOOSERS)

    def settings(self) -> dict[str, Setting]:
        """The declarations of its settings by name."""
        return owned_settings(self._values)

    def replace(self, **changes: Any) -> "Recipe":
        """The same with other values. Another output, say, has its own settings, at their defaults.

        Raises:
            UserError: as for `Recipe`.
        """
        values = self._values | changes
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
            letters: such as "SGD+CRM"; None: those of the domain, with its optimizer.
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
            >>> recipe = Recipe.parse("SGD+C", leak_fraction=0.25)
            >>> recipe.leak_low, recipe.leak_high
            (0.8, 0.98)
            >>> Recipe.parse("SGD+M", optimizer="adam")
            Traceback (most recent call last):
            ...
            ostinato.errors.UserError: M is Nesterov momentum, found optimizer adam; leave one of them out
        """
        stored = renewed(stored or {})
        check_names(stored)
        domain = DOMAINS[(dict(stored) | settings).get("domain", DOMAINS.default)]
        if letters is None and domain.optimizer and "optimizer" not in stored:
            settings = {"optimizer": domain.optimizer} | settings
        canon = _usual_letters(domain.recipe, dict(stored) | settings) if letters is None else letters
        canon = canonical(canon)
        base, _, rest = canon.partition("+")
        chosen = _choices(base, rest, dict(stored) | settings)
        _check_contradictions(base, rest, settings)
        meant = defaults_of(chosen)
        meant |= BASES[base]
        if base == "HF":
            for declared in _declared(chosen):
                meant |= declared.hessian_free
            meant |= DOMAINS[chosen["domain"]].by_data.get(chosen["data"], {})
        for letter in rest:
            meant |= meaning(letter, chosen)
        for letter, (switch, companions) in MEANT_TOGETHER.items():
            if letter not in rest and (dict(stored) | settings).get(switch):
                means = meaning(letter, chosen)
                meant |= {name: means[name] for name in companions if name in means}
        meant |= chosen
        owned = owned_settings(chosen)
        _check_letters(rest, owned, chosen)
        below = {name: value for name, value in (meant | dict(stored)).items() if name in owned}
        return cls(**(below | chosen | settings | {"recipe": canon}))

    @classmethod
    def read_settings(cls, path: str | Path) -> dict[str, Any]:
        """The settings of a TOML file, as `to_dict` writes them.

        Raises:
            UserError: it cannot be read, or names what is no setting.
        """
        import tomllib

        try:
            settings = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise UserError(
                f"expected a TOML file of settings, cannot read {path}: {error.strerror}"
            ) from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UserError(f"expected a TOML file of settings, found none in {path}: {error}") from None
        settings = renewed(settings)
        check_names(settings, f" in {path}")
        return settings

    def _check(self) -> None:
        output, domain = OUTPUTS[self.output], DOMAINS[self.domain]
        if output.targets != domain.targets:
            fitting = [entry.name for entry in OUTPUTS.entries() if entry.targets == domain.targets]
            raise UserError(
                f"{argument('output')} {self.output} does not fit {self.domain}; use {' or '.join(fitting)}"
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
                f"{argument('num_layers')} to 2 or more"
            )
        for declared in self.declared():
            declared.check(self)


def _declared(values: Mapping[str, Any]) -> Iterator[Declared]:
    return (REGISTRIES[name][values[name]] for name in CHOOSERS)


def owned_settings(values: Mapping[str, Any]) -> dict[str, Setting]:
    """The settings of a recipe with this domain, output, cell and optimizer.

    Example:
        >>> chosen = {"domain": "words", "output": "softmax", "cell": CELLS.default, "optimizer": "sgd"}
        >>> "vocabulary_size" in owned_settings(chosen), "rbm_size" in owned_settings(chosen)
        (True, False)
    """
    owned = {setting.name: setting for setting in CORE}
    for declared in _declared(values):
        owned |= {setting.name: setting for setting in declared.settings}
    return owned


def every_setting() -> dict[str, Setting]:
    """Every setting that some recipe has, by name."""
    found = {setting.name: setting for setting in CORE}
    for registry in REGISTRIES.values():
        for declared in registry.entries():
            for setting in declared.settings:
                found.setdefault(setting.name, setting)
    return found


def owners(name: str) -> tuple[str, list[str]]:
    """Whose setting this is: what chooses it, and its values that have it.

    Example:
        >>> owners("nade_size"), owners("seed")
        (('output', ['nade']), ('', []))
    """
    for chooser, registry in REGISTRIES.items():
        having = [e.name for e in registry.entries() if any(s.name == name for s in e.settings)]
        if having:
            return chooser, having
    return "", []


def check_names(settings: Mapping[str, Any], where: str = "") -> None:
    """A UserError where a name is no setting of any recipe."""
    known = every_setting()
    for name in settings:
        if name not in known:
            raise UserError(f"unknown setting {name!r}{where}: {near_names(name, known)}")


def check_setting(name: str, value: Any) -> Any:
    """The value in its setting's type, as a Recipe would hold it.

    Raises:
        UserError: a Recipe would refuse it.

    Example:
        >>> check_setting("learning_rate", 1)
        1.0
    """
    check_names([name])  # type: ignore[arg-type]
    return every_setting()[name].checked(value)


def defaults_of(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """What is other than the settings' own defaults for a domain, output, cell and optimizer."""
    found: dict[str, Any] = {}
    for declared in _declared(chosen):
        found |= declared.defaults
    return found


def meaning(letter: str, chosen: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The settings that one letter stands for, for a domain and an output.

    Example:
        >>> meaning("C")
        {'clip': 'auto'}
        >>> meaning("C", {"domain": "chars", "output": "softmax", "cell": CELLS.default, "optimizer": "sgd"})
        {'clip': 0.5}
    """
    meant = dict(LETTERS[letter])
    if chosen is not None:
        for name in ("output", "cell", "optimizer", "domain"):
            meant |= REGISTRIES[name][chosen[name]].letters.get(letter, {})
    return meant


def letter_settings(*recipes: str) -> set[str]:
    """The names of the settings that the letters stand for; with HF's, if one of the recipes has it."""
    every = [declared for registry in REGISTRIES.values() for declared in registry.entries()]
    names = {name for table in (LETTERS, *(d.letters for d in every)) for s in table.values() for name in s}
    if any(recipe.upper().startswith("HF") for recipe in recipes):
        names |= {name for d in every for name in d.hessian_free} | set(BASES["HF"])
    return names


def _choices(base: str, letters: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Domain, data, output, cell and optimizer: as given, or as the letters and the domain have it."""
    domain = DOMAINS[settings.get("domain", DOMAINS.default)]
    optimizer = BASES[base].get("optimizer", OPTIMIZERS.default)
    for letter, (switch, _) in MEANT_TOGETHER.items():
        if letter in letters or (base != "HF" and settings.get(switch)):
            optimizer = LETTERS[letter].get("optimizer", optimizer)
    chosen = {"output": "", "cell": CELLS.default, "optimizer": optimizer, "data": "", **domain.defaults}
    chosen = {name: chosen[name] for name in ("data", *CHOOSERS) if name != "domain"}
    chosen |= {name: settings[name] for name in chosen if name in settings}
    return {"domain": domain.name, **chosen}


def _usual_letters(letters: str, settings: Mapping[str, Any]) -> str:
    """A domain's own letters, but for those that a cell or an optimizer that was asked for has no use for.

    Example:
        >>> _usual_letters("SGD+CLR", {"cell": "lstm"}), _usual_letters("HF", {"optimizer": "adam"})
        ('SGD+CL', 'SGD')
    """
    base, _, rest = letters.partition("+")
    usual = BASES[base].get("optimizer", OPTIMIZERS.default)
    optimizer = settings.get("optimizer", usual)
    if optimizer != usual:
        base = "SGD"
    owned = {setting.name for setting in CELLS[settings.get("cell", CELLS.default)].settings}
    owned |= {setting.name for setting in OPTIMIZERS[optimizer].settings}
    kept = [letter for letter in rest if SWITCHES[letter] in owned]
    return f"{base}+{''.join(kept)}" if kept else base


def _check_contradictions(base: str, letters: str, settings: Mapping[str, Any]) -> None:
    given = settings.get("optimizer")
    if given is None:
        return
    if (base == "HF") != (given == BASES["HF"]["optimizer"]):
        raise UserError(
            f"expected {argument('optimizer')} hessian-free and {argument('recipe')} HF together, found "
            f"{given} and {base}; leave {argument('optimizer')} out"
        )
    if "M" in letters and given != LETTERS["M"]["optimizer"]:
        raise UserError(
            f"M is Nesterov momentum, found {argument('optimizer')} {given}; leave one of them out"
        )


def _check_letters(letters: str, owned: Mapping[str, Setting], chosen: Mapping[str, Any]) -> None:
    """A letter whose technique this cell or optimizer does not have is refused."""
    for letter in letters:
        switch = SWITCHES[letter]
        if switch not in owned:
            chooser, having = owners(switch)
            raise UserError(
                f"{letter} sets {argument(switch)}, which is for {argument(chooser)} {' or '.join(having)}, "
                f"found {argument(chooser)} {chosen[chooser]}; leave the letter out"
            )


def _not_owned(name: str, chosen: Mapping[str, Any]) -> UserError:
    """Why a recipe does not have a setting that was given."""
    check_names([name])  # type: ignore[arg-type]
    chooser, having = owners(name)
    return UserError(
        f"{argument(name)} is for {argument(chooser)} {' or '.join(having)}, found {argument(chooser)} "
        f"{chosen[chooser]}; leave it out"
    )
