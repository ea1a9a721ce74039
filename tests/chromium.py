"""Start a real browser for the tests of pages, and record its complaints and requests."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(not CHROMIUM, reason="no Chromium on the path (Debian: apt-get install chromium)")


@contextmanager
def chromium(*flags: str) -> Iterator:
    """Start the browser with these flags for the time of a `with` block."""
    with playwright.sync_playwright() as started:
        # In containers, root has no sandbox, and /dev/shm may be small.
        flags = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", *flags]
        browser = started.chromium.launch(executable_path=CHROMIUM, args=flags, timeout=60_000)
        yield browser
        browser.close()


def watched_page(context) -> tuple:
    """Return a new page of a context, with the lists of its complaints and of its requests, which grow."""
    context.set_default_timeout(60_000)  # milliseconds: the machine may be busy with other tests
    page, complaints, requests = context.new_page(), [], []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    return page, complaints, requests
