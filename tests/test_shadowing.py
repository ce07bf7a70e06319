"""A loop takes no name that the code around it has given something else.

The loop over the baselines of a learning curve once took `name`, and the axis was then called by the last
baseline. Linters know neighbours of this fault: arguments (PLR1704), assignments within the loop (PLW2901).
"""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("src", "tests", "docs", "benchmarks", "examples")
SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def scope(body):
    """Every node of a scope, but for those of the scopes within it."""
    waiting = list(body)
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, SCOPES + COMPREHENSIONS):
            waiting.extend(ast.iter_child_nodes(node))


def stored(node):
    """The names that a node of the tree gives something."""
    return [n for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]


def arguments(owner):
    """The names of a function's own arguments."""
    if isinstance(owner, ast.Module):
        return []
    own = owner.args
    every = [*own.posonlyargs, *own.args, *own.kwonlyargs, own.vararg, own.kwarg]
    return [argument.arg for argument in every if argument is not None]


def shadowed(source):
    """Line and name of every loop variable that was an argument, or had been assigned to, before."""
    found = []
    tree = ast.parse(source)
    for owner in ast.walk(tree):
        if not isinstance(owner, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        nodes = list(scope(owner.body))
        given = dict.fromkeys(arguments(owner), 0)
        loops = [(loop, stored(loop.target)) for loop in nodes if isinstance(loop, ast.For | ast.AsyncFor)]
        of_loops = {id(name) for _, names in loops for name in names}
        for node in nodes:
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and id(node) not in of_loops:
                given[node.id] = min(node.lineno, given.get(node.id, node.lineno))
        found += [
            (loop.lineno, name.id)
            for loop, names in loops
            for name in names
            if name.id != "_" and given.get(name.id, loop.lineno) < loop.lineno
        ]
    return sorted(found)


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_loop_takes_a_name_that_is_in_use(folder):
    paths = sorted((ROOT / folder).rglob("*.py"))
    if not paths:
        pytest.skip(f"no {folder} beside these tests")
    found = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in paths
        for line, name in shadowed(path.read_text(encoding="utf-8"))
    ]
    assert found == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        (
            "def f(xs):\n    name = 'a'\n    for (name, x), y in xs:\n        pass\n    return name",
            [(3, "name")],
        ),
        ("def f(x, *, y=1):\n    for y in x:\n        pass", [(2, "y")]),
        ("x = 1\nfor x in []:\n    pass", [(2, "x")]),
        ("def f(xs):\n    with open('a') as x:\n        for x in xs:\n            pass", [(3, "x")]),
        # not these: two loops, a comprehension's own names, an inner function's, one that comes later, _
        ("def f(xs):\n    for x in xs:\n        pass\n    for x in xs:\n        pass", []),
        ("def f(xs):\n    x = 1\n    return [x for x in xs]", []),
        ("def f(xs):\n    x = 1\n    def g():\n        for x in xs:\n            pass", []),
        ("def f(xs):\n    for x in xs:\n        pass\n    x = 1", []),
        ("def f(xs, key=lambda x: x):\n    for x in xs:\n        pass", []),
        ("def f(xs):\n    _, y = xs\n    for _ in y:\n        pass", []),
    ],
)
def test_what_is_found(source, found):
    assert shadowed(source) == found
