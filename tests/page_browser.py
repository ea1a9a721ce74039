"""Open the page of serve.py in a real browser, give it answers, and read what it shows."""

import base64
import json
from collections.abc import Iterator

import av
import pytest

from chromium import Tabs, chromium
from conftest import picture
from server_process import Server

pytest.importorskip("fastapi")


@pytest.fixture(scope="module")
def tabs() -> Iterator[Tabs]:
    # With a camera of few pictures a second, and permission to use it.
    with chromium("--use-fake-device-for-media-stream=fps=5", "--use-fake-ui-for-media-stream") as started:
        yield started


@pytest.fixture
def opened(tabs, server):
    """Provide a function that opens the page; it returns the result of `Tabs.open`."""

    def open_page(width: int = 1280, scheme: str = "light", locale: str = "en-US", running: Server = server):
        page, complaints, requests = tabs.open(running.url, width, scheme, locale, touch=width < 500)
        page.wait_for_selector("#limits:not(:empty)")
        return page, complaints, requests

    return open_page


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> str:
    """Provide a clip of 3 s that browsers can play."""
    path = tmp_path_factory.mktemp("clips") / 'a "long" clip.mp4'
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(30):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture(64, 48, seed=i), format="rgb24")))
        file.mux(stream.encode(None))
    return str(path)


def answer_with(page, status: int = 200, body: object = None, pattern: str = "**/api/predict*", **headers: str) -> None:
    """Give the page this answer instead of the server's. body: a text is HTML, anything else JSON."""
    kind = "text/html" if isinstance(body, str) else "application/json"
    text = body if isinstance(body, str) else json.dumps(body)
    page.route(pattern, lambda route: route.fulfill(status=status, body=text, content_type=kind, headers=headers))


def answer_of(*probabilities: float, **pictures: list[str]) -> dict:
    found = [{"class_id": i, "label": f"class_{i}", "probability": share} for i, share in enumerate(probabilities)]
    return {"video": "video", "predictions": found, **pictures}


def drawing(colour: str) -> str:
    """Return the data address of a square of this colour."""
    shape = f'<rect width="8" height="8" fill="{colour}"/>'
    text = f'<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8">{shape}</svg>'
    return f"data:image/svg+xml;base64,{base64.b64encode(text.encode()).decode()}"


def clip_of(workspace) -> str:
    return str(workspace.held_out[0][0])


def shown(page, part: str) -> str:
    page.wait_for_selector(f"#{part}:not([hidden])")
    return page.locator(f"#{part}").inner_text().replace("\n\n", "\n")
