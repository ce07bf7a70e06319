"""Who may import whom, checked from the imports as written, also under TYPE_CHECKING and in functions."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import ostinato

PACKAGE = Path(ostinato.__file__).parent

# evaluation <- training <- search <- reproduce <- cli: each may import what stands before it.
CHAIN = ["evaluation", "training", "search", "reproduce", "cli"]
FORBIDDEN = {
    **{part: {"data", "nn", "optim", "domains", *CHAIN} - {part} for part in ("data", "nn", "optim")},
    **{part: set(CHAIN[place + 1 :]) for place, part in enumerate(CHAIN)},
    "evaluation": {"domains", *CHAIN} - {"evaluation"},
    # A kind of data may use what all of them share; those parts know no kind.
    "domains": set(CHAIN) - {"evaluation"} | {"report"},
    # Reads records only.
    "report": {"data", "nn", "optim", *CHAIN} - {"evaluation"},
    "recipe": set(CHAIN),
    # What everybody may import imports nobody above.
    **{
        part: {"data", "nn", "optim", "domains", *CHAIN}
        for part in ("errors", "files", "checkpoints", "runs")
    },
}


def parts(package):
    return {
        path.stem for path in package.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }


def dotted(node, module, is_package):
    """The dotted names that a node of the syntax tree takes from somewhere."""
    if isinstance(node, ast.Import):
        # `import ostinato` alone takes nothing yet: what is used of it counts, below.
        return [alias.name for alias in node.names if alias.name != "ostinato" or alias.asname]
    if isinstance(node, ast.ImportFrom):
        inside = module.split(".")
        above = inside[: len(inside) + is_package - node.level] if node.level else []
        base = ".".join([*above, node.module] if node.module else above)
        return [f"{base}.{alias.name}" for alias in node.names]
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return [f"{node.value.id}.{node.attr}"]
    return []


def imported(source, module, is_package, known):
    """The parts of ostinato that a module's source imports; "" stands for the package's public names."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        for name in dotted(node, module, is_package):
            package, part, *_ = [*name.split("."), ""]
            if package == "ostinato" and part != "__version__":
                found.add(part if part in known else "")
    return sorted(found)


def violations(package):
    known = parts(package)
    found = []
    for path in sorted(package.rglob("*.py")):
        inside = path.relative_to(package).with_suffix("").parts
        is_package = inside[-1] == "__init__"
        inside = inside[:-1] if is_package else inside
        # The package's __init__ gives the public names, so imports nearly all; __main__ is the command.
        if inside in ((), ("__main__",)):
            continue
        module = ".".join(("ostinato", *inside))
        for part in imported(path.read_text(), module, is_package, known):
            if part == "":
                found.append(
                    f"{module} imports ostinato's public names: import from the module that defines them"
                )
            elif part != inside[0] and part in FORBIDDEN.get(inside[0], set()) | {"cli"}:
                found.append(f"{module} imports {part}")
    return found


def test_imports_go_one_way():
    assert violations(PACKAGE) == []


def test_the_public_names_do_not_come_from_the_command_line():
    assert "cli" not in imported((PACKAGE / "__init__.py").read_text(), "ostinato", True, parts(PACKAGE))


@pytest.mark.parametrize(
    ("path", "source", "found"),
    [
        ("nn/rnn.py", "import ostinato.domains.music.reading.data_sets", "data"),
        ("nn/rnn.py", "import numpy, ostinato.optim as o", "optim"),
        ("nn/rnn.py", "from ostinato import data", "data"),
        ("nn/rnn.py", "from ostinato.data import music", "data"),
        ("nn/outputs/nade.py", "from ...optim import clipping", "optim"),
        ("nn/outputs/__init__.py", "from ...optim import clipping", "optim"),
        ("nn/__init__.py", "from ..optim import clipping", "optim"),
        (
            "data/music.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ostinato.nn import RNN",
            "nn",
        ),
        ("optim/nesterov.py", "def f():\n    from .. import training", "training"),
        ("evaluation.py", "from ostinato.training.loop import train", "training"),
        ("evaluation.py", "from .training import train", "training"),
        ("training.py", "from ostinato import search", "search"),
        ("errors.py", "from ostinato.nn import rnn", "nn"),
        ("data/music.py", "from ostinato.domains import series", "domains"),
        ("nn/rnn.py", "from ostinato.domains.series import reading", "domains"),
        ("evaluation.py", "from ostinato.domains import series", "domains"),
        ("domains/series.py", "from ostinato.training.loop import train", "training"),
        ("domains/series.py", "from ostinato import search", "search"),
        ("domains/series.py", "from ostinato.cli import main", "cli"),
        ("anything.py", "from ostinato.cli import main", "cli"),
        ("nn/rnn.py", "from ostinato import RNN", "public names"),
        ("nn/rnn.py", "import ostinato\nostinato.RNN", "public names"),
        ("nn/rnn.py", "import ostinato\nostinato.training.train", "training"),
        ("nn/rnn.py", "import ostinato as o", "public names"),
    ],
)
def test_a_wrong_import_is_found(tmp_path, path, source, found):
    tree(tmp_path)
    (tmp_path / path).write_text(source)
    (violation,) = violations(tmp_path)
    assert found in violation


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("nn/rnn.py", "import torch.nn, data\nfrom ostinato.nn import recurrence\nfrom . import kernels"),
        ("nn/outputs/nade.py", "from ..recurrence import leaky_scan\nfrom ostinato.errors import UserError"),
        ("domains/series.py", "from ostinato import data, evaluation, nn\nfrom ostinato.files import x"),
        ("training.py", "from ostinato import data, evaluation, nn, optim\nfrom .runs import Run"),
        (
            "cli/train.py",
            "from ostinato import reproduce, search, training\nfrom ostinato.cli import options",
        ),
    ],
)
def test_a_right_import_is_not(tmp_path, path, source):
    tree(tmp_path)
    (tmp_path / path).write_text(source)
    assert violations(tmp_path) == []


def tree(folder):
    for name in ("data", "nn", "nn/outputs", "nn/kernels", "optim", "domains", "cli"):
        (folder / name).mkdir()
        (folder / name / "__init__.py").touch()
    for name in ("errors", "files", "runs", *CHAIN[:-1]):
        (folder / f"{name}.py").touch()


def test_importing_ostinato_does_not_load_what_only_some_need():
    heavy = ("music21", "matplotlib", "scipy", "symusic", "pooch", "optuna", "jinja2", "plotly")
    code = f"import sys, ostinato; print(*[m for m in {heavy!r} if m in sys.modules])"
    # In the same place and with the same paths, so that it imports this ostinato.
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = [{str(PACKAGE.parent)!r}]; {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == []
