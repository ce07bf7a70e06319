"""Who may import whom: a rule for every module, from the imports as written, in functions and typing too."""

import ast
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import ostinato

PACKAGE = Path(ostinato.__file__).parent

# At the root, and what anybody may take from it.
ROOT_FILES = {"__init__", "__main__", "errors", "files", "seal", "addresses", "foreign", "shapes"}
PUBLIC_TO_ALL = {"__version__", "lazily"}

# Every part of the package, lowest first: its modules, and the parts that it may import besides itself. The
# longest prefix of a module's name decides where it belongs, = marks one module alone; NAME stands for the
# folder of any domain.
RULES = {
    "errors": ("errors", ""),
    "files": ("files foreign seal shapes addresses", "errors"),
    # what settings are, and the declarations of those who have some
    "settings": (
        "recipe.setting recipe.declared recipe.extensions recipe.core recipe.older",
        "errors",
    ),
    "declarations of cells": ("nn.cells.registry", "errors, settings"),
    "declarations of outputs": ("nn.outputs.registry", "errors, settings"),
    "declarations of optimizers": (
        "optim.declared optim.settings optim.of_torch",
        "errors, files, settings",
    ),
    "evaluation": ("evaluation", "errors"),
    "what domains declare": (
        "domains.declared domains.paper",
        "errors, settings, declarations of outputs, evaluation",
    ),
    "declaration of NAME": (
        "domains.NAME.declared domains.NAME.options domains.NAME.paper",
        "errors, settings, evaluation, declarations of outputs, what domains declare",
    ),
    "declarations of domains": ("domains.registry", "settings, what domains declare, declaration of NAME"),
    "recipe": (
        "recipe",
        "errors, files, settings, declarations of cells, declarations of outputs, "
        "declarations of optimizers, declarations of domains",
    ),
    # networks and optimizers: for any program
    "devices": ("nn.devices", "errors"),
    "kernels": ("nn.kernels", "errors, devices"),
    "scan": ("nn.scan", "errors, devices, kernels"),
    "cells": ("nn.cells", "errors, settings, declarations of cells, devices, kernels, scan"),
    "curvature of outputs": ("nn.curvature.outputs nn.curvature.nade", "errors, devices, kernels"),
    "outputs": (
        "nn.outputs",
        "errors, settings, declarations of outputs, devices, kernels, curvature of outputs",
    ),
    "model": ("nn.model nn.streamwise", "cells, outputs, kernels"),
    "curvature": ("nn.curvature", "cells, curvature of outputs, model"),
    "nn": ("nn", "cells, outputs, model, scan"),
    # networks as dynamical systems, and readouts of untrained ones
    "dynamics": ("dynamics", "errors, kernels, cells"),
    "readouts": ("readouts", "errors, cells"),
    "optim": ("optim", "errors, settings, declarations of optimizers"),
    # why training fails: of any network
    "diagnostics": ("diagnostics", "errors, kernels, cells, outputs, model, curvature, dynamics, optim"),
    "data": ("data", "errors, files"),
    # runs on disk, domains as everything else sees them, training
    "run folders": (
        "runs.folder runs.checkpoint runs.metrics runs.names runs.summary",
        "errors, files",
    ),
    "domain": (
        "domains.domain domains.base domains.answer domains.catalogue domains.given domains.sample "
        "domains.seed domains.trained",
        "errors, settings, evaluation, what domains declare, declarations of domains, recipe, model, nn, "
        "data, run folders",
    ),
    "training": (
        "training",
        "errors, files, evaluation, declarations of cells, declarations of outputs, declarations of "
        "optimizers, recipe, devices, kernels, cells, outputs, model, curvature, nn, optim, diagnostics, "
        "data, run folders, domain",
    ),
    "pictures of runs": (
        "report.curves report.measures report.numbers",
        "errors, files, evaluation, declarations of domains",
    ),
    "runs": (
        "runs",
        "errors, files, evaluation, recipe, devices, nn, data, run folders, domain, training, pictures of "
        "runs",
    ),
    "diagnoses of runs": (
        "diagnostics.of_run",
        "errors, recipe, devices, cells, model, nn, data, run folders, domain, training, runs, diagnostics",
    ),
    "NAME": (
        "domains.NAME",
        "errors, files, settings, evaluation, what domains declare, declaration of NAME, recipe, devices, "
        "cells, outputs, model, nn, optim, data, run folders, domain, training, runs",
    ),
    # what `import ostinato` offers
    "api": (
        "api",
        "errors, files, evaluation, what domains declare, declarations of domains, recipe, devices, nn, "
        "data, run folders, domain, training, runs",
    ),
    # commands' work, for any domain
    "planning": (
        "planning",
        "errors, declarations of optimizers, recipe, data, run folders, domain, training",
    ),
    "report": (
        "report",
        "errors, files, settings, declarations of outputs, evaluation, what domains declare, declarations "
        "of domains, recipe, run folders, domain, pictures of runs",
    ),
    "search": (
        "search",
        "errors, files, settings, declarations of domains, recipe, run folders, domain, training, runs",
    ),
    # the tables are those of a paper, which the declarations of the domains hold
    "reproduce": (
        "reproduce",
        "errors, files, settings, declarations of optimizers, evaluation, what domains declare, declaration "
        "of NAME, declarations of domains, recipe, run folders, domain, training, runs, search",
    ),
    "cli": (
        "cli",
        "errors, files, settings, declarations of cells, declarations of outputs, declarations of "
        "optimizers, evaluation, what domains declare, declarations of domains, recipe, devices, kernels, "
        "nn, data, run folders, domain, training, pictures of runs, runs, diagnostics, diagnoses of runs, "
        "planning, report, search, reproduce, root",
    ),
    "entry": ("__main__", "cli"),
    "root": ("= =domains", "errors"),
}
RULES = {part: (names.split(), may.split(", ") if may else []) for part, (names, may) in RULES.items()}
# Commands that are one domain's alone, and what they take from it.
CLI_EXCEPTIONS = {("cli.harmonize", "domains.music"), ("cli.rescore", "domains.text")}

# Help pages and settings files wait for nothing: these, and all that they import, are the standard library.
LIGHT = ("settings", "declarations of cells", "declarations of outputs", "what domains declare")
LIGHT += ("declaration of NAME", "declarations of domains", "recipe")
LIGHT_MODULES = ("optim.declared", "optim.settings", "errors")

NOWHERE = "no rule"


def modules(package):
    """Every module by its name below the package, "" for the package itself."""
    found = {}
    for path in package.rglob("*.py"):
        parts = path.relative_to(package).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def domain_of(module):
    """The folder of the domain that a module belongs to, or ""."""
    parts = module.split(".")
    return parts[1] if parts[0] == "domains" and len(parts) > 1 else ""


@cache
def part_of(module, folders):
    """The part that a module belongs to, by the longest prefix; `folders` are those of domains."""
    name = domain_of(module)
    plain = module.replace(f"domains.{name}", "domains.NAME", 1) if name in folders else module
    found, longest = NOWHERE, -1
    for part, (prefixes, _) in RULES.items():
        for prefix in prefixes:
            fits = plain == prefix.lstrip("=") or plain.startswith(prefix + ".")
            if fits and len(prefix) > longest:
                found, longest = part, len(prefix)
    return found


def dotted(node, module, is_package):
    """The dotted names that a node of the syntax tree takes from somewhere."""
    if isinstance(node, ast.Import):
        # `import ostinato` alone takes nothing yet: what is used of it counts, below.
        return [alias.name for alias in node.names if alias.name != "ostinato" or alias.asname]
    if isinstance(node, ast.ImportFrom):
        inside = ["ostinato", *module.split(".")] if module else ["ostinato"]
        above = inside[: len(inside) + is_package - node.level] if node.level else []
        base = ".".join([*above, node.module] if node.module else above)
        return [f"{base}.{alias.name}" for alias in node.names]
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "ostinato":
        return [f"ostinato.{node.attr}"]
    return []


@cache
def imports(source, module, is_package):
    """(dotted name, "always", "typing" or "called") of everything that a source imports."""
    found = set()

    def visit(node, when):
        found.update((name, when) for name in dotted(node, module, is_package))
        for child in ast.iter_child_nodes(node):
            inner = when
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                inner = "called"
            elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                inner = "typing"
            visit(child, inner)

    visit(ast.parse(source), "always")
    return sorted(found)


def of_package(name, known):
    """The module of the package that a dotted name is of, and what it takes from it; None for other names."""
    package, _, rest = name.partition(".")
    if package != "ostinato":
        return None
    module, taken = rest, ""
    while module and module not in known:
        module, _, taken = module.rpartition(".")
    return module, taken


def graph(package):
    """What each module imports of the package: (module, name taken, when)."""
    known = modules(package)
    return {
        module: [
            (*found, when)
            for name, when in imports(path.read_text(), module, path.name == "__init__.py")
            if (found := of_package(name, known)) is not None
        ]
        for module, path in known.items()
    }


def circle(edges):
    """Modules that import each other in a circle; [] if there is none."""
    done, way = set(), []

    def walk(module):
        if module in way:
            return [*way[way.index(module) :], module]
        if module in done:
            return []
        way.append(module)
        for other in sorted(edges[module]):
            if found := walk(other):
                return found
        way.pop()
        done.add(module)
        return []

    for module in sorted(edges):
        if found := walk(module):
            return found
    return []


def heavy(package, module, edges):
    """What is not of the standard library and is imported with a module, with the module that asks for it."""
    known, seen, todo, found = modules(package), set(), [module], []
    while todo:
        here = todo.pop()
        if here in seen:
            continue
        seen.add(here)
        path = known[here]
        todo += [other for other, _, when in edges[here] if when == "always" and other]
        for name, when in imports(path.read_text(), here, path.name == "__init__.py"):
            top = name.partition(".")[0]
            if when == "always" and top not in sys.stdlib_module_names | {"ostinato"}:
                found.append(f"{module} is to be light and imports {top} by way of {here}")
    return found


def violations(package):
    known, edges, found = modules(package), graph(package), []
    folders = frozenset(domain_of(m) for m, p in known.items() if domain_of(m) and p.name == "__init__.py")
    found += [
        f"{path.name} is no file of the root" for path in package.glob("*.py") if path.stem not in ROOT_FILES
    ]
    for module in sorted(known):
        part = part_of(module, folders)
        if part == NOWHERE:
            found.append(f"{module} has no rule")
            continue
        may = {part, *RULES[part][1]}
        for other, taken, _ in edges[module]:
            theirs = part_of(other, folders)
            same = not domain_of(other) or domain_of(module) == domain_of(other) or theirs != "NAME"
            if other == "":
                right = taken in PUBLIC_TO_ALL or part in ("root", "cli", "entry")
            elif part == "root":
                right = theirs != "cli"
            elif (module, f"domains.{domain_of(other)}") in CLI_EXCEPTIONS:
                right = True
            else:
                right = theirs in may and same and not foreign_declaration(module, other, part, theirs)
            if not right:
                found.append(f"{module} ({part}) imports {other or taken} ({theirs})")
    # the root gives names of all modules, loaded when they are asked for: it is left out of the circles
    between = {m: {o for o, _, _ in edges[m] if o and o != m} for m in known if m}
    if way := circle(between):
        found.append(f"circle: {' -> '.join(way)}")
    for module in sorted(known):
        if part_of(module, folders) in LIGHT or module in LIGHT_MODULES:
            found += heavy(package, module, edges)
    return found


def foreign_declaration(module, other, part, theirs):
    """Whether a module of one domain takes the declaration of another."""
    own = ("declaration of NAME", "NAME")
    return part in own and theirs in own and domain_of(module) != domain_of(other)


def test_imports_go_one_way():
    assert violations(PACKAGE) == []


def test_the_rules_are_a_ladder():
    """Each part may import earlier ones only, so that no circle of parts is allowed."""
    order = list(RULES)
    for part, (_, may) in RULES.items():
        late = [other for other in may if order.index(other) >= order.index(part) and other != "root"]
        assert late == [], part


def test_every_rule_is_for_some_module():
    known = modules(PACKAGE)
    folders = frozenset(domain_of(m) for m, p in known.items() if domain_of(m) and p.name == "__init__.py")
    parts = {part_of(module, folders) for module in known}
    assert set(RULES) - parts == set()


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """A copy of the package's Python files."""
    folder = tmp_path_factory.mktemp("copy") / "ostinato"
    shutil.copytree(PACKAGE, folder, ignore=lambda path, names: [n for n in names if _no_source(path, n)])
    assert modules(folder).keys() == modules(PACKAGE).keys()
    return folder


def _no_source(path, name):
    return name == "__pycache__" or not ((Path(path) / name).is_dir() or name.endswith(".py"))


@pytest.fixture
def broken(copied):
    """broken(file, text): what is found wrong with the copy where the text stands at the file's end."""
    undo = []

    def found(file, text):
        path = copied / file
        before = path.read_text() if path.exists() else None
        undo.append((path, before))
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text((before or "") + "\n" + text + "\n")
        return violations(copied)

    yield found
    for path, before in reversed(undo):
        path.unlink() if before is None else path.write_text(before)


def examples():
    """A module of each part."""
    known = modules(PACKAGE)
    folders = frozenset(domain_of(m) for m, p in known.items() if domain_of(m) and p.name == "__init__.py")
    found = {}
    for module in sorted(known):
        found.setdefault(part_of(module, folders), module)
    return found


EXAMPLES = examples()


@pytest.mark.parametrize("part", [part for part in RULES if part not in ("root", "entry")])
def test_a_broken_rule_is_found(copied, part):
    """Each part, importing a module of each part that it may not import."""
    mine = EXAMPLES[part]
    path = modules(copied)[mine]
    before, good = path.read_text(), set(violations(copied))
    wrong = {other: name for other, name in EXAMPLES.items() if other not in {part, "root", *RULES[part][1]}}
    path.write_text(before + "".join(f"\nimport ostinato.{name}" for name in wrong.values()) + "\n")
    new = set(violations(copied)) - good
    path.write_text(before)
    missed = {f"{mine} ({part}) imports {name} ({other})" for other, name in wrong.items()} - new
    assert missed == set()


@pytest.mark.parametrize(
    ("file", "text", "wrong"),
    [
        ("nn/model.py", "from ostinato import data", "nn.model (model) imports data (data)"),
        ("nn/model.py", "import numpy, ostinato.data.streams as o", "imports data.streams"),
        ("nn/outputs/nade.py", "from ...optim import clipping", "imports optim.clipping"),
        ("nn/__init__.py", "from ..optim import clipping", "nn (nn) imports optim.clipping"),
        ("optim/nesterov.py", "def f():\n    from .. import training", "imports training"),
        (
            "data/streams.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ostinato.nn import RNN",
            "data.streams (data) imports nn (nn)",
        ),
        ("nn/model.py", "from ostinato import RNN", "nn.model (model) imports RNN (root)"),
        ("nn/model.py", "import ostinato\nostinato.RNN", "imports RNN"),
        ("nn/model.py", "import ostinato\nostinato.training", "imports training"),
        ("domains/text/domain.py", "from ostinato.domains.music import open", "imports domains.music.open"),
        ("domains/text/domain.py", "import ostinato.domains.music.paper", "imports domains.music.paper"),
        ("domains/text/declared.py", "import ostinato.domains.music.paper", "imports domains.music.paper"),
        ("domains/series/domain.py", "from ostinato.search import study", "imports search.study"),
        ("domains/series/domain.py", "from ostinato.cli import main", "imports cli.main"),
        ("training/loop.py", "import ostinato.domains.music.domain", "imports domains.music.domain"),
        ("evaluation/scores.py", "import ostinato.domains.music.declared", "imports domains.music.declared"),
        ("cli/train.py", "import ostinato.domains.music.domain", "imports domains.music.domain"),
        ("cli/harmonize.py", "import ostinato.domains.text.domain", "imports domains.text.domain"),
        ("__init__.py", "def f():\n    import ostinato.cli.main", "imports cli.main"),
        ("tools.py", "", "tools.py is no file of the root"),
        ("sound/__init__.py", "", "sound has no rule"),
        ("domains/loose.py", "", "domains.loose has no rule"),
        ("data/streams.py", "import ostinato.data.placement", ""),
        ("data/sequences.py", "import ostinato.data.streams", "circle: data.sequences -> data.streams ->"),
        (
            "data/sequences.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import ostinato.data.streams",
            "circle: data.sequences -> data.streams ->",
        ),
        ("data/sequences.py", "def f():\n    import ostinato.data.streams", "circle: data.sequences ->"),
        ("domains/music/declared.py", "import numpy", "is to be light and imports numpy by way of"),
        ("domains/text/paper.py", "from torch import nn", "recipe.recipe is to be light and imports torch"),
        ("nn/outputs/registry.py", "import torch", "nn.outputs.registry is to be light and imports torch"),
        ("domains/music/declared.py", "def f():\n    import numpy", ""),
    ],
)  # fmt: skip
def test_a_wrong_import_is_found_and_a_right_one_is_not(broken, copied, file, text, wrong):
    good = set(violations(copied))
    new = set(broken(file, text)) - good
    assert any(wrong in line for line in new) if wrong else new == set(), new


def test_a_new_domain_needs_no_rule_of_its_own(broken, copied):
    good = set(violations(copied))
    broken("domains/coins/__init__.py", "")
    broken("domains/coins/declared.py", "from ostinato.domains.declared import DomainDeclared")
    text = "from ostinato.training.build import build_model\nfrom ostinato.domains.coins import declared"
    assert set(broken("domains/coins/domain.py", text)) == good
    new = set(broken("domains/coins/domain.py", "import ostinato.domains.music.domain")) - good
    assert new == {"domains.coins.domain (NAME) imports domains.music.domain (NAME)"}


def test_importing_ostinato_does_not_load_what_only_some_need():
    heavy = ("torch", "numpy", "music21", "matplotlib", "scipy", "symusic", "pooch", "optuna")
    heavy += ("jinja2", "plotly")
    code = "import sys, ostinato, ostinato.recipe.recipe; ostinato.recipe.recipe.Recipe.parse('SGD'); "
    code += f"print(*[m for m in {heavy!r} if m in sys.modules])"
    # In the same place and with the same paths, so that it imports this ostinato.
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = [{str(PACKAGE.parent)!r}]; {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == []
