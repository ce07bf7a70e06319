"""The library speaks of arguments; only the command line speaks of options."""

import ast
import re
from pathlib import Path

import pytest

import ostinato

PACKAGE = Path(ostinato.__file__).parent
OPTION = re.compile(r"""(?:^|[\s"'`(])--[a-z][a-z-]*(?![\w:-])""")

# Files whose texts are commands to copy, not messages: a report's pages, and what makes the like of a sample.
COMMANDS = {
    "report/page.py",
    "domains/music/samples.py",
    "domains/music/declared.py",
    "domains/series/declared.py",
    "domains/text/samples.py",
    "domains/text/declared.py",
}


def is_of_the_command_line(file: str) -> bool:
    return file.startswith("cli/") or bool(re.fullmatch(r"domains/\w+/options\.py", file))


def docstrings(tree: ast.AST) -> set[int]:
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    return {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, kinds) and node.body and isinstance(node.body[0], ast.Expr)
    }


def options_in(source: str) -> list[str]:
    """The texts of a module, but for its docstrings, that name an option."""
    tree = ast.parse(source)
    left_out = docstrings(tree)
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in left_out
        and OPTION.search(node.value)
    ]


def found(package: Path) -> dict[str, list[str]]:
    files = {path.relative_to(package).as_posix(): path for path in sorted(package.rglob("*.py"))}
    return {
        file: texts
        for file, path in files.items()
        if not is_of_the_command_line(file) and (texts := options_in(path.read_text(encoding="utf-8")))
    }


def test_no_message_of_the_library_names_an_option() -> None:
    assert {file: texts for file, texts in found(PACKAGE).items() if file not in COMMANDS} == {}


def test_every_file_of_commands_has_some() -> None:
    assert COMMANDS - found(PACKAGE).keys() == set()


def test_files_of_commands_raise_nothing_that_names_an_option() -> None:
    for file in COMMANDS:
        for node in ast.walk(ast.parse((PACKAGE / file).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Raise):
                assert options_in(ast.unparse(node)) == [], file


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ("x = 'use --data jsb'", True),
        ("x = f'{y} or --data {z}'", True),
        ("x = '--data'", True),
        ('def f():\n    "As --data has it."', False),
        ("x = 'a -- b'", False),
        ("x = 'a--b'", False),
    ],
)
def test_what_names_an_option(source: str, named: bool) -> None:
    assert bool(options_in(source)) is named
