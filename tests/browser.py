"""A headless Chromium for tests: opens a page as on a desk, on a phone or on paper, and asks axe about it.

axe-core, the accessibility checker, is taken from the file that AXE_CORE names (`npm pack axe-core` has it as
package/axe.min.js), or else from axe-playwright-python, which carries it.
"""

import base64
import importlib.util
import json
import os
import shutil
import time
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
MISSING = (
    "the browser is driven by selenium"
    if importlib.util.find_spec("selenium") is None
    else ""
    if CHROMIUM and DRIVER
    else "no chromium with its chromedriver here"
)
needs_browser = pytest.mark.skipif(bool(MISSING), reason=MISSING)

FLAGS = (
    "headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking "
    "disable-component-update disable-sync hide-scrollbars"
)
# Before any program of the page runs: what goes wrong, and what it asks for.
WATCH = """
window.problems = [];
addEventListener("error", (event) => problems.push(String(event.message)), true);
addEventListener("unhandledrejection", (event) => problems.push(String(event.reason)));
"""
# What axe calls serious or critical keeps somebody from reading the page.
AXE = """
const done = arguments[arguments.length - 1];
axe.run(document, {resultTypes: ["violations"]}).then((found) => done(found.violations.map((fault) => ({
  id: fault.id, impact: fault.impact, help: fault.help,
  where: fault.nodes.map((node) => `${node.target.join(" ")}: ${node.any.map((a) => a.message).join("; ")}`),
}))), (error) => done([{id: "axe", impact: "critical", help: String(error), where: []}]));
"""


def axe_core() -> Path | None:
    """The file of axe-core, if it is here."""
    if os.environ.get("AXE_CORE"):
        return Path(os.environ["AXE_CORE"])
    spec = importlib.util.find_spec("axe_playwright_python")
    return None if spec is None or spec.origin is None else Path(spec.origin).with_name("axe.min.js")


needs_axe = pytest.mark.skipif(
    axe_core() is None, reason="no axe-core here: AXE_CORE, or the package axe-playwright-python"
)


class Browser:
    """A headless chromium that keeps its logs."""

    def __init__(self, profile: Path) -> None:
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

    def open(self, path: Path, width: int = 1100, scheme: str = "light", *, ready: str = "") -> None:
        """Show a page; `ready` is a script that tells when the page's own programs are done."""
        self.address, self.width = path.as_uri(), width
        self.resize(900)
        self.media(scheme)
        self.driver.get(self.address)
        if ready:
            self.until(ready)

    def resize(self, height: int) -> None:
        size = {"width": self.width, "height": height, "deviceScaleFactor": 1, "mobile": self.width < 500}
        self.command("Emulation.setDeviceMetricsOverride", size)

    def media(self, scheme: str, medium: str = "") -> None:
        """A light or dark system; `print` as the medium shows the page as it is printed."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.command("Emulation.setEmulatedMedia", {"media": medium, "features": features})

    def until(self, script: str, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not self.ask(script):
            assert time.monotonic() < end, f"never came true: {script}"
            time.sleep(0.1)

    def ask(self, script: str):
        return self.driver.execute_script(script)

    def press(self, *keys: str) -> None:
        from selenium.webdriver import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()

    def picture(self, path: Path, *, whole: bool = True) -> None:
        """A PNG of the window, or of the whole page."""
        if whole:
            self.resize(min(self.ask("return document.documentElement.scrollHeight"), 16_000))
            time.sleep(0.5)
        shot = self.command("Page.captureScreenshot", {"format": "png"})
        path.write_bytes(base64.b64decode(shot["data"]))

    def print(self, **options) -> bytes:
        """The page as a PDF of A4 sheets with backgrounds left out, as browsers print."""
        sheet = {"paperWidth": 8.27, "paperHeight": 11.69, "printBackground": False} | options
        return base64.b64decode(self.command("Page.printToPDF", sheet)["data"])

    def faults(self, least: str = "serious") -> list[dict]:
        """What axe finds wrong with the page, from an impact on: minor, moderate, serious, critical."""
        impacts = ["minor", "moderate", "serious", "critical"]
        self.ask(axe_core().read_text(encoding="utf-8"))
        self.driver.set_script_timeout(120)
        found = self.driver.execute_async_script(AXE)
        return [f for f in found if impacts.index(f["impact"] or "minor") >= impacts.index(least)]

    def requests(self) -> list[str]:
        """The addresses that were asked for after the page's own, but for those inside it."""
        found = []
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] != "Network.requestWillBeSent":
                continue
            # the browser's own first tab goes on loading its parts after the page was asked for
            if not message["params"]["documentURL"].startswith("chrome:"):
                found.append(message["params"]["request"]["url"])
        return [url for url in found[found.index(self.address) + 1 :] if not url.startswith("data:")]
