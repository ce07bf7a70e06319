"""What training says while it goes on: in the words of the kind of data, and with counts that agree."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from ostinato.cli.progress import ConsoleMonitor
from ostinato.cli.spelling import forget_options
from ostinato.domains.registry import DOMAINS
from ostinato.errors import argument
from ostinato.recipe.recipe import Recipe
from ostinato.training.monitor import Start
from ostinato.training.progress import Progress


def said(domain: str, *, parameters: int, steps: int, terminal: bool = False) -> str:
    recipe = Recipe.parse(None, domain=domain, epochs=1)
    console = Console(file=io.StringIO(), width=200, force_terminal=terminal, color_system=None)
    with ConsoleMonitor(console) as monitor:
        step = DOMAINS[domain].step
        monitor.started(Start(recipe, Path("a"), parameters, steps, step, "log_likelihood", Progress()))
        monitor.segment(0, 1, 2, steps)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("domain", "steps"),
    [("music", "5 frames"), ("words", "5 tokens"), ("series", "5 steps"), ("delays", "5 steps")],
)
def test_steps_are_called_as_the_kind_of_data_calls_them(domain, steps) -> None:
    text = said(domain, parameters=1, steps=5, terminal=True)
    assert f": 1 parameter, {steps} an epoch, in a" in text
    assert f"{steps.partition(' ')[2]}/s, at most" in text


def test_one_step_is_one() -> None:
    assert "training adam+C: 2 parameters, 1 step an epoch, in a" in said("series", parameters=2, steps=1)


def test_a_notice_names_settings_without_marks() -> None:
    forget_options()
    console = Console(file=io.StringIO(), width=200)
    ConsoleMonitor(console, quiet=True).notice(f"set {argument('clip')} to none")
    assert console.file.getvalue() == "set clip to none\n"
