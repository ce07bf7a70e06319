"""How every cell of a table is tuned, trained and scored; `shipped/protocol.toml` is the documents'."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

from ostinato import foreign
from ostinato.errors import UserError, near_names
from ostinato.recipe.recipe import Recipe
from ostinato.reproduce.cells import Cell, check_overrides
from ostinato.search.space import Space

# Each row is trained as it is, and with an average of the weights and L2 added.
PLAIN, AVERAGED = "plain", "averaged"
CONDITIONS = (PLAIN, AVERAGED)

_PATIENT = 10_000  # epochs

_NONE = {"averaging": 0.0, "l2": 0.0}


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """One rule for every row; see the comments in `shipped/protocol.toml`.

    Args:
        trials: of the search, for each cell.
        seeds: of the final trainings.
        seeds_of_short_runs: instead, where the first took less than `short_run_seconds`.
        short_run_seconds: what a short run is.
        startup: trials that must have come as far before one is compared with their median.
        warmup: epochs before it is.
        tuning_patience: epochs without a better validation score after which a trial ends.
        tuning_epochs: of a trial at most, by column.
        epochs: of a final training at most, by column.
        space: what is searched, by the part of a recipe that it belongs to: SGD, L, R, M, HF.
        space_of: the same by column or output, in the place of `space` for the parts that it has.
        l2: what "averaged" adds, by output.
        overrides: settings that are other for all cells that have them, and are not searched.

    Raises:
        UserError: a number is out of its range.
    """

    trials: int = 16
    seeds: int = 3
    seeds_of_short_runs: int = 5
    short_run_seconds: float = 300
    startup: int = 3
    warmup: int = 3
    tuning_patience: int = 5
    tuning_epochs: Mapping[str, int] = field(default_factory=dict)
    epochs: Mapping[str, int] = field(default_factory=dict)
    space: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    space_of: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    l2: Mapping[str, float] = field(default_factory=dict)
    overrides: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("trials", "seeds", "seeds_of_short_runs", "startup", "warmup", "tuning_patience"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise UserError(
                    f"expected a whole number of at least 1 as {name} of a protocol, found {value!r}"
                )

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """The protocol of a TOML file's content.

        Raises:
            UserError: it names something else, or a number is out of its range.

        Example:
            >>> Protocol.from_dict({"trials": 2}).trials
            2
        """
        known = {each.name for each in fields(cls)}
        for name in content:
            if name not in known:
                raise UserError(f"unknown {name!r} in a protocol: {near_names(name, known)}")
        return cls(**content)

    @classmethod
    def read(cls, path: Path | None = None) -> Self:
        """The protocol of a file; the one that comes along where there is no path.

        Raises:
            UserError: the file cannot be read, or is no protocol.
        """
        place = path or files("ostinato") / "shipped" / "protocol.toml"
        try:
            found = foreign.parsed(place.read_bytes()) if path is None else foreign.settings(path)
        except OSError as error:
            raise UserError(f"expected a protocol in TOML, cannot read {path}: {error.strerror}") from None
        except UserError as error:
            raise UserError(f"expected a protocol in TOML, found none in {path}: {error}") from None
        return cls.from_dict(found)

    def to_dict(self) -> dict[str, Any]:
        """What `from_dict` reads."""
        return asdict(self)

    def check(self, cells: list[Cell]) -> None:
        """Refuse overrides that no cell has a use for."""
        check_overrides(cells, self.overrides)

    def space_for(self, cell: Cell) -> Space:
        """What is searched for a cell: the spaces of its letters, of those settings that it has.

        Example:
            >>> nade = Cell("table1", "RNN-NADE (SGD+CR)", "jsb")
            >>> sorted(Protocol.read().space_for(nade).ranges)
            ['hidden_size', 'l1', 'learning_rate', 'recurrent_rate']
        """
        recipe = self._recipe(cell, {})
        own = {**self.space_of.get(cell.output, {}), **self.space_of.get(cell.column, {})}
        first, _, letters = cell.letters.partition("+")
        table: dict[str, Any] = {}
        for part in (first, *letters):
            table |= own.get(part, self.space.get(part, {}))
        table = {n: entry for n, entry in table.items() if n in recipe and n not in self.overrides}
        return Space.from_toml(table)

    def tuning_recipe(self, cell: Cell) -> Recipe:
        """What every trial of a cell has in common: plain, of few epochs.

        `tuning_patience` is not its patience: an average of the weights may get better while they do not.
        """
        few = _of_column(self.tuning_epochs, cell)
        return self._recipe(cell, _NONE | few | {"patience": few.get("epochs", _PATIENT)})

    def final_recipe(
        self, cell: Cell, chosen: Mapping[str, Any], condition: str, seed: int, averaging: float = 0.0
    ) -> Recipe:
        """What a cell is trained with to its end.

        Args:
            cell: the cell.
            chosen: the settings that its search has chosen for the condition.
            condition: PLAIN, or AVERAGED: with L2, and an average of the weights over about an epoch.
            seed: of the training.
            averaging: decay of the average over about an epoch of updates.

        Example:
            >>> cell, chosen = Cell("table1", "RNN (SGD+CL)", "jsb"), {"learning_rate": 0.03}
            >>> found = Protocol.read().final_recipe(cell, chosen, AVERAGED, 1, 0.995)
            >>> found.learning_rate, found.averaging, found.l2, found.seed
            (0.03, 0.995, 0.001, 1)
        """
        added = dict(_NONE)
        if condition == AVERAGED:
            added = {"averaging": averaging, "l2": self.l2.get(cell.output, 0.0)}
        return self._recipe(cell, added | _of_column(self.epochs, cell) | dict(chosen) | {"seed": seed})

    def _recipe(self, cell: Cell, settings: Mapping[str, Any]) -> Recipe:
        return cell.recipe(shipped=False, overrides={**settings, **self.overrides})


def _of_column(numbers: Mapping[str, int], cell: Cell) -> dict[str, int]:
    return {"epochs": numbers[cell.column]} if cell.column in numbers else {}
