"""Formulas as MathML, which browsers draw by themselves, with a font that lies beside the pages."""

import logging
from importlib.resources import files
from pathlib import Path

from docutils import nodes
from fontTools import subset
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

# Latin, Greek, the letters of formulas, arrows, operators, and what stretches.
CHARACTERS = [*range(0x20, 0x7F), *range(0xA0, 0x100), *range(0x370, 0x400), *range(0x2010, 0x2040),
              *range(0x2100, 0x2150), *range(0x2190, 0x21E0), *range(0x2200, 0x2300), *range(0x2308, 0x230C),
              0x2016, 0x2061, 0x27E8, 0x27E9, *range(0x1D434, 0x1D468),
              *range(0x1D6FC, 0x1D71C)]  # fmt: skip


def mathml(formula: str, *, display: bool) -> str:
    r"""The MathML of a formula in LaTeX.

    Example:
        >>> "<mfrac>" in mathml(r"\frac{1}{2}", display=True)
        True
    """
    found: str = convert(formula.strip(), display="block" if display else "inline")
    return found


def visit_math(translator: HTML5Translator, node: nodes.math) -> None:
    """A formula in a line."""
    translator.body.append(mathml(node.astext(), display=False))
    raise nodes.SkipNode


def visit_displaymath(translator: HTML5Translator, node: nodes.math_block) -> None:
    """A formula of its own; one too wide for a phone is scrolled, by the keyboard too."""
    formula = mathml(node.astext(), display=True)
    translator.body.append(
        f'<div class="math" tabindex="0" role="group" aria-label="formula">{formula}</div>\n'
    )
    raise nodes.SkipNode


def write_font(app: Sphinx, error: Exception | None) -> None:
    """STIX Two Math, which comes with ziamath (SIL Open Font License), cut to the characters of formulas."""
    if error is not None or app.builder.format != "html":
        return
    logging.getLogger("fontTools").setLevel(logging.WARNING)  # it tells every table
    options = subset.Options(flavor="woff", notdef_outline=True)
    font = subset.load_font(str(files("ziamath") / "fonts" / "STIXTwoMath-Regular.ttf"), options)
    cutter = subset.Subsetter(options)
    cutter.populate(unicodes=CHARACTERS)
    cutter.subset(font)
    subset.save_font(font, str(Path(app.outdir) / "_static" / "math.woff"), options)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the renderer; conf.py chooses it."""
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_displaymath, None))
    app.connect("build-finished", write_font)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
