"""The page of serve.py in a real browser: by mouse, keyboard and dropping, wide and narrow, in both languages."""

import base64
import re
import shutil

import pytest

from server_process import Server

pytest.importorskip("fastapi")
playwright = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium on the path (Debian: apt-get install chromium)")

DROP = """([content, names]) => {
    const data = new DataTransfer();
    const bytes = Uint8Array.from(atob(content), (c) => c.charCodeAt(0));
    for (const name of names) data.items.add(new File([bytes], name, { type: "video/mp4" }));
    for (const kind of ["dragenter", "dragover", "drop"])
        document.body.dispatchEvent(new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true }));
}"""


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        # Containers: as root there is no sandbox, and /dev/shm may be small.
        flags = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=flags, timeout=60_000)
        yield chromium
        chromium.close()


@pytest.fixture
def opened(browser, server):
    """A function that opens the page and returns it with what it complains of and asks for, which grow."""
    contexts = []

    def open_page(width: int = 1280, scheme: str = "light", locale: str = "en-US", running: Server = server):
        context = browser.new_context(
            viewport={"width": width, "height": 844}, color_scheme=scheme, locale=locale, has_touch=width < 500
        )
        context.set_default_timeout(60_000)  # ms: the machine may be busy with other tests
        contexts.append(context)
        page, complaints, requests = context.new_page(), [], []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.on("filechooser", lambda chooser: None)  # from the first one that is asked for
        page.goto(running.url)
        page.wait_for_selector("#limits:not(:empty)")
        return page, complaints, requests

    yield open_page
    for context in contexts:
        context.close()


def clip_of(workspace) -> str:
    return str(workspace.held_out[0][0])


def shown(page, part: str) -> str:
    page.wait_for_selector(f"#{part}:not([hidden])")
    return page.locator(f"#{part}").inner_text()


@pytest.mark.parametrize("width, scheme, locale", [(390, "dark", "zh-CN"), (1280, "light", "en-US")])
def test_a_chosen_video_is_named_with_its_frames(opened, server, workspace, width, scheme, locale):
    page, complaints, requests = opened(width, scheme, locale)
    assert page.evaluate("document.documentElement.lang") == {"en-US": "en", "zh-CN": "zh-CN"}[locale]
    page.set_input_files("input[type=file]", clip_of(workspace))
    text = shown(page, "result")
    assert re.search(r"clip 10\.mp4", text) and len(re.findall(r"\d\d\.\d%", text)) == 4  # the best one twice
    assert (
        page.locator("#classes .bar").count() == 3
        and page.locator("#frames img").count() == page.locator("#heat_maps img").count() == 3
    )
    assert page.evaluate("[...document.images].every((image) => image.naturalWidth > 0 && image.alt)")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, colour[4:-1].split(","))) < 100) == (scheme == "dark")
    assert complaints == [] and all(url.startswith((server.url, "data:")) for url in requests)


def test_the_language_can_be_switched_at_any_time_and_is_kept(opened, tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    page, *_ = opened()
    page.set_input_files("input[type=file]", tmp_path / "text.mp4")
    assert shown(page, "problem") == "text.mp4: not a readable video file."
    page.get_by_role("button", name="中文").click()
    assert page.locator("#problem").inner_text() == "无法读取这个视频：不是可读取的视频文件。"
    assert page.get_by_role("button", name="中文").get_attribute("aria-pressed") == "true"
    page.reload()
    assert page.locator("h1").inner_text() == "视频里发生了什么？" == page.title()
    words = "Object.values(WORDS).map((words) => Object.keys(words).join())"
    assert len(set(page.evaluate(words))) == 1  # no word lacks in one of them


def test_the_keyboard_is_enough(opened, workspace):
    page, complaints, _ = opened()
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.type") == "file":
            break
    assert page.evaluate("getComputedStyle(document.getElementById('drop')).outlineStyle") == "solid"
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(clip_of(workspace))
    shown(page, "result")
    assert page.evaluate("document.activeElement.tagName") == "H2" and complaints == []


def test_a_video_is_dropped_anywhere(opened, workspace):
    content = base64.b64encode(workspace.held_out[0][0].read_bytes()).decode()
    page, complaints, _ = opened()
    page.evaluate(DROP, [content, ["a.mp4", "b.mp4"]])
    assert shown(page, "problem") == "One video at a time, please."
    page.evaluate(DROP, [content, ["<img src=x onerror=alert(1)>.mp4"]])
    assert "<img src=x onerror=alert(1)>.mp4" in shown(page, "result") and complaints == []
    assert page.locator("#problem").is_hidden()


def test_what_is_too_large_is_told_before_it_is_sent(opened, tmp_path):
    (tmp_path / "large.mp4").write_bytes(bytes(1_000_001))
    page, complaints, requests = opened()
    page.set_input_files("input[type=file]", tmp_path / "large.mp4")
    assert shown(page, "problem") == "This file is larger than 1 MB, the most that this server takes."
    assert complaints == [] and not any("predict" in url for url in requests)


def test_progress_is_shown_and_can_be_cancelled(opened, workspace):
    page, *_ = opened()
    page.route("**/api/predict*", lambda route: None)  # as if it never ended
    page.set_input_files("input[type=file]", clip_of(workspace))
    assert re.match(r"Uploading: \d+%|Looking at the video", shown(page, "progress"))
    page.get_by_role("button", name="Cancel").click()
    assert page.locator("#progress").is_hidden() and page.locator("#problem").is_hidden()
    page.unroute("**/api/predict*")
    page.route("**/api/predict*", lambda route: route.abort())
    page.set_input_files("input[type=file]", clip_of(workspace))
    assert shown(page, "problem").startswith("The server cannot be reached, or the connection broke.")
    page.unroute("**/api/predict*")
    page.get_by_role("button", name="Try again").click()
    shown(page, "result")


def test_docs_fit_on_a_phone(opened, server):
    page, complaints, _ = opened(390)
    page.goto(f"{server.url}/docs")
    assert page.evaluate("document.documentElement.scrollWidth") == 390 and complaints == []
    assert "POST /api/predict" in page.locator("h2").all_inner_texts()
