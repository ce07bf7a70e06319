"""What the theme's pages lack for readers who use a keyboard or have a page read to them."""

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

# In the navigation: headings without a level.
CAPTION, LEVELLED = 'role="heading"', 'role="heading" aria-level="2"'
# In the page: what is wider than a phone is scrolled, which takes a keyboard's focus.
SCROLLED = {
    '<div class="highlight"><pre>': '<div class="highlight"><pre tabindex="0">',
    '<div class="table-wrapper ': '<div tabindex="0" class="table-wrapper ',
}


def repaired(html: str) -> str:
    """A page's body, or its navigation.

    Example:
        >>> repaired('<p class="caption" role="heading">')
        '<p class="caption" role="heading" aria-level="2">'
    """
    html = html.replace(CAPTION, LEVELLED)
    for before, after in SCROLLED.items():
        html = html.replace(before, after)
    return html


def _repair(app: Sphinx, page: str, template: str, context: dict[str, Any], tree: nodes.Node | None) -> None:
    for part in ("body", "furo_navigation_tree"):
        if part in context:
            context[part] = repaired(context[part])


def setup(app: Sphinx) -> dict[str, bool]:
    """After the theme has made its navigation, at the default priority of 500."""
    app.connect("html-page-context", _repair, priority=600)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
