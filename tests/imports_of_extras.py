"""What the sources import from libraries that only an extra brings, and what is wrong with it."""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import packages_distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from clean_environments import EXTRAS, INSTALLED_SIZE, SOURCE

PACKAGE = Path(SOURCE) / "ostinato"
CORE = {canonicalize_name(Requirement(text).name) for text in INSTALLED_SIZE.PROJECT["dependencies"]}
DIRECT = {
    extra: {canonicalize_name(Requirement(text).name) for text in texts}
    for extra, texts in INSTALLED_SIZE.PROJECT["optional-dependencies"].items()
}
BROUGHT = {extra: INSTALLED_SIZE.brought([f"ostinato[{extra}]"]) for extra in EXTRAS}
# In these packages everything begins with something that asks for the extra: a study.
BEHIND_A_DOOR = {"search": "search"}
# PyTorch's, but it is no use without the library of another name.
STANDS_FOR = {"torch.utils.tensorboard": "tensorboard"}
OWNERS = packages_distributions()


@dataclass(frozen=True)
class Imported:
    """An import: which module of which distribution, on which line, where, and in `needs` of which extra."""

    module: str
    owner: str
    line: int
    within_function: bool
    extra: str | None


def imports(text: str) -> list[Imported]:
    """Every import at run time of something that is neither Python's nor ours."""
    return list(_walk(ast.parse(text), within_function=False, extra=None))


def _walk(node: ast.AST, *, within_function: bool, extra: str | None) -> Iterator[Imported]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            children: list[ast.AST] = [ast.Module(child.orelse, [])]
        else:
            children = [child]
        for each in children:
            inside, own = within_function, extra
            if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                inside, own = True, None  # it runs later
            if isinstance(each, ast.With):
                own = next((e for e in map(_needed, each.items) if e), own)
            names = []
            if isinstance(each, ast.Import):
                names = [alias.name for alias in each.names]
            elif isinstance(each, ast.ImportFrom) and not each.level:
                names = [str(each.module)]
            for name in names:
                if (owner := _owner(name)) is not None:
                    yield Imported(name, owner, each.lineno, inside, own)
            yield from _walk(each, within_function=inside, extra=own)


def _needed(item: ast.withitem) -> str | None:
    call = item.context_expr
    if isinstance(call, ast.Call) and ast.unparse(call.func) == "needs":
        (name,) = call.args
        return str(name.value) if isinstance(name, ast.Constant) else None
    return None


def _owner(module: str) -> str | None:
    """The distribution that a module is from; its own name where it is not installed."""
    if module in STANDS_FOR:
        return STANDS_FOR[module]
    top = module.partition(".")[0]
    if top == "ostinato" or top in sys.stdlib_module_names:
        return None
    return canonicalize_name(OWNERS.get(top, [top])[0])


def faults(name: str, text: str) -> list[str]:
    """What is wrong with the imports of a module, by its name below the package."""
    found = []
    for each in imports(text):
        if each.owner in CORE:
            continue
        what = f"{name}:{each.line} imports {each.module}"
        extra = each.extra or BEHIND_A_DOOR.get(name.partition(".")[0])
        if not any(each.owner in own for own in DIRECT.values()):
            found.append(f"{what}, of {each.owner}, which pyproject.toml does not name")
        elif not each.within_function:
            found.append(f"{what} before it is needed")
        elif extra is None:
            found.append(f"{what} outside of `with needs(...)`")
        elif each.owner not in BROUGHT[extra]:
            found.append(f"{what}, which [{extra}] does not bring")
    return found


def sources() -> dict[str, str]:
    """The package's modules: name below the package, and text."""
    return {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path.read_text(encoding="utf-8")
        for path in sorted(PACKAGE.rglob("*.py"))
    }


def libraries() -> dict[str, list[str]]:
    """The modules that are imported as parts of each extra."""
    found: dict[str, set[str]] = {extra: set() for extra in EXTRAS}
    for name, text in sources().items():
        for each in imports(text):
            extra = each.extra or BEHIND_A_DOOR.get(name.partition(".")[0])
            if each.owner not in CORE and extra is not None:
                found[extra].add(each.module)
    return {extra: sorted(modules) for extra, modules in found.items()}
