"""How Sphinx builds these pages: `sphinx-build -W -b html docs OUT`."""

import sys
from pathlib import Path

from sphinx.application import Sphinx

import ostinato

sys.path.insert(0, str(Path(__file__).parent))
from docstrings import as_rst

project = "ostinato"
author = "the ostinato developers"
version = release = ostinato.__version__

extensions = [
    "accessible",
    "commands",
    "mathml",
    "modules",
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]

myst_enable_extensions = ["colon_fence", "dollarmath"]
# Links to a heading of another page, as GitHub makes their anchors.
myst_heading_anchors = 3

autodoc_member_order = "bysource"
# The docstrings say what arguments are; the signature says which types they have.
autodoc_typehints = "signature"
autodoc_default_options = {"members": True}
napoleon_numpy_docstring = True  # the commands' own docstrings
napoleon_custom_sections = [("Arguments", "params_style")]
# Quotation marks are set, but no dashes: two hyphens begin an option.
smartquotes_action = "qe"
# A bare `name` in a docstring is code.
default_role = "code"

# A block without a language is a command's output, not Python.
highlight_language = "none"

html_math_renderer = "mathml"
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["ostinato.css"]
html_title = f"ostinato {release}"
html_show_sphinx = False
html_show_copyright = False


def setup(app: Sphinx) -> None:
    """Before napoleon, which has the default priority of 500."""
    app.connect("autodoc-process-docstring", lambda *event: as_rst(event[-1]), priority=400)
