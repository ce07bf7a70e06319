"""The reference's last page: the modules that no other page has, found when the pages are built."""

import importlib
import pkgutil
import re
from pathlib import Path

from sphinx.application import Sphinx

import ostinato

PAGE = "reference/others"
# The command line has a page of its own; the rest of these cannot be imported without running something.
LEFT_OUT = re.compile(r"ostinato\.(cli|__main__)\b|.*\._")


def modules() -> list[str]:
    """Every module of the package that can be imported from."""
    found = (module.name for module in pkgutil.walk_packages(ostinato.__path__, "ostinato."))
    return sorted(name for name in found if not LEFT_OUT.match(name))


def on_pages(folder: Path) -> set[str]:
    """The modules that the pages of a folder name."""
    text = "\n".join(page.read_text(encoding="utf-8") for page in folder.rglob("*.md"))
    return set(re.findall(r"^\.\. automodule:: (\S+)", text, flags=re.M))


def section(module: str) -> str:
    """The section of a module; a package that gives names of its modules only says what it is.

    Example:
        >>> section("ostinato.files").splitlines()[0]
        '## ostinato.files'
    """
    options = "\n   :no-members:" if hasattr(importlib.import_module(module), "__path__") else ""
    return f"## {module}\n\n```{{eval-rst}}\n.. automodule:: {module}{options}\n```\n"


def _fill(app: Sphinx, name: str, source: list[str]) -> None:
    if name == PAGE:
        others = sorted(set(modules()) - on_pages(Path(app.srcdir)))
        source[0] += "\n" + "\n".join(section(module) for module in others)


def setup(app: Sphinx) -> dict[str, bool]:
    """Fill the page when it is read, and read it at every build."""
    app.connect("source-read", _fill)
    app.connect("env-get-outdated", lambda *_: [PAGE])
    return {"parallel_read_safe": True, "parallel_write_safe": True}
