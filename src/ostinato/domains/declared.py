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
        by_data: under HF, what suits a data set better, by its name.
        step: what a step of a sequence is called, such as "frame".
        fixed: settings that decide what is modelled: scores compare only where they are the same.
    """

    targets: Targets
    recipe: str
    by_data: dict[str, Settings] = field(default_factory=dict)
    step: str = "step"
    fixed: tuple[str, ...] = ()
