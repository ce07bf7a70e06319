"""The page in a real browser: quiet, self-contained, drawn, readable on a phone, usable by keyboard."""

import json
import shutil
import time

import pytest

selenium = pytest.importorskip("selenium", reason="the browser is driven by selenium")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no chromium with its chromedriver here"),
]

FLAGS = (
    "headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking "
    "disable-component-update disable-sync"
)
# Before any program of the page runs: what goes wrong, and what it asks for.
WATCH = """
window.problems = [];
addEventListener("error", (event) => problems.push(String(event.message)), true);
addEventListener("unhandledrejection", (event) => problems.push(String(event.reason)));
"""


class Browser:
    """A headless chromium that keeps its logs."""

    def __init__(self, profile):
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service

        options = webdriver.ChromeOptions()
        for flag in FLAGS.split():
            options.add_argument(f"--{flag}")
        options.add_argument(f"--user-data-dir={profile}")
        options.binary_location = CHROMIUM
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options, Service(DRIVER))
        self.command = self.driver.execute_cdp_cmd
        self.command("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH})

    def open(self, path, width=1100, scheme="light"):
        self.address = path.as_uri()
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        self.command("Emulation.setDeviceMetricsOverride", size)
        self.command(
            "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        )
        self.driver.get(self.address)
        self.until("return document.documentElement.dataset.drawn === 'true'")

    def until(self, script, seconds=60):
        end = time.monotonic() + seconds
        while not self.ask(script):
            assert time.monotonic() < end, f"never came true: {script}"
            time.sleep(0.1)

    def ask(self, script):
        return self.driver.execute_script(script)

    def press(self, *keys):
        from selenium.webdriver import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()

    def requests(self):
        """The addresses that were asked for after the page's own, but for those inside it."""
        found = []
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                found.append(message["params"]["request"]["url"])
        # what the browser's own first tab asked for comes before
        return [url for url in found[found.index(self.address) + 1 :] if not url.startswith("data:")]


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
    code, _, err = ostinato("report", "run", hostile, make_study(), "--samples", "2")
    assert code == 0, err
    return tmp_path / "report.html"


def test_the_page_in_a_browser(browser, page):
    browser.open(page)
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
    browser.open(page, width=390, scheme="dark")
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
