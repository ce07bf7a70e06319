"""What a recipe, the command line and a report know of a kind of data before it is loaded."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

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
class NoOptions:
    """Of a command in which a domain has nothing of its own to say."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """A domain's part in a command that several have.

    Args:
        options: a dataclass of the options that are for it, each with a default, and a docstring that says
            what each is; a command's help has them under the domain's heading.
        place: where the function is that answers, "package.module:name"; it is given what the command's users
            say in any domain, and the options, and returns a `domains.answer.Answer`. Of commands that are
            the same in all domains but for options, such as `evaluate`, "".
    """

    options: type
    place: str = ""

    def load(self) -> Callable[..., Any]:
        """The function, imported now."""
        module, _, name = self.place.partition(":")
        function: Callable[..., Any] = getattr(importlib.import_module(module), name)
        return function


@dataclass(frozen=True, kw_only=True)
class DomainDeclared(Declared):
    """What a recipe and a report know of a kind of data.

    Args:
        targets: what an output has to predict; see `nn.outputs.registry`.
        data_targets: of data sets whose targets are of another kind, by name.
        data_defaults: what of the defaults is otherwise for a data set, by its name.
        recipe: the letters where none are given; with an optimizer of its own, such as "adam+C".
        by_data: under HF, what suits a data set better, by its name.
        anew: for the choices of a new recipe, settings that its runs have where nothing is said of them, and
            that runs of before lack.
        step: what a step of a sequence is called, such as "frame".
        fixed: settings that decide what is modelled: scores compare only where they are the same.
        sequences: what its sequences are called.
        clusters: over what standard errors are taken, in the plural; "" for its sequences.
        of_data: what of a data set is modelled, where others model something else of the same.
        measure: what curves show; None for the log-likelihood itself.
        measures: what they show instead with a value of a setting, by the setting's name and the value.
        columns: of a table of scores; empty for the log-likelihood of every split.
        published: scores to compare with.
        generate: options of `ostinato generate` that make an example; "" where nothing is generated.
        sampler: where the function is that makes a report's samples (`report.samples`); "" for none.
        sounds: whether its samples have sound.
        names: of its data sets.
        data_sets: the module that has them; see `ostinato.domains.catalogue`.
        family: what it shares data sets and commands with others as, such as text; by default its name.
        called: what a data set is, in a message: "music", "a problem with long delays".
        reads: what its files are, in a message; "" where there are none.
        commands: its part in `generate`, `score`, `export`, `evaluate` and `data show`, by name ("show" of
            the last).
        claims: the option of `data show` that says a file of any name is its; "" for none.
        models: endings of files that can be named in place of a run.
        unused: settings that all recipes have and that mean nothing here.
        own_network: whether its data bring the network, a program's own.
    """

    targets: Targets
    recipe: str
    data_targets: Mapping[str, Targets] = field(default_factory=dict)
    data_defaults: Mapping[str, Settings] = field(default_factory=dict)
    by_data: dict[str, Settings] = field(default_factory=dict)
    anew: Callable[[Settings], Settings] = lambda settings: {}
    step: str = "step"
    fixed: tuple[str, ...] = ()
    sequences: str = "sequences"
    clusters: str = ""
    of_data: str = ""
    measure: Measure | None = None
    measures: Mapping[tuple[str, Any], Measure] = field(default_factory=dict)
    columns: tuple[Column, ...] = ()
    published: Published | None = None
    generate: str = ""
    sampler: str = ""
    sounds: bool = False
    names: tuple[str, ...] = ()
    data_sets: str = ""
    family: str = ""
    called: str = ""
    reads: str = ""
    commands: Mapping[str, Command] = field(default_factory=dict)
    claims: str = ""
    models: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    own_network: bool = False

    def __post_init__(self) -> None:
        usual_names = {"family": self.name, "called": self.family or self.name, "clusters": self.sequences}
        for name, usual in usual_names.items():
            if not getattr(self, name):
                object.__setattr__(self, name, usual)

    @property
    def heading(self) -> str:
        """What its options stand under in a command's help.

        Example:
            >>> from ostinato.domains.registry import DOMAINS
            >>> DOMAINS["words"].heading, DOMAINS["series"].heading
            ('Text', 'Series')
        """
        return self.family.capitalize()

    def targets_of(self, data: str) -> Targets:
        """What an output has to predict of a data set.

        Example:
            >>> from ostinato.domains.registry import DOMAINS
            >>> DOMAINS["delays"].targets_of("addition"), DOMAINS["delays"].targets_of("copy")
            ('real', 'category')
        """
        return self.data_targets.get(data, self.targets)

    def measure_for(self, settings: Settings) -> Measure | None:
        """What curves of a run with these settings show.

        Example:
            >>> from ostinato.domains.registry import DOMAINS
            >>> DOMAINS["words"].measure_for({"unit": "subwords"}).shown is None
            True
        """
        for (name, value), measure in self.measures.items():
            if settings.get(name) == value:
                return measure
        return self.measure

    def shown_columns(self) -> tuple[Column, ...]:
        """The columns of a table of scores."""
        return self.columns or columns_of("log_likelihood", f"nats/{self.step}")
