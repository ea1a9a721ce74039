"""A real browser for the tests of pages: started, and watched for complaints and requests."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(not CHROMIUM, reason="no Chromium on the path (Debian: apt-get install chromium)")


@contextmanager
def chromium(*flags: str) -> Iterator:
    """Open a context with the browser, started with these flags."""
    with playwright.sync_playwright() as started:
        # Containers: as root there is no sandbox, and /dev/shm may be small.
        flags = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", *flags]
        browser = started.chromium.launch(executable_path=CHROMIUM, args=flags, timeout=60_000)
        yield browser
        browser.close()


def watched_page(context) -> tuple:
    """Return a page of a browser's context, what it complains of, and what it asks for; both grow."""
    context.set_default_timeout(60_000)  # ms: the machine may be busy with other tests
    page, complaints, requests = context.new_page(), [], []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    return page, complaints, requests
