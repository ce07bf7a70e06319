"""The built pages: made without the network, loading nothing from elsewhere, complete and readable by all."""

import importlib
import inspect
import os
import pkgutil
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

import ostinato
from browser import Browser, needs_axe, needs_browser
from ostinato.cli.main import app

ROOT = Path(__file__).parents[2]
NOWHERE = "http://127.0.0.1:9"
# What a browser fetches by itself; links that somebody has to follow are not among them.
LOADED = {
    "src": ("script", "img", "audio", "video", "source", "iframe", "embed", "track", "input"),
    "srcset": ("img", "source"),
    "poster": ("video",),
    "data": ("object",),
    "href": ("link", "image", "use"),
}
# Public, but of the command line, which has a page of its own.
LEFT_OUT = ("ostinato.cli", "ostinato.__main__")


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> Path:
    """The pages, built from this source with no way to the network, and without a warning."""
    if os.environ.get("OSTINATO_BUILT_DOCS"):  # by .ci/run, in the same way
        return Path(os.environ["OSTINATO_BUILT_DOCS"])
    out = tmp_path_factory.mktemp("pages")
    proxies = {f"{kind}_proxy": NOWHERE for kind in ("http", "https", "all", "HTTP", "HTTPS", "ALL")}
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", str(ROOT / "docs")]
    paths = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [*command, str(out)], env=os.environ | proxies | paths, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return out


class Loads(HTMLParser):
    """Collects the addresses that a page makes a browser fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if tag in LOADED.get(name, ()) and value:
                parts = value.split(",") if name == "srcset" else [value]
                self.found += [part.split()[0] for part in parts]
            if name == "style" and value:
                self.found += in_css(value)


def in_css(text: str) -> list[str]:
    return re.findall(r"""url\(\s*["']?([^"')]+)""", text) + re.findall(r"""@import\s+["']([^"']+)""", text)


def loads(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".css":
        return in_css(text)
    parser = Loads()
    parser.feed(text)
    return parser.found + [url for css in re.findall(r"<style.*?</style>", text, re.S) for url in in_css(css)]


def elsewhere(urls: list[str]) -> list[str]:
    return [url for url in urls if re.match(r"(?!data:)[a-z+]+:|//", url.strip(), re.I)]


def test_no_page_loads_anything_from_elsewhere(pages):
    files = [*pages.rglob("*.html"), *pages.rglob("*.css")]
    assert len(files) > 30
    assert {str(path): found for path in files if (found := elsewhere(loads(path)))} == {}


@pytest.mark.parametrize(
    "page",
    [
        '<script async src="https://cdn.example.org/mathjax.js"></script>',
        '<link rel="stylesheet" href="//fonts.example.org/a.css">',
        "<style>@import 'https://example.org/a.css';</style>",
        '<p style="background: url(http://example.org/a.png)">',
        '<img srcset="a.png 1x, https://example.org/b.png 2x">',
    ],
)
def test_what_comes_from_elsewhere_is_found(page, tmp_path):
    (tmp_path / "a.html").write_text(page)
    assert len(elsewhere(loads(tmp_path / "a.html"))) == 1


def test_what_is_loaded_is_there(pages):
    for page in pages.rglob("*.html"):
        for url in loads(page):
            if not url.startswith(("data:", "#")):
                assert (page.parent / url.partition("?")[0].partition("#")[0]).is_file(), f"{page}: {url}"


def public_names() -> set[str]:
    """The names that modules define, or give others in `__all__`, by where they are defined.

    Of a constant or the name of a type that cannot be told: it is its package with a star.
    """
    found = set()
    for module in pkgutil.walk_packages(ostinato.__path__, "ostinato."):
        if module.name.startswith(LEFT_OUT) or any(part[0] == "_" for part in module.name.split(".")):
            continue
        content = importlib.import_module(module.name)
        all_ = getattr(content, "__all__", ())
        for name in {*vars(content), *all_}:  # a package may give names only when they are asked for
            value, given = getattr(content, name), name in all_
            own = getattr(value, "__module__", None) == module.name and name[0] != "_"
            if inspect.isclass(value) or inspect.isfunction(value):
                if own or given:
                    found.add(f"{value.__module__}.{value.__name__}")
            elif given and not inspect.ismodule(value):
                found.add(f"{module.name}.*.{name}")
    return found


def is_listed(name: str, listed: set[str]) -> bool:
    package, star, constant = name.partition(".*.")
    if not star:
        return name in listed
    return any(other.startswith(f"{package}.") and other.endswith(f".{constant}") for other in listed)


def test_every_public_name_is_in_the_reference(pages):
    from sphinx.util.inventory import InventoryFile

    with (pages / "objects.inv").open("rb") as file:
        inventory = InventoryFile.load(file, "", lambda base, path: path)
    listed = {name for kind, names in inventory.items() if kind.startswith("py:") for name in names}
    names = public_names()
    # wherever they are defined
    assert {"UserError", "Schedule", "create_study", "Comparison", "RNN"} <= {n.split(".")[-1] for n in names}
    assert sorted(name for name in names if not is_listed(name, listed)) == []


def test_every_command_and_option_is_on_its_page(pages):
    page = (pages / "reference" / "commands.html").read_text(encoding="utf-8")
    text = re.sub(r"<[^>]+>", "", page)
    seen = 0
    for command, path in commands(app, "ostinato"):
        assert re.search(rf"^{path}\b", text, re.M), path
        for argument in command.assemble_argument_collection(parse_docstring=True):
            if argument.show and (options := [n for n in argument.names if n.startswith("--")]):
                assert options[0] in text, f"{path} {options[0]}"
                seen += 1
    assert seen > 100


def commands(parent, path):
    for name in parent:
        command = parent[name]
        if not name.startswith("-") and command.show and name not in ("generate-text", "score-text"):
            yield from commands(command, f"{path} {name}")
            if command.default_command is not None:
                yield command, f"{path} {name}"


def test_formulas_are_mathml_in_a_font_for_formulas(pages):
    from fontTools.ttLib import TTFont

    page = (pages / "explanation.html").read_text(encoding="utf-8")
    assert page.count('<math xmlns="http://www.w3.org/1998/Math/MathML" display="block"') == 5
    assert "\\frac" not in page
    font = TTFont(pages / "_static" / "math.woff")
    assert font["MATH"].table.MathVariants.VertGlyphCount > 10  # what stretches
    drawn = set(re.sub(r"<[^>]+>|\s", "", "".join(re.findall(r"<math.*?</math>", page, re.S))))
    drawn |= {chr(int(code, 16)) for code in re.findall(r"&#x([0-9A-F]+);", page)}
    assert not {c for c in drawn - set("&#x;") if ord(c) not in font.getBestCmap()}


def test_the_pieces_can_be_heard(pages):
    sounds = [url for url in loads(pages / "index.html") if url.endswith(".mp3")]
    assert len(sounds) == 3
    for url in sounds:
        assert 20_000 < (pages / url).stat().st_size < 300_000
        assert (pages / url).read_bytes()[:2] in (b"\xff\xfb", b"\xff\xf3", b"ID")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.driver.quit()


@pytest.mark.slow
@needs_browser
@needs_axe
@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (1200, "dark"), (390, "light")])
def test_the_pages_have_no_serious_fault(pages, browser, width, scheme):
    for name in ("index", "explanation", "results", "reference/commands", "reference/reporting"):
        browser.open(pages / f"{name}.html", width, scheme)
        assert browser.faults() == [], name
        assert browser.ask("return document.documentElement.scrollWidth") <= width, name
        assert elsewhere([url for url in browser.requests() if not url.startswith("file:")]) == []


@pytest.mark.slow
@needs_browser
def test_the_pieces_play(pages, browser):
    browser.open(pages / "index.html")
    browser.ask("for (const a of document.querySelectorAll('audio')) { a.preload = 'auto'; a.load(); }")
    browser.until("return [...document.querySelectorAll('audio')].every((a) => a.readyState >= 1)")
    lengths = browser.ask("return [...document.querySelectorAll('audio')].map((a) => a.duration)")
    assert all(10 < length < 20 for length in lengths)
