"""What a recipe, the command line and a report know of a kind of data before it is loaded."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ostinato.evaluation.measure import Measure
from ostinato.nn.outputs.registry import Targets
from ostinato.recipe.declared import Declared, Settings

# Of a table of scores: score, split, and what stands over the column.
Column = tuple[str, str, str]
SPLITS = {"train": "train", "valid": "validation", "test": "test"}
# By score and split, None where it is not printed.
Figures = Mapping[tuple[str, str], float | None]


def columns_of(
    score: str, label: str, splits: tuple[str, ...] = ("train", "valid", "test")
) -> tuple[Column, ...]:
    """A column for each split.

    Example:
        >>> columns_of("error", "wrong sequences, %", ("test",))
        (('error', 'test', 'test, wrong sequences, %'),)
    """
    return tuple((score, split, f"{SPLITS[split]}, {label}") for split in splits)


@dataclass(frozen=True, kw_only=True)
class Published:
    """Scores in a publication that runs compare with.

    Args:
        source: the publication.
        figures: for a run's settings and the name of its data, the system there and its scores; None where it
            has no such system, or other data.
        note: what must be known to read them.
    """

    source: str
    figures: Callable[[Settings, str], tuple[str, Figures] | None]
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class DomainDeclared(Declared):
    """What a recipe and a report know of a kind of data.

    Args:
        targets: what an output has to predict; see `nn.outputs.registry`.
        recipe: the letters where none are given.
        optimizer: the optimizer that goes with them then, if another one than the letters have.
        by_data: under HF, what suits a data set better, by its name.
        step: what a step of a sequence is called, such as "frame".
        fixed: settings that decide what is modelled: scores compare only where they are the same.
        sequences: what its sequences are called, over which standard errors are taken.
        of_data: what of a data set is modelled, where others model something else of the same.
        measure: what curves show; None for the log-likelihood itself.
        columns: of a table of scores; empty for the log-likelihood of every split.
        published: scores to compare with.
        generate: options of `ostinato generate` that make an example; "" where nothing is generated.
        sampler: where the function is that makes a report's samples (`report.samples`); "" for none.
        sounds: whether its samples have sound.
        names: of its data sets.
        data_sets: the module that has them; see `ostinato.domains.catalogue`.
        unused: settings that all recipes have and that mean nothing here.
    """

    targets: Targets
    recipe: str
    optimizer: str = ""
    by_data: dict[str, Settings] = field(default_factory=dict)
    step: str = "step"
    fixed: tuple[str, ...] = ()
    sequences: str = "sequences"
    of_data: str = ""
    measure: Measure | None = None
    columns: tuple[Column, ...] = ()
    published: Published | None = None
    generate: str = ""
    sampler: str = ""
    sounds: bool = False
    names: tuple[str, ...] = ()
    data_sets: str = ""
    unused: tuple[str, ...] = ()

    def shown_columns(self) -> tuple[Column, ...]:
        """The columns of a table of scores."""
        return self.columns or columns_of("log_likelihood", f"nats/{self.step}")
