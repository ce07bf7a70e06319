"""Commands whose options differ with the kind of data that a run was trained on."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ostinato.domains.registry import DOMAINS
from ostinato.errors import UserError
from ostinato.recipe.older import renewed
from ostinato.runs.folder import Run

# By kind of data, what does the work of a command.
Forms = Mapping[str, Callable[..., int]]

ARPA = (".arpa", ".arpa.gz")


def kind_of(run: Path) -> str:
    """The domain of a run: "music", "words", ..; "words" for an ARPA file.

    Raises:
        UserError: there is no run.

    Example:
        >>> kind_of(Path("trigrams.arpa"))
        'words'
    """
    if run.name.endswith(ARPA):
        return "words"
    return str(renewed(Run.open(run).config()).get("domain", DOMAINS.default))


def for_kind(run: Path, forms: Forms, options: Mapping[str, Any]) -> tuple[Callable[..., int], Any]:
    """The form of a command for a run, with the options that are for it alone.

    Args:
        run: the run's folder, or an ARPA file.
        forms: by kind, what does the work.
        options: by kind, what was given of the options that are for it: a dataclass, None for none.

    Raises:
        UserError: the command has no form for the run's kind, or an option is for another kind.
    """
    kind = kind_of(run)
    if kind not in forms:
        raise UserError(f"expected a run on {' or '.join(forms)}, found one on {kind}: {run}")
    form = forms[kind]
    for other, given in options.items():
        if given is not None and forms[other] is not form:
            others = " or ".join(name for name in options if forms[name] is forms[other])
            raise UserError(
                f"{_first(given)} is for runs on {others}, found one on {kind}: {run}; leave it out"
            )
    return form, options.get(kind)


def _first(given: Any) -> str:
    """An option that was given: the first that is not what it is by default."""
    fields = dataclasses.fields(given)
    changed = (field.name for field in fields if getattr(given, field.name) != field.default)
    return "--" + next(changed, fields[0].name).replace("_", "-")
