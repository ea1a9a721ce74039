"""The page of serve.py in a real browser: mouse, keyboard and dropping, wide and narrow, in both languages."""

import base64
import re

import pytest

from chromium import contrast, needs_chromium
from conftest import LABELS
from page_browser import clip, clip_of, opened, shown, tabs

__all__ = ["clip", "opened", "tabs"]  # fixtures
pytestmark = needs_chromium

DROP = """([content, names]) => {
    const data = new DataTransfer();
    const bytes = Uint8Array.from(atob(content), (c) => c.charCodeAt(0));
    for (const name of names) data.items.add(new File([bytes], name, { type: "video/mp4" }));
    for (const kind of ["dragenter", "dragover", "drop"])
        document.body.dispatchEvent(new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true }));
}"""


@pytest.mark.parametrize("width, scheme, locale", [(390, "dark", "zh-CN"), (1280, "light", "en-US")])
def test_a_chosen_video_is_answered_with_its_frames(opened, server, clip, width, scheme, locale):
    page, complaints, requests = opened(width, scheme, locale)
    assert page.evaluate("document.documentElement.lang") == {"en-US": "en", "zh-CN": "zh-CN"}[locale]
    page.set_input_files("input[type=file]", clip)
    text = shown(page, "result")
    assert len(re.findall(r"\d\d\.\d%", text)) == 3 and "_" not in text  # the best class appears only once
    assert page.locator("#classes .bar").count() == 2 and page.locator("#frames img").count() == 3
    assert page.evaluate("[...document.images].every((image) => image.naturalWidth > 0 && image.alt)")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    # The answer is visible without scrolling.
    title = page.locator("#result h2").bounding_box()
    assert page.evaluate("scrollY") == 0 and title["y"] + title["height"] < 844
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, colour[4:-1].split(","))) < 100) == (scheme == "dark")
    assert complaints == [] and all(url.startswith((server.url, "data:", "blob:")) for url in requests)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_the_task_comes_first(opened, scheme):
    page, *_ = opened(390, scheme)
    top = "(id) => document.querySelector(id).getBoundingClientRect().top"
    assert page.evaluate(top, "#choose") < page.evaluate(top, ".languages")
    assert "drop" not in page.locator("main").inner_text()
    colour = "([part, kind]) => getComputedStyle(document.querySelector(part))[kind]"
    parts = [["#drop", "borderTopColor"], ["body", "backgroundColor"]]
    assert contrast(*(page.evaluate(colour, part) for part in parts)) >= 3  # WCAG 1.4.11


def test_progress_is_announced_in_quarters(opened):
    page, *_ = opened()
    said = page.evaluate("""() => {
        const row = { id: 1, name: "a.mp4", size: 1, state: "busy" }, said = new Set();
        rows = [row];
        for (row.share = 0; row.share <= 1; row.share += 1 / 64) {
            show();
            said.add(document.getElementById("said").textContent);
        }
        return [...said];
    }""")
    assert said == [*(f"Uploading: {share}%" for share in (0, 25, 50, 75)), "Looking at the video …"]


def test_the_language_can_be_switched_at_any_time_and_is_kept(opened, tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    page, *_ = opened()
    page.set_input_files("input[type=file]", tmp_path / "text.mp4")
    assert shown(page, "problem").splitlines()[:2] == ["text.mp4", "Not a readable video file."]
    page.get_by_role("button", name="中文").click()
    assert shown(page, "problem").splitlines()[:2] == ["text.mp4", "不是可读取的视频文件。"]
    assert page.get_by_role("button", name="中文").get_attribute("aria-pressed") == "true"
    page.reload()
    assert page.locator("h1").inner_text() == "视频里发生了什么？" == page.title()
    words = "Object.values(WORDS).map((words) => Object.keys(words).join())"
    assert len(set(page.evaluate(words))) == 1  # both languages have the same words


def test_the_keyboard_is_enough(opened, workspace):
    page, complaints, _ = opened()
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "choose":
            break
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(clip_of(workspace))
    shown(page, "result")
    assert page.evaluate("document.activeElement.tagName") == "H2" and complaints == []


def test_enter_sends_the_token(opened):
    page, *_ = opened(390, locale="zh-CN")

    def check(route) -> None:
        right = route.request.headers.get("authorization") == "Bearer right"
        route.continue_() if right else route.fulfill(status=401)

    page.route("**/api/info", check)
    page.reload()
    page.wait_for_selector("#secret:not([hidden])")
    assert "管理员" in page.locator("#secret").inner_text() and page.locator("#limits").inner_text() == ""
    page.locator("#secret input[type=password]").fill("right")
    page.keyboard.press("Enter")
    page.wait_for_selector("#limits:not(:empty)")
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_a_video_is_dropped_anywhere(opened, workspace):
    content = base64.b64encode(workspace.held_out[0][0].read_bytes()).decode()
    page, complaints, _ = opened()
    page.evaluate(DROP, [content, []])
    assert shown(page, "problem").startswith("This is a folder")
    page.evaluate(DROP, [content, ["<img src=x onerror=alert(1)>.mp4"]])
    shown(page, "result")
    assert "<img src=x onerror=alert(1)>.mp4" in shown(page, "clip") and complaints == []
    assert page.locator("#problem").is_hidden()


def test_a_file_that_is_too_large_is_not_sent(opened, tmp_path):
    (tmp_path / "large.mp4").write_bytes(bytes(1_000_001))
    page, complaints, requests = opened()
    page.set_input_files("input[type=file]", tmp_path / "large.mp4")
    assert "This file is larger than 1 MB" in shown(page, "problem")
    assert complaints == [] and not any("predict" in url for url in requests)


def test_progress_is_shown_and_can_be_cancelled(opened, workspace):
    page, *_ = opened()
    page.route("**/api/predict*", lambda route: None)  # the answer never comes
    page.set_input_files("input[type=file]", clip_of(workspace))
    assert re.match(r"Uploading: \d+%|Looking at the video", shown(page, "progress"))
    page.get_by_role("button", name="Cancel").click()
    assert page.locator("#progress").is_hidden() and page.locator("#problem").is_hidden()
    page.unroute("**/api/predict*")
    page.route("**/api/predict*", lambda route: route.abort())
    page.set_input_files("input[type=file]", clip_of(workspace))
    assert "The server cannot be reached" in shown(page, "problem")
    page.unroute("**/api/predict*")
    page.get_by_role("button", name="Try again").click()
    shown(page, "result")


def test_the_page_for_programs_fits_on_a_phone(opened, server):
    page, complaints, _ = opened(390)
    page.goto(f"{server.url}/docs")
    assert page.evaluate("document.documentElement.scrollWidth") == 390 and complaints == []
    assert "POST /api/predict" in page.locator("h2").all_inner_texts()


def test_the_camera_is_answered_beside_its_picture(opened):
    page, complaints, _ = opened(390, locale="zh-CN")
    page.locator("#watch").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#camera:not([hidden])")
    assert page.evaluate("document.activeElement.id") == "stop"
    page.wait_for_selector("#live .bar")
    assert page.locator("#live .bar").count() == 2
    assert re.fullmatch(r" · \d+\.\d%", page.locator("#sure").text_content())
    assert page.locator("#seen").inner_text() in [label.replace("_", " ") for label in LABELS]
    assert page.evaluate("document.querySelector('#camera video').videoWidth") > 0
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    with page.expect_response("**/api/predict") as answered:  # the next piece follows by itself
        pass
    page.set_viewport_size({"width": 1280, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") == 1280
    assert answered.value.status == 200
    page.keyboard.press("Enter")
    assert page.locator("#camera").is_hidden() and page.evaluate("document.activeElement.id") == "watch"
    assert complaints == []


def test_a_missing_camera_is_reported_in_a_sentence(opened):
    page, _, _ = opened()
    page.evaluate("() => { navigator.mediaDevices.getUserMedia = () => Promise.reject(new Error('none')); }")
    page.locator("#watch").click()
    assert shown(page, "problem").startswith("The camera cannot be used")
