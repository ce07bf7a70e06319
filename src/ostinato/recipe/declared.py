"""What a domain, an output, a cell and an optimizer say of themselves before they are loaded.

A recipe and a command's help need names, settings and defaults only. These stand in a declaration, which
imports nothing heavy; `load` then brings the class itself. A `Registry` knows the declarations of one sort by
name. What a program adds with `register` is treated as what comes with the package is.
"""

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from ostinato.errors import UserError, argument, near_names
from ostinato.recipe.extensions import load_extensions
from ostinato.recipe.setting import Setting

Settings = Mapping[str, Any]
Letters = Mapping[str, Settings]


def loaded(place: str | type[Any]) -> Any:
    """The class at a place, "package.module:Name", imported now; or itself.

    Example:
        >>> loaded("fractions:Fraction"), loaded(int)
        (<class 'fractions.Fraction'>, <class 'int'>)
    """
    if not isinstance(place, str):
        return place
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


@dataclass(frozen=True, kw_only=True)
class Declared:
    """What a recipe knows of one domain, output, cell or optimizer.

    Args:
        name: as settings and options call it.
        place: where the class is: "package.module:Name", imported when it is asked for; or the class itself.
        summary: what it is, in a few words.
        settings: those that it alone has.
        rates: those of its settings that are a learning rate, relative to learning_rate, each with the
            parameters that learn at it: their names, or patterns of names with * and ?. Of an output or a
            cell they are those of its own module, of a domain or an optimizer those of the whole model. A
            parameter that several rates are for learns at their product.
        norms: those of its settings that bound the largest singular value of parameters, or are "none", each
            with the parameters, named as for rates.
        terms: those of its settings that weigh a term of training's gradient, not of the model.
        no_decay: parameters that an optimizer's weight decay leaves alone, named in the same way.
        defaults: what is other than the settings' defaults with it, its own or a recipe's common ones.
        letters: what a letter of the recipe means with it, over what the letter means in general.
        hessian_free: what HF means with it, over what HF means in general.
        search: what a search draws settings from where the user says nothing, as a table [search] has it.
        search_letters: the same for what a letter of the recipe adds.
        check: raises a UserError where settings of a recipe that has it do not go together.
    """

    name: str
    place: str | type[Any]
    summary: str = ""
    settings: tuple[Setting, ...] = ()
    rates: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    norms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    terms: tuple[str, ...] = ()
    no_decay: tuple[str, ...] = ()
    defaults: Settings = field(default_factory=dict)
    letters: Letters = field(default_factory=dict)
    hessian_free: Settings = field(default_factory=dict)
    search: Settings = field(default_factory=dict)
    search_letters: Letters = field(default_factory=dict)
    check: Callable[[Any], None] = lambda recipe: None

    def arguments(self, settings: Settings) -> dict[str, Any]:
        """The values of its settings that are arguments of its class: not those that only training asks for.

        Example:
            >>> rate = Setting("own_rate", float, 1.0, "Optimization", "learning rate of w")
            >>> size = Setting("own_size", int, 5, "Model", "size of w")
            >>> Declared(
            ...     name="a", place="b:C", settings=(rate, size), rates={"own_rate": ("w",)}
            ... ).arguments({"own_rate": 2.0, "own_size": 7, "seed": 0})
            {'own_size': 7}
        """
        of_training = {*self.rates, *self.norms, *self.terms}
        return {s.name: settings[s.name] for s in self.settings if s.name not in of_training}

    def load(self) -> Any:
        """The class, imported now."""
        return loaded(self.place)


Entry = TypeVar("Entry", bound=Declared)


class Registry(Generic[Entry]):
    """The declarations of one sort by name, in the order in which they came.

    Before it is asked for the first time the extensions are imported (`recipe.extensions`).

    Args:
        sort: the setting that chooses among them, for messages.
        further: gives a declaration for a name that nobody has registered, or None.
        others: which names those are, for messages.

    Example:
        >>> cells = Registry[Declared]("cell")
        >>> cells.register(Declared(name="rnn", place="ostinato.nn:RNN"))
        >>> cells["rnn"].load().__name__, "gru" in cells
        ('RNN', False)
        >>> cells["rn"]
        Traceback (most recent call last):
        ...
        ostinato.errors.UserError: unknown cell 'rn': did you mean rnn?
    """

    def __init__(
        self, sort: str, further: Callable[[str], Entry | None] = lambda name: None, others: str = ""
    ) -> None:
        self.sort, self._further, self._others = sort, further, others
        self._registered: dict[str, Entry] = {}
        # those that `further` gave: not listed, so that what is listed does not depend on what was asked for
        self._given: dict[str, Entry] = {}
        self._unlisted: dict[str, Entry] = {}
        self._aliases: dict[str, str] = {}

    @property
    def _entries(self) -> dict[str, Entry]:
        load_extensions()
        return self._registered

    def register(self, entry: Entry, *, aliases: tuple[str, ...] = (), listed: bool = True) -> None:
        """Add a declaration.

        Args:
            entry: the declaration.
            aliases: other names that mean the same where a name is asked for; they are not listed.
            listed: whether it is among those that one chooses from. What a program alone can have, such as a
                network of its own, is found by its name, and is no choice of a command.

        Raises:
            ValueError: the name is taken by another declaration.
        """
        for name in (entry.name, *aliases):
            known = self._registered.get(self._aliases.get(name, name))
            known = known or self._unlisted.get(name)
            if known is not None and known != entry:
                raise ValueError(f"expected a new name for a {self.sort}, found {name!r}, which is taken")
        if not listed:
            self._unlisted[entry.name] = self._given[entry.name] = entry
            return
        self._registered[entry.name] = entry
        self._aliases |= dict.fromkeys(aliases, entry.name)

    def forget(self, name: str) -> None:
        """Take back what `register` added."""
        del self._registered[name]
        self._aliases = {alias: of for alias, of in self._aliases.items() if of != name}

    def name(self, name: str) -> str:
        """The name that a name or an alias stands for.

        Raises:
            UserError: there is none; the message names near ones.
        """
        load_extensions()
        found = self._aliases.get(name, name)
        if isinstance(name, str) and found not in self._entries:
            entry = self._given.get(name) or self._further(name)
            if entry is not None:
                self._given[name] = self._given[entry.name] = entry
                return entry.name
        if not isinstance(name, str) or found not in self._entries:
            hint = near_names(str(name), self._entries)
            others = f" ({self._others})" if self._others else ""
            raise UserError(f"unknown {argument(self.sort)} {name!r}: {hint}{others}")
        return found

    def __getitem__(self, name: str) -> Entry:
        found = self.name(name)
        return self._registered[found] if found in self._registered else self._given[found]

    def __contains__(self, name: object) -> bool:
        entries = self._entries
        return self._aliases.get(str(name), name) in entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def default(self) -> str:
        """The first one's name: what is meant where none is named."""
        return next(iter(self._entries))

    def entries(self) -> list[Entry]:
        """All declarations that are listed."""
        return list(self._entries.values())

    def every(self) -> list[Entry]:
        """All declarations, those that are not listed last."""
        return [*self._entries.values(), *self._unlisted.values()]
