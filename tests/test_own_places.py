"""Who a domain, an output, a cell or an optimizer is, by name or class, is asked in its own place only.

Everything else asks a declaration or a protocol. Checked on the syntax tree, since a wrong branch works well
until somebody registers another name.
"""

import ast
from collections.abc import Container
from pathlib import Path

import pytest

import ostinato
from ostinato.domains.registry import DOMAINS
from ostinato.nn.cells.registry import CELLS
from ostinato.nn.outputs.registry import OUTPUTS
from ostinato.recipe.declared import Registry

PACKAGE = Path(ostinato.__file__).parent

# Who may call them by name, by the beginning of a file's path: * stands for any one folder.
OWN = {
    "domain": ("domains/*/",),
    "output": ("nn/outputs/", "domains/*/"),
    "cell": ("nn/cells/", "domains/*/"),
    "optimizer": ("optim/", "domains/*/declared.py"),
}
PLACES = {
    "domain": ["domains", "*"],
    "output": ["nn", "outputs"],
    "cell": ["nn", "cells"],
    "optimizer": ["optim"],
}
# (file, name): where a name stands for something else, or is a contract of its own.
EXCEPTIONS: dict[tuple[str, str], str] = {
    ("cli/reproduce.py", "delays"): "the name of what is reproduced, beside table1 and table2",
    ("diagnostics/networks.py", "RNN"): "whose leaky map the spectral radius is of",
    ("nn/kernels/gated_cells.py", "gru"): "the definition of each cell's step, where there is no extension",
    ("nn/kernels/gated_cells.py", "lstm"): "the definition of each cell's step, where there is no extension",
    ("training/build.py", "Dropping"): "the contract of cells with dropouts of their own",
    ("recipe/older.py", "task"): "a setting of older files, and the domain's name in them",
}
# Classes that say what an output, a cell or an optimizer has to offer: to ask for them is to ask a contract.
PROTOCOLS = ("nn/outputs/base.py", "nn/cells/protocol.py", "optim/protocol.py")


def names_of(registry: Registry) -> set[str]:
    return {*registry, *registry._aliases}


# only what comes with the package: a class of torch.optim that somebody asked for is registered too
NAMES = {
    "domain": names_of(DOMAINS),
    "output": names_of(OUTPUTS),
    "cell": names_of(CELLS),
    "optimizer": {"sgd", "nesterov", "classical", "adam", "adamw", "hessian-free"},
}


def is_own(file: str, sort: str) -> bool:
    return any(_under(file.split("/"), place.rstrip("/").split("/")) for place in OWN[sort])


def _under(parts: list[str], place: list[str]) -> bool:
    inside = len(parts) > len(place) or (len(parts) == len(place) and place[-1].endswith(".py"))
    return inside and all(want in ("*", part) for want, part in zip(place, parts, strict=False))


def texts(node: ast.AST) -> list[str]:
    """The strings that a constant, or a tuple, list or set of them, holds."""
    inner = node.elts if isinstance(node, ast.Tuple | ast.List | ast.Set) else [node]
    return [x.value for x in inner if isinstance(x, ast.Constant) and isinstance(x.value, str)]


def decided_by(node: ast.AST) -> list[str]:
    """The strings by which a node of the tree decides something."""
    found: list[ast.AST] = []
    if isinstance(node, ast.Compare):
        found = [node.left, *node.comparators]
    elif isinstance(node, ast.Dict):
        found = [key for key in node.keys if key is not None]
    elif isinstance(node, ast.MatchValue):
        found = [node.value]
    elif isinstance(node, ast.Subscript):
        found = [node.slice]
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        # .get(name), .startswith(name), .count(name), ...; f(..) makes or says something
        found = list(node.args) if node.func.attr in ("get", "startswith", "endswith", "index") else []
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict":
        return [keyword.arg for keyword in node.keywords if keyword.arg]
    return [text for part in found for text in texts(part)]


def classes_of(package: Path) -> dict[str, str]:
    """Classes that are somebody's own, by name: whose."""
    found, others = {"Splits": "domain"}, set()
    for path in package.rglob("*.py"):
        file = path.relative_to(package).as_posix()
        sort = next((sort for sort, place in PLACES.items() if _under(file.split("/"), place)), "")
        if file in PROTOCOLS:
            continue
        defined = [node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)]
        if sort:
            found |= dict.fromkeys(defined, sort)
        else:
            others |= set(defined)
    # a name that is elsewhere too says nothing
    return {name: sort for name, sort in found.items() if name not in others or name == "Splits"}


def asked_classes(node: ast.AST) -> list[str]:
    """The classes that a node asks something to be of."""
    asked: list[ast.AST] = []
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        if node.func.id in ("isinstance", "issubclass") and len(node.args) == 2:
            asked = [node.args[1]]
    elif isinstance(node, ast.MatchClass):
        asked = [node.cls]
    elif isinstance(node, ast.Compare) and "type(" in ast.unparse(node.left):
        asked = list(node.comparators)
    return [x.id if isinstance(x, ast.Name) else x.attr for a in asked for x in ast.walk(a) if _named(x)]


def _named(node: ast.AST) -> bool:
    return isinstance(node, ast.Name | ast.Attribute)


def by_prose(node: ast.AST) -> bool:
    """Whether a node compares what a score says of itself, in words, with words."""
    if isinstance(node, ast.Compare):
        sides = [node.left, *node.comparators]
        told = any(isinstance(x, ast.Attribute) and x.attr in ("convention", "unit") for x in sides)
        return told and any(texts(x) for x in sides)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        inner = node.func.value
        return isinstance(inner, ast.Attribute) and inner.attr in ("convention", "unit")
    return False


def violations(package: Path, exceptions: Container[tuple[str, str]] = EXCEPTIONS) -> list[str]:
    classes, found = classes_of(package), []
    for path in sorted(package.rglob("*.py")):
        file = path.relative_to(package).as_posix()
        for node in ast.walk(ast.parse(path.read_text())):
            where = f"{file}:{getattr(node, 'lineno', 0)}"
            for sort, names in NAMES.items():
                if is_own(file, sort):
                    continue
                for name in names & set(decided_by(node)):
                    if (file, name) not in exceptions:
                        found.append(f"{where} decides by the {sort} {name!r}")
                found += [
                    f"{where} asks for the {sort}'s class {name}"
                    for name in asked_classes(node)
                    if classes.get(name) == sort and (file, name) not in exceptions
                ]
            if not file.startswith("domains/") and by_prose(node):
                found.append(f"{where} decides by the words of a score")
    return found


def test_only_their_own_places_decide_by_names_and_classes() -> None:
    assert violations(PACKAGE) == []


def test_every_exception_is_needed() -> None:
    """An exception whose place no longer names it would hide the next one."""
    found = violations(PACKAGE, exceptions=())
    unused = {
        (file, name)
        for file, name in EXCEPTIONS
        if not any(
            line.startswith(f"{file}:") and line.endswith((f"{name!r}", f" class {name}")) for line in found
        )
    }
    assert unused == set()


@pytest.mark.parametrize(
    ("file", "source", "wrong"),
    [
        ("cli/a.py", "x = recipe.domain == 'music'", "the domain 'music'"),
        ("cli/a.py", "x = recipe.domain in ('words', 'chars')", "the domain 'words'"),
        ("cli/a.py", "x = 'task' != recipe.domain", "the domain 'task'"),
        ("report/a.py", "x = {'series': 1}[kind]", "the domain 'series'"),
        ("report/a.py", "x = dict(music=1)", "the domain 'music'"),
        ("report/a.py", "x = made['delays']", "the domain 'delays'"),
        ("report/a.py", "x = made.get('delays')", "the domain 'delays'"),
        ("training/a.py", "match kind:\n    case 'chars' | 'words':\n        pass", "the domain 'chars'"),
        ("training/a.py", "x = isinstance(data, TextData)", "the domain's class TextData"),
        ("training/a.py", "x = isinstance(data, Splits | TaskData)", "the domain's class TaskData"),
        ("training/a.py", "x = type(data) is a.TextData", "the domain's class TextData"),
        ("training/a.py", "match data:\n    case TextData():\n        pass", "the domain's class TextData"),
        ("training/a.py", "x = recipe.output == 'rbm'", "the output 'rbm'"),
        ("training/a.py", "x = isinstance(model.output, RBM)", "the output's class RBM"),
        ("training/a.py", "x = recipe.cell in {'lstm'}", "the cell 'lstm'"),
        ("training/a.py", "x = isinstance(model.rnn, LSTM)", "the cell's class LSTM"),
        ("training/a.py", "x = recipe.optimizer == 'hessian-free'", "the optimizer 'hessian-free'"),
        ("training/a.py", "x = isinstance(optimizer, HessianFree)", "the optimizer's class HessianFree"),
        ("cli/a.py", "x = 'characters' in score.convention", "the words of a score"),
        ("cli/a.py", "x = score.unit == 'nats/frame'", "the words of a score"),
        ("cli/a.py", "x = score.convention.startswith('mean')", "the words of a score"),
        ("domains/music/a.py", "x = recipe.output == 'rbm'", ""),
        ("domains/a.py", "x = name == 'music'", "the domain 'music'"),
        ("nn/outputs/a.py", "x = name == 'rbm'", ""),
        ("nn/outputs/a.py", "x = name == 'lstm'", "the cell 'lstm'"),
        ("optim/a.py", "x = name == 'adam'", ""),
        ("domains/text/declared.py", "x = recipe.optimizer == 'hessian-free'", ""),
        ("domains/text/domain.py", "x = recipe.optimizer == 'hessian-free'", "'hessian-free'"),
        ("cli/a.py", "print('music')", ""),
        ("runs/a.py", "x = one.convention != other.convention", ""),
        ("runs/a.py", "x = isinstance(model.output, HasObjectives)", ""),
    ],
)
def test_what_is_wrong_is_found_and_nothing_else(tmp_path: Path, file: str, source: str, wrong: str) -> None:
    for own, defined in (
        ("domains/text/data.py", "class TextData: ...\nclass TaskData: ..."),
        ("nn/outputs/rbm.py", "class RBM: ..."),
        ("nn/outputs/base.py", "class HasObjectives: ..."),
        ("nn/cells/lstm.py", "class LSTM: ..."),
        ("optim/hessian_free.py", "class HessianFree: ..."),
        (file, source),
    ):
        (tmp_path / own).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / own).write_text(defined)
    found = violations(tmp_path)
    assert any(wrong in line for line in found) if wrong else found == [], found
