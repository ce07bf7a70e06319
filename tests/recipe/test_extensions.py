"""Modules that a variable names are imported before a registry answers; a wrong one is an error."""

import sys

import pytest

from ostinato.errors import UserError, without_marks
from ostinato.nn.cells.registry import CELLS
from ostinato.recipe import extensions
from ostinato.recipe.extensions import load_extensions
from ostinato.recipe.recipe import Recipe

REGISTER = """
from ostinato.nn.cells.registry import CELLS
from ostinato.recipe.declared import Declared
CELLS.register(Declared(name="{name}", place="somewhere:Else"))
"""


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """modules(name=text, ...): files that Python finds, named by the variable in this order."""
    monkeypatch.setattr(CELLS, "_registered", dict(CELLS._registered))
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def make(listed=None, **texts):
        for name, text in texts.items():
            (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.setenv(extensions.VARIABLE, ", ".join(texts) if listed is None else listed)
        monkeypatch.setattr(extensions, "_loaded", None)

    yield make
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in sys.modules[name].__file__:
            del sys.modules[name]


def test_a_registry_knows_them_when_it_is_asked(modules):
    modules(first_extension=REGISTER.format(name="one"), second_extension=REGISTER.format(name="two"))
    assert "one" in CELLS
    assert [*CELLS][-2:] == ["one", "two"]
    assert CELLS["two"].place == "somewhere:Else"
    assert load_extensions() == dict.fromkeys(["first_extension", "second_extension"], extensions.VARIABLE)
    assert Recipe(cell="two").cell == "two"


@pytest.mark.parametrize("ask", [lambda: CELLS["late"], lambda: len(CELLS), lambda: CELLS.name("late")])
def test_every_way_to_ask_imports_them(modules, ask):
    modules(late_extension=REGISTER.format(name="late"))
    ask()
    assert "late" in CELLS._registered


def test_they_are_imported_once_and_may_ask_themselves(modules):
    text = (
        REGISTER.format(name="asking")
        + "import builtins\nbuiltins.times = getattr(builtins, 'times', 0) + 1\n"
    )
    modules(asking_extension=text + "assert 'rnn' in CELLS and 'asking' in CELLS\n")
    assert "asking" in CELLS
    assert len(CELLS) == len([*CELLS])
    import builtins

    assert builtins.times == 1
    del builtins.times


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 / 0", r"cannot import broken, named by OSTINATO_EXTENSIONS: ZeroDivisionError: division by zero"),
        (REGISTER.format(name="gru"), "ValueError: expected a new name for a cell, found 'gru'"),
        ("import not_there_at_all", "ModuleNotFoundError: No module named 'not_there_at_all'"),
        ("x = (", "SyntaxError"),
    ],
)
def test_one_that_cannot_be_imported_is_an_error_each_time(modules, text, message):
    modules(broken=text)
    for _ in range(2):
        with pytest.raises(UserError, match=message):
            CELLS["rnn"]


def test_a_module_that_is_not_there_is_named(modules):
    modules(listed="os, not_there_at_all")
    with pytest.raises(UserError, match=r"a module not_there_at_all that Python finds.*PYTHONPATH"):
        load_extensions()


def test_the_command_line_says_it_in_a_line(modules, ostinato):
    modules(listed="not_there_at_all")
    code, out, err = ostinato("train", "--help")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "not_there_at_all" in err


def test_a_run_of_what_is_not_imported_says_what_is_missing():
    settings = Recipe.parse("SGD").to_dict() | {"cell": "indrnn", "memory": 0.5}
    with pytest.raises(UserError) as raised:
        Recipe.from_dict(settings)
    assert without_marks(str(raised.value)).startswith("unknown cell 'indrnn'")


def test_an_empty_variable_names_nothing(modules):
    modules(listed=" , ")
    assert "" not in load_extensions()
