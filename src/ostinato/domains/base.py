"""What many domains would write alike: one may build on it, or do all that `Domain` says by itself."""

from collections.abc import Mapping, Sequence
from typing import Any

from ostinato.domains.answer import Asked
from ostinato.domains.declared import DomainDeclared
from ostinato.domains.domain import Data, Each, Overlap, Scores, Totals
from ostinato.domains.given import Given
from ostinato.domains.trained import TrainedModel
from ostinato.errors import UserError, argument, call
from ostinato.evaluation.sequences import SequenceScores
from ostinato.evaluation.tables import Table, show, table_of
from ostinato.nn import SequenceModel
from ostinato.nn.model import Segment
from ostinato.recipe.recipe import Recipe
from ostinato.runs.folder import Run


class BaseDomain:
    """A domain without baselines, files of its own in a run, other data, or sequences that are resampled.

    Everything else of `ostinato.domains.domain.Domain` is a subclass's to say.
    """

    what = "sequences"
    carries_state = True
    forgets_bursts = False

    def __init__(self, declared: DomainDeclared) -> None:
        self.declared = declared

    def knows(self, given: Given) -> bool:
        """No."""
        return False

    def wrap(self, recipe: Recipe, given: Given) -> Data:
        """None: a `UserError`."""
        raise UserError(
            f"expected {argument('data')} by name or from files for {self.declared.name}, found them in "
            "memory"
        )

    def under_name(self, data: Any, name: str, version: str) -> Data:
        """As they are: a file's name is no part of them."""
        found: Data = data
        return found

    def generate(self, trained: TrainedModel, asked: Asked, options: Any) -> Any:
        """Nothing: a `UserError`."""
        raise UserError(f"expected a run whose model generates, found one on {self.declared.name}")

    def score_each(self, trained: TrainedModel, sequences: Sequence[Any]) -> SequenceScores:
        """None: a `UserError`."""
        raise UserError(f"expected a run that scores sequences, found one on {self.declared.name}")

    def prepare(self, data: Any, run: Run) -> None:
        """Nothing: weights and settings are all that a model needs."""

    def needed_lag(self, recipe: Recipe) -> int | None:
        """Not known."""
        return None

    def lost_to_scaling(self, data: Any, segment: Segment) -> float:
        """Nothing: targets are in their own units."""
        return 0.0

    def baselines(self, data: Any, splits: tuple[str, ...]) -> Scores:
        """None."""
        return {}

    def table(self, scores: Scores, title: str, *, whole: bool = False) -> Table:
        """Systems against the columns that are declared, those of training only if it is to be whole."""
        columns = [c for c in self.declared.shown_columns() if whole or c[1] != "train"]
        table = table_of("", *(heading for _, _, heading in columns), title=title)
        for system, by_split in scores.items():
            cells = [show(by_split.get(split, {}).get(name)) for name, split, _ in columns]
            table.add(system, *cells, bold=system == "model")
        table.notes = [f"± standard error over {self.declared.clusters}"]
        return table

    def other_data(self, run: Run | None, data: str, given: Mapping[str, Any]) -> Data:
        """None: a `UserError`."""
        raise UserError(
            f"expected the data that the run was trained on, found {argument('data')} {data}; leave it out"
        )

    def each(self, model: SequenceModel, data: Any, options: Any) -> Each | None:
        """None."""
        return None

    def overlap(self, data: Any, split: str) -> Overlap | None:
        """None is looked for."""
        return None

    def totals(self, model: SequenceModel, data: Any, split: str) -> Totals:
        """None: a `UserError`."""
        raise UserError(
            f"expected runs on data whose sequences are resampled, found runs on {data.name}; "
            f"{call('evaluate')} gives their scores"
        )
