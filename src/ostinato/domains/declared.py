"""What a recipe and the command line know of a kind of data before it is loaded."""

from dataclasses import dataclass, field

from ostinato.nn.outputs.registry import Targets
from ostinato.recipe.declared import Declared, Settings


@dataclass(frozen=True, kw_only=True)
class DomainDeclared(Declared):
    """What a recipe knows of a kind of data.

    Args:
        targets: what an output has to predict; see `nn.outputs.registry`.
        recipe: the letters where none are given.
        optimizer: the optimizer that goes with them then, if another one than the letters have.
        by_data: under HF, what suits a data set better, by its name.
        step: what a step of a sequence is called, such as "frame".
        names: of its data sets.
        data_sets: the module that has them; see `ostinato.domains.catalogue`.
        unused: settings that all recipes have and that mean nothing here.
    """

    targets: Targets
    recipe: str
    optimizer: str = ""
    by_data: dict[str, Settings] = field(default_factory=dict)
    step: str = "step"
    names: tuple[str, ...] = ()
    data_sets: str = ""
    unused: tuple[str, ...] = ()
