"""Formulas as MathML, which browsers draw by themselves: nothing is loaded from anywhere."""

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator


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
    translator.body.append(f'<div class="math" tabindex="0" role="group">{formula}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the renderer; conf.py chooses it."""
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_displaymath, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
