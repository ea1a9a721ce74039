"""The page of serve.py with answers: for one video, for several, and for errors."""

import csv
import io
import json
import re

import pytest

from chromium import needs_chromium, until
from conftest import LABELS
from page_browser import answer_of, answer_with, clip, clip_of, drawing, opened, shown, tabs

__all__ = ["clip", "opened", "tabs"]  # fixtures
pytestmark = needs_chromium


def test_the_video_appears_at_once_and_plays_from_a_frame(opened, clip):
    page, complaints, _ = opened()
    page.route("**/api/predict*", lambda route: None)  # the answer never comes
    page.set_input_files("input[type=file]", clip)
    until(page, "document.querySelector('#clip video').duration === 3")
    assert page.locator("#clip").inner_text() == 'a "long" clip.mp4 · 0:03 · ' + page.evaluate("bytes(rows[0].size)")
    page.get_by_role("button", name="Cancel").click()
    page.unroute("**/api/predict*")
    page.set_input_files("input[type=file]", clip)
    shown(page, "result")
    page.wait_for_selector("#frames button")
    assert page.locator("#frames button").all_inner_texts() == ["0:00.5", "0:01.5", "0:02.5"]
    page.locator("#frames button").nth(1).click()
    until(page, "player.currentTime >= 1.5 && !player.paused")
    assert complaints == []


def test_the_classes_do_not_wait_for_the_heat_maps(opened, clip):
    page, *_ = opened()
    held = []
    page.route("**/api/predict?heat_maps=true", lambda route: held.append(route))
    page.set_input_files("input[type=file]", clip)
    shown(page, "result")
    page.get_by_text("Looking for where the network sees it").wait_for()
    maps = [drawing(colour) for colour in ("red", "blue", "green")]
    held[0].fulfill(status=500, json={"error": "the server failed"})
    page.get_by_role("button", name="Show where the network sees it").click()  # after a failure the reader asks
    page.get_by_text("Looking for where the network sees it").wait_for()
    held[1].fulfill(body=json.dumps(answer_of(1, heat_maps=maps)), content_type="application/json")
    page.wait_for_selector("#heat_maps .scale")
    assert page.locator("#heat_maps img").count() == 3


@pytest.mark.parametrize(
    "frames, title",
    [
        (["red", "blue", "green"], "3 frames that the network saw"),
        (["red", "blue", "red"], "The network looked 3 times: 2 different frames"),
        (["red", "red", "red"], "The network looked 3 times: 1 different frame"),
    ],
)
def test_a_frame_that_two_segments_chose_is_shown_once(opened, clip, frames, title):
    page, *_ = opened()
    pictures = [drawing(colour) for colour in frames]
    answer_with(page, body=answer_of(1, frames=pictures, heat_maps=[]))
    page.set_input_files("input[type=file]", clip)
    page.wait_for_selector("#frames h3")
    assert page.locator("#frames h3").inner_text() == title
    assert page.locator("#frames img").count() == len(set(frames))
    until(page, "!document.getElementById('heat_maps').children.length")  # the answer has no heat maps


def test_numbers_are_written_for_people(opened):
    page, *_ = opened()
    shares = page.evaluate("[0, 1e-6, 0.001, 0.5, 0.9999, 1].map((share) => percent(share))")
    assert shares == ["0.0%", "<0.1%", "0.1%", "50.0%", ">99.9%", "100.0%"]
    assert page.evaluate("[600, 60, 90, 5].map(duration)") == ["10 minutes", "1 minute", "90 seconds", "5 seconds"]
    assert page.evaluate("[clock(3), clock(59.96, 1), clock(125)]") == ["0:03", "1:00.0", "2:05"]
    page.get_by_text("About the model and the limits").click()
    assert "Longest video\n5 seconds" in page.locator("#facts").inner_text()


def test_an_answer_can_be_copied_and_saved_and_survives_back(opened, clip):
    page, complaints, _ = opened()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.set_input_files("input[type=file]", clip)
    before = shown(page, "result")
    page.get_by_role("button", name="Copy").click()
    page.get_by_role("button", name="Copied").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()").splitlines()
    assert copied[0] == 'a "long" clip.mp4' and len(copied) == 4 and before.startswith(copied[1].replace("\t", " · "))
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save as JSON").click()
    entry = json.loads(saved.value.path().read_text())
    assert entry["video"] == copied[0] and entry["predictions"][0]["label"] in LABELS
    assert page.locator("#drop").is_hidden()  # a button takes its place
    page.get_by_role("link", name="For programs").click()
    page.wait_for_url("**/docs")
    page.go_back()
    assert shown(page, "result") == before and page.locator("#frames img").count() == 3
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Another video").click()
    chooser.value.set_files(clip)
    page.wait_for_selector("#result:not([hidden])")
    assert complaints == []


def test_with_many_labels_all_predicted_classes_are_named(opened, clip, workspace):
    page, complaints, _ = opened()
    page.evaluate("info.labels = 'multi'; speak()")
    assert "names all classes that it sees" in page.locator("header .lead").inner_text()
    answer_with(page, body=answer_of(0.9, 0.5, 0.25))
    page.set_input_files("input[type=file]", clip)
    said = shown(page, "result").splitlines()
    assert said[0] == "class 0 + class 1 + class 2" and "Less likely" not in said
    assert said[1:] == ["Probability of each class", "class 0", "90.0%", "class 1", "50.0%", "class 2", "25.0%"]
    page.set_input_files("input[type=file]", [clip, clip_of(workspace)])
    until(page, "document.querySelectorAll('#queue tbody .n')[1]?.textContent")
    assert page.locator("#queue thead").inner_text().strip().split("\t")[1:] == ["Classes", "Probabilities"]
    line = page.locator("#queue tbody tr").nth(1).inner_text().strip().split("\t")[1:]
    assert line == ["class 0 + class 1 + class 2", "90.0% · 50.0% · 25.0%"]
    none = {"class_id": -1, "label": "none", "probability": 0.7}
    page.unroute("**/api/predict*")
    answer_with(page, body={"video": "video", "predictions": [none]})
    page.set_input_files("input[type=file]", clip)
    until(page, "document.querySelector('#result h2').textContent.startsWith('None')")
    assert shown(page, "result") == "None of the classes"
    assert complaints == []


def test_several_videos_get_a_table_whose_rows_open(opened, clip, workspace, tmp_path):
    (tmp_path / "text, no video.mp4").write_text("no video")
    page, *_ = opened()
    page.set_input_files("input[type=file]", [clip, tmp_path / "text, no video.mp4", clip_of(workspace)])
    page.wait_for_selector("#queue tbody tr")
    assert page.locator("#queue tbody tr").count() == 3
    page.wait_for_selector("#another:not([hidden])")
    page.set_viewport_size({"width": 390, "height": 700})
    assert page.locator("#queue .scroll").evaluate("box => box.scrollWidth <= box.clientWidth")
    # A reason has the width of two columns.
    spans = page.locator("#queue tbody td:visible").evaluate_all("cells => cells.map((cell) => cell.colSpan)")
    assert spans == [1, 1, 2, 1, 1]
    rows = page.locator("#queue tbody tr").all_inner_texts()
    assert re.fullmatch(r"clip 10\.mp4\t[a-z ]+\t\d+\.\d%", rows[2]) and "⚠ Not a readable video file." in rows[1]
    page.get_by_role("button", name="text, no video").click()
    assert shown(page, "problem").splitlines()[:1] == ["text, no video.mp4"] and page.locator("#result").is_hidden()
    page.get_by_role("button", name="clip 10.mp4").click()
    assert shown(page, "result").startswith(rows[2].split("\t")[1]) and page.locator("#problem").is_hidden()
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save as CSV").click()
    lines = list(csv.DictReader(io.StringIO(saved.value.path().read_text("utf-8-sig"))))
    assert [line["video"] for line in lines[2:5]] == ['a "long" clip.mp4', "text, no video.mp4", "clip 10.mp4"]
    assert lines[3]["error"] == "not a readable video file" and lines[4]["label"] in LABELS
    with page.expect_download() as saved:
        page.locator("#save_all_json").click()
    assert [len(entry.get("predictions", ())) for entry in json.loads(saved.value.path().read_text())] == [3, 0, 3]


LOGIN = "<!doctype html><title>Log in</title>"
PROBLEMS = [
    (200, LOGIN, "The answer did not come from this server. It may be a login page.", "log in", "登录页面"),
    (200, {"predictions": []}, "The answer did not come from this server", "log in", "登录页面"),
    (401, {"error": "the token is wrong"}, "The token is wrong.", "Type it above", "令牌错误"),
    (413, LOGIN, "The file is too large for this server.", "Choose a smaller video", "文件太大"),
    (422, {"error": "video: it lasts longer than 600 s"}, "It lasts longer than 600 s.", "Choose a shorter", "10 分钟"),
    (502, LOGIN, "The server failed (502).", "Try again in a moment.", "502"),
]


@pytest.mark.parametrize("status, body, what, following, chinese", PROBLEMS)
def test_a_problem_names_the_video_the_reason_and_the_remedy(opened, clip, status, body, what, following, chinese):
    page, complaints, _ = opened()
    page.locator("#secret").evaluate("(field) => { field.hidden = false; }")
    page.locator("#secret input[type=password]").fill("wrong")
    answer_with(page, status, body)
    page.set_input_files("input[type=file]", clip)
    text = shown(page, "problem")
    assert what in text and following in text and page.locator("#problem svg").is_visible()
    assert ('a "long" clip.mp4' in text) == (status != 401)
    page.get_by_role("button", name="中文").click()
    assert chinese in page.locator("#problem").inner_text() and not any("TypeError" in line for line in complaints)


def test_a_login_page_instead_of_the_description_is_reported_in_a_sentence(opened):
    page, complaints, _ = opened()
    answer_with(page, body=LOGIN, pattern="**/api/info")
    page.reload()
    assert "It may be a login page" in shown(page, "problem") and complaints == []


def test_a_busy_server_is_asked_again(opened, clip):
    page, *_ = opened()
    answer_with(page, 503, {"error": "too many"}, **{"Retry-After": "1"})
    page.set_input_files("input[type=file]", clip)
    page.get_by_text("The server is busy").first.wait_for()
    page.unroute("**/api/predict*")
    shown(page, "result")
