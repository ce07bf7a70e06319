"""The page in a real browser: quiet, drawn, readable on a phone and on paper, usable by keyboard."""

import re

import pytest

from browser import Browser, needs_axe, needs_browser

pytestmark = [pytest.mark.slow, needs_browser]
DRAWN = "return document.documentElement.dataset.drawn === 'true'"
LONG = "a run with a name of more than forty letters that <b>wraps</b> {x} %{y} and has to be read to its end"


@pytest.fixture
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.driver.quit()


@pytest.fixture
def page(ostinato, trained, make_run, make_study, tmp_path):
    """A page of a trained run, one with Hessian-free updates and hostile names, and a study."""
    updates = [{"damping": 0.3 / k, "iterations": 10 * k} for k in (1, 2, 3)]
    hostile = make_run("<img src=x onerror=alert(1)>", updates=updates, recipe="HF")
    long = make_run(LONG.replace("</b>", ""), shift=0.5)
    code, _, err = ostinato("report", "run", hostile, long, make_study(), "--samples", "2")
    assert code == 0, err
    return tmp_path / "report.html"


def test_the_page_in_a_browser(browser, page):
    browser.open(page, ready=DRAWN)
    browser.until("return [...document.querySelectorAll('audio')].every((a) => a.readyState >= 1)")
    assert (
        browser.ask("return [...document.querySelectorAll('audio')].map((a) => a.duration > 2)") == [True] * 2
    )
    charts = browser.ask(
        "return [...document.querySelectorAll('.chart')].map((c) => [c.id, "
        "c.matches('.js-plotly-plot') && c.querySelectorAll('svg .trace path, svg .point path').length])"
    )
    assert len(charts) == 8
    assert [name for name, marks in charts if not marks] == []
    assert browser.ask("return document.querySelectorAll('img').length") == 0

    # the theme, by keyboard alone; the first stop is the link that skips the navigation
    from selenium.webdriver import Keys

    browser.press(Keys.TAB)
    assert browser.ask("return document.activeElement.className") == "skip"
    browser.press(Keys.TAB)
    assert browser.ask("return document.activeElement.id") == "theme"
    background = "return getComputedStyle(document.body).backgroundColor"
    grid = "return document.querySelector('.js-plotly-plot').layout.xaxis.gridcolor"
    light = browser.ask(background), browser.ask(grid)
    browser.press(Keys.ENTER)
    assert browser.ask("return document.getElementById('theme').getAttribute('aria-pressed')") == "true"
    browser.until(f"return (() => {{ {grid} }})() !== '{light[1]}'")
    assert browser.ask(background) != light[0]
    browser.press(Keys.SPACE)
    browser.until(f"return (() => {{ {grid} }})() === '{light[1]}'")
    assert browser.ask(background) == light[0]

    # copying says what it did
    browser.ask("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    browser.ask("document.querySelector('.copy').click()")
    browser.until("return document.getElementById('status').textContent === 'Copied'")

    assert browser.ask("return problems") == []
    assert browser.driver.get_log("browser") == []
    assert browser.requests() == []


def test_on_a_phone_nothing_sticks_out(browser, page):
    browser.open(page, width=390, scheme="dark", ready=DRAWN)
    browser.ask("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert browser.ask("return document.documentElement.scrollWidth") <= 390
    assert browser.ask("return innerWidth") == 390
    # a dark system gets the dark theme unasked
    assert browser.ask("return document.getElementById('theme').getAttribute('aria-pressed')") == "true"
    # what is wider scrolls in a box of its own, which the keyboard reaches
    boxes = browser.ask(
        "return [...document.querySelectorAll('table, .roll')].filter((t) => "
        "t.getBoundingClientRect().width > 390).map((t) => t.closest('.scroll').tabIndex)"
    )
    assert boxes
    assert set(boxes) == {0}
    assert browser.driver.get_log("browser") == []
    # a row of scores is a block: every cell with its column's name, and within the page
    cells = browser.ask(
        "return [...document.querySelectorAll('table.stack tbody td:not(.none)')].map((t) => "
        "[getComputedStyle(t, '::before').content, t.getBoundingClientRect().right])"
    )
    assert cells
    assert all(len(label) > 5 and right <= 390 for label, right in cells)


def hovered(browser, chart, trace, point):
    """What the label at a point of a chart's line says, and where it stands."""
    browser.ask(
        f"const box = document.getElementById('{chart}'); box.scrollIntoView();"
        f"const at = box.data.findIndex((t) => t.name === {trace!r});"
        f"Plotly.Fx.hover(box, [{{curveNumber: at, pointNumber: {point}}}]);"
    )
    label = f"document.querySelector('#{chart} .hoverlayer .hovertext')"
    browser.until(f"return {label} !== null")
    lines = browser.ask(
        f"return [...{label}.querySelectorAll('.nums .line')].map((line) => line.textContent)"
    )
    box = browser.ask(f"const r = {label}.getBoundingClientRect(); return [r.left, r.right]")
    return lines, box


@pytest.mark.parametrize("width", [1100, 390])
def test_labels_are_whole(browser, page, width):
    browser.open(page, width=width, ready=DRAWN)
    name = LONG.replace("</b>", "").replace("<", "&lt;").replace(">", "&gt;")
    lines, (left, right) = hovered(browser, "data1-log-likelihood", name, 2)
    assert " ".join(lines) == f"{LONG.replace('</b>', '')}, validation epoch 3: \u22128.000"
    assert len(lines) > 2
    assert left >= 0
    assert right <= width
    assert (
        browser.ask("return document.querySelector('.js-plotly-plot')._fullLayout.hoverlabel.namelength")
        == -1
    )
    lines, _ = hovered(browser, "study0-history", "best so far", 3)
    assert lines[0] == "best so far"
    assert re.fullmatch(r"trial 3: \u2212\d+\.\d{3}", lines[1])


def test_on_paper_it_is_light_whole_and_as_before_afterwards(browser, page):
    browser.open(page, scheme="dark", ready=DRAWN)
    chart = "document.querySelector('.chart')"
    screen = (
        "return [document.documentElement.dataset.theme, document.querySelectorAll('details[open]').length, "
    )
    screen += f"{chart}.offsetHeight, {chart}.querySelector('svg').getAttribute('width')]"
    before = browser.ask(screen)
    browser.ask(
        "addEventListener('beforeprint', () => { window.paper = {"
        "theme: document.documentElement.dataset.theme,"
        "ink: document.querySelector('.js-plotly-plot').layout.font.color,"
        "folded: document.querySelectorAll('details:not([open]):not(.screen)').length,"
        "widths: [...document.querySelectorAll('.chart svg.main-svg')].map("
        "(s) => s.getAttribute('width'))}; });"
    )
    pages = browser.print()
    assert pages.startswith(b"%PDF")
    paper = browser.ask("return paper")
    # A4 is 794 pixels wide, and its margins 53 each
    assert paper == {
        "theme": "light",
        "ink": "#1f2528",
        "folded": 0,
        "widths": ["660"] * len(paper["widths"]),
    }
    browser.until(f"return ({screen.removeprefix('return ')}).join() === {','.join(map(str, before))!r}")

    # what the sheet looks like
    browser.media("dark", "print")
    browser.ask("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    ground = browser.ask("return getComputedStyle(document.body).backgroundColor")
    assert ground == "rgb(255, 255, 255)"
    hidden = browser.ask(
        "return [...document.querySelectorAll('nav, button, audio, .screen')].every("
        "(e) => e.offsetHeight === 0)"
    )
    assert hidden
    cut = browser.ask(
        "return [...document.querySelectorAll('.scroll, pre')].filter((e) => e.offsetHeight > 0 && "
        "(getComputedStyle(e).overflowX !== 'visible' || getComputedStyle(e).maxHeight !== 'none')).length"
    )
    assert cut == 0


@needs_axe
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1100, 390])
def test_axe_finds_no_fault(browser, page, scheme, width):
    browser.open(page, width=width, scheme=scheme, ready=DRAWN)
    # what is folded away is to be readable too
    browser.ask("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert browser.faults("moderate") == []


@needs_axe
def test_axe_would_find_one(browser, tmp_path):
    bad = tmp_path / "bad.html"
    bad.write_text("<!doctype html><title>x</title><p style='color:#bbb;background:#fff'>pale<img src=x>")
    browser.open(bad)
    assert {fault["id"] for fault in browser.faults()} >= {"color-contrast", "image-alt", "html-has-lang"}
