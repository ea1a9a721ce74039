"""Start a real browser for the tests of pages, and record the complaints and requests of its pages."""

import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(not CHROMIUM, reason="no Chromium on the path (Debian: apt-get install chromium)")
# A page that was opened anew has an empty window.name, and must not see what an earlier test stored.
_FORGET = """if (window.name !== "opened") {
    try { localStorage.clear(); sessionStorage.clear(); } catch {}
    window.name = "opened";
}"""


class Tabs:
    """A browser with one tab per language and kind of pointer. Each test reuses it: a new one takes far longer."""

    def __init__(self, browser):
        self._browser, self._tabs = browser, {}

    def open(self, address: str, width: int = 1280, scheme: str = "light", locale: str = "en-US", touch: bool = False):
        """Return the page at `address`, and the lists of its complaints and of its requests, which grow."""
        tab, complaints, requests = self._tabs.get((locale, touch)) or self._new(locale, touch)
        tab.unroute_all(behavior="ignoreErrors")
        tab.goto("about:blank")
        tab.evaluate("window.name = ''")
        tab.context.clear_permissions()
        tab.set_viewport_size({"width": width, "height": 844})
        tab.emulate_media(color_scheme=scheme)
        complaints.clear()
        requests.clear()
        tab.goto(address)
        return tab, complaints, requests

    def _new(self, locale: str, touch: bool) -> tuple:
        context = self._browser.new_context(locale=locale, has_touch=touch)
        context.set_default_timeout(60_000)  # milliseconds: the machine may be busy with other tests
        context.add_init_script(_FORGET)
        tab, complaints, requests = context.new_page(), [], []
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("dialog", lambda dialog: complaints.append(dialog.message) or dialog.dismiss())
        tab.on("filechooser", lambda chooser: None)  # listen before the first one opens
        tab.on("request", lambda request: requests.append(request.url))
        self._tabs[locale, touch] = tab, complaints, requests
        return self._tabs[locale, touch]


@contextmanager
def chromium(*flags: str) -> Iterator[Tabs]:
    """Start the browser with these flags for the time of a `with` block."""
    with playwright.sync_playwright() as started:
        # In containers, root has no sandbox, and /dev/shm may be small.
        flags = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", *flags]
        browser = started.chromium.launch(executable_path=CHROMIUM, args=flags, timeout=60_000)
        yield Tabs(browser)
        browser.close()


@pytest.fixture(scope="module")
def tabs() -> Iterator[Tabs]:
    with chromium() as started:
        yield started


def until(page, condition: str) -> None:
    """Wait until the condition holds. Playwright's own function would need eval, which the page's policy forbids."""
    end = time.monotonic() + 60
    while not page.evaluate(condition):
        assert time.monotonic() < end, condition
        page.wait_for_timeout(20)


def contrast(*colours: str) -> float:
    """Return WCAG's contrast of two colours `rgb(r, g, b)`."""
    dark, light = sorted(map(_luminance, colours))
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    """Return WCAG's relative luminance."""
    shares = [int(value) / 255 for value in re.findall(r"\d+", colour)]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear))
