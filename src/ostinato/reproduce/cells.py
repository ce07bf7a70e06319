"""The cells of the paper's tables, and the settings each is trained with.

A cell is a row of a table (a model and its recipe) on one data set. `shipped/tuned.toml` holds the settings
that the protocol has chosen for it; where it has not been tuned yet, `shipped/table1.toml` and `table2.toml`
hold the best that are known, over the defaults that its letters stand for.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from ostinato.domains.declared import DomainDeclared
from ostinato.domains.music.declared import MUSIC
from ostinato.domains.music.paper import PAPER_TABLE1
from ostinato.domains.registry import DOMAINS
from ostinato.domains.text.paper import PAPER_TABLE2
from ostinato.errors import UserError, argument, near_names
from ostinato.recipe.core import CHOOSERS
from ostinato.recipe.owned import check_setting, owned_settings
from ostinato.recipe.recipe import Recipe

TABLES: dict[str, Mapping[str, Mapping[str, Any]]] = {"table1": PAPER_TABLE1, "table2": PAPER_TABLE2}

# What the paper prints of a row says its output and its letters; of the RNN-RBM it says neither.
_OUTPUTS = {"RNN": "bernoulli", "RNN-NADE": "nade", "RNN-RBM": "rbm"}
_RBM_LETTERS = "SGD+CM"


@dataclass(frozen=True)
class Cell:
    """One row of a table on one data set (table 1), or kind of data (table 2: words or chars).

    Example:
        >>> cell = Cell("table1", "RNN-NADE (SGD+CR)", "jsb")
        >>> cell.name, cell.output, cell.letters
        ('table1/jsb/nade-SGD+CR', 'nade', 'SGD+CR')
    """

    table: str
    row: str
    column: str

    @property
    def domain(self) -> DomainDeclared:
        """The kind of data."""
        return DOMAINS[self.column] if self.table == "table2" else MUSIC

    @property
    def output(self) -> str:
        """The output layer: of table 1 the row's, of words and characters their own."""
        if self.table == "table2":
            return str(self.domain.defaults["output"])
        return _OUTPUTS[self.row.partition(" ")[0]]

    @property
    def letters(self) -> str:
        """The recipe."""
        found = re.search(r"\((.*)\)", self.row)
        return found.group(1) if found else _RBM_LETTERS

    @property
    def name(self) -> str:
        """TABLE/COLUMN/MODEL: how the command line names the cell, and its folder."""
        model = self.row.partition(" ")[0].lower().removeprefix("rnn-")
        return f"{self.table}/{self.column}/{model}-{self.letters}"

    @property
    def paper(self) -> Any:
        """What the paper prints."""
        return TABLES[self.table][self.row][self.column]

    def recipe(
        self,
        *,
        shipped: bool = True,
        condition: str = "plain",
        overrides: Mapping[str, Any] | None = None,
    ) -> Recipe:
        """The letters' defaults, over them those shipped for the cell, over them `overrides`.

        Of those shipped, the tuned ones are of a `condition`; see `ostinato.reproduce.protocol`.

        Overrides that this cell has no use for are left out: a table has cells with different outputs.
        `check_overrides` says of each whether some cell has a use for it.
        """
        data = "ptb" if self.table == "table2" else self.column
        settings: dict[str, Any] = {"domain": self.domain.name, "output": self.output, "data": data}
        if shipped:
            row = dict(_shipped(self.table).get(self.row, {}))
            columns = {name: row.pop(name) for name in tuple(row) if isinstance(row[name], dict)}
            tuned = _shipped("tuned").get(self.name, {})
            if condition != "plain" and condition not in tuned:
                raise UserError(
                    f"expected settings of {self.name} that the protocol has chosen for {condition!r}, found "
                    "none yet; see results/PLAN.md"
                )
            settings |= tuned.get(condition) or row | columns.get(self.column, {})
        given = dict(overrides or {})
        chosen = Recipe.parse(self.letters, **settings | {n: given[n] for n in CHOOSERS if n in given})
        own = {name: value for name, value in given.items() if name in owned_settings(chosen.to_dict())}
        return Recipe.parse(self.letters, **settings | own)


def check_overrides(cells: Sequence[Cell], overrides: Mapping[str, Any]) -> None:
    """Refuse a setting that no cell has a use for.

    Raises:
        UserError: there is one, or a value is none for its setting.
    """
    recipes = [cell.recipe(overrides=overrides) for cell in cells]
    for name, value in overrides.items():
        check_setting(name, value)
        if recipes and not any(name in recipe for recipe in recipes):
            recipes[0].replace(**{name: value})  # which says whose it is


@cache
def _shipped(table: str) -> dict[str, Any]:
    path = files("ostinato") / "shipped" / f"{table}.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))


def find_cells(what: str, columns: Sequence[str] = (), rows: Sequence[str] = ()) -> list[Cell]:
    """The cells that a table's name, or a cell's, stands for, in the order of the paper, column by column.

    Args:
        what: "table1", "table2", or the name of a cell.
        columns: only these data sets (table 1) or kinds of data (table 2).
        rows: only these rows, as the paper prints them, or as cells' names end ("nade-SGD+CR").

    Raises:
        UserError: there is no such table, cell, data set or row.

    Example:
        >>> [cell.name for cell in find_cells("table2", ["words"], ["RNN (SGD+CL)"])]
        ['table2/words/rnn-SGD+CL']
    """
    every = [Cell(t, r, c) for t in TABLES for c in _columns(t) for r in TABLES[t]]
    if what not in TABLES:
        cells = [cell for cell in every if cell.name.lower() == what.lower()]
        if not cells or columns or rows:
            extra = "a cell's name alone" if cells else f"table1, table2, delays or a cell, found {what!r}"
            known = near_names(what, [*TABLES, "delays", *(cell.name for cell in every)]) if not cells else ""
            alone = f"leave out {argument('datasets')} and {argument('rows')}"
            raise UserError(f"expected {extra}; {known or alone}")
        return cells
    cells = [cell for cell in every if cell.table == what]
    for name in columns:
        if name not in _columns(what):
            raise UserError(f"{what} has no data set {name!r}: {near_names(name, _columns(what))}")
    for name in rows:
        if not any(_is_row(cell, name) for cell in cells):
            names = [*TABLES[what], *(cell.name.rpartition("/")[2] for cell in cells)]
            raise UserError(f"{what} has no row {name!r}: {near_names(name, set(names))}")
    return [
        cell
        for cell in cells
        if (not columns or cell.column in columns) and (not rows or any(_is_row(cell, name) for name in rows))
    ]


def _columns(table: str) -> list[str]:
    return list(next(iter(TABLES[table].values())))


def _is_row(cell: Cell, name: str) -> bool:
    return name.lower() in (cell.row.lower(), cell.name.rpartition("/")[2].lower())
