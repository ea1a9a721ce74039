"""The page of one video: its numbers come from its windows, and a browser plays it and reads its values."""

import json
import re
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from chromium import needs_chromium, tabs
from inference.rows import NONE, NONE_ID
from report_rows import HOSTILE
from results.pages.annotated_video import add_pictures, put_picture
from results.pages.page import shorten
from results.pages.palette import Palette
from results.pages.video import MOST_COLUMNS, curves_of, write_video_page
from results.pages.words import in_english

pytest.importorskip("jinja2")
__all__ = ["tabs"]  # a fixture
NAMES = {0: "fight", 1: HOSTILE, NONE_ID: NONE}
FRAMES = np.zeros((3, 32, 32, 3), np.uint8)


def said(*shares: tuple[int, float]) -> list[dict]:
    return [{"class_id": k, "label": NAMES.get(k, f"class {k}"), "probability": share} for k, share in shares]


def windows(*answers: list[dict], length: float = 10.0) -> list[dict]:
    return [{"start": length * i, "end": length * (i + 1), "predictions": of} for i, of in enumerate(answers)]


FIGHT, OTHER, UNSURE = said((0, 0.9), (1, 0.1)), said((1, 0.75), (0, 0.25)), said((NONE_ID, 0.4), (0, 0.6), (1, 0.4))
RECORDS = windows(FIGHT, FIGHT, OTHER, UNSURE, FIGHT, OTHER, OTHER, OTHER, OTHER, OTHER)


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    """Provide the page of a playable video of 100 s that lies beside the page's folder."""
    folder = tmp_path_factory.mktemp("video")
    with av.open(str(folder / "a #1.mp4"), "w") as file:
        stream = add_pictures(file, np.zeros((48, 64, 3), np.uint8), rate=1, pixel_shape=Fraction(1))
        for second in range(100):
            put_picture(file, stream, np.full((48, 64, 3), 2 * second, np.uint8), second)
        file.mux(stream.encode(None))
    (folder / "out").mkdir()
    row = {"video": str(folder / "a #1.mp4"), "predictions": OTHER}
    files = [folder / "out" / "a #1.vtt"]
    write_video_page(
        folder / "out" / "report.html", row, {"list": HOSTILE}, FRAMES, RECORDS, FRAMES, 0.0, files, folder / "out"
    )
    return folder / "out" / "report.html"


def test_the_headline_and_the_table_come_from_the_windows(page):
    html = page.read_text("utf-8")
    text = in_english(html.partition("</style>")[2].partition("<script")[0])
    assert f"a #1.mp4: {shorten(HOSTILE, 60)} for 1:00 of 1:40" in text and "10 windows, 5 stretches" in text
    rows = [in_english(row) for row in html.partition("<tbody>")[2].partition("</tbody>")[0].split("</tr>")[:-1]]
    assert rows == [f"{HOSTILE}21:0050.0 s0:20", "fight230.0 s20.0 s0:00", "none of them110.0 s10.0 s0:30"]
    for address in ('src="../a%20%231.mp4"', 'href="a%20%231.vtt"', 'href="timeline.csv"', 'href="timeline.json"'):
        assert address in html
    assert "Nothing in these frames supports the class: the strongest place has 0.00" in text


@pytest.mark.parametrize(
    "files, beside, played",
    [
        (["v.vtt", "v.labelled.mp4"], True, "v.labelled.mp4"),
        (["v.labelled.mp4"], False, "v.labelled.mp4"),
        (["v.vtt"], True, "../v.mp4"),
        (["v.vtt"], False, None),  # the page will lie in object storage
    ],
)
def test_the_labelled_copy_is_played_before_the_original(tmp_path, files, beside, played):
    (tmp_path / "v.mp4").touch()
    out = tmp_path / "out"
    out.mkdir()
    row = {"video": str(tmp_path / "v.mp4"), "predictions": OTHER}
    files = [out / name for name in files]
    write_video_page(out / "report.html", row, {}, FRAMES, RECORDS, files=files, beside=out if beside else None)
    html = (out / "report.html").read_text("utf-8")
    assert re.findall('<video [^>]*src="(.*?)"', html) == ([played] if played else [])


def test_the_title_may_break_within_a_class_name(tmp_path):
    row = {"video": "v.mp4", "predictions": [{"class_id": 0, "label": "opening_a_door", "probability": 0.6}]}
    write_video_page(tmp_path / "report.html", row, {}, FRAMES)
    html = (tmp_path / "report.html").read_text("utf-8")
    assert ": opening_<wbr>a_<wbr>door 60.0%" in html and "<title>v.mp4: opening_a_door 60.0%</title>" in html


@pytest.mark.parametrize("strongest, is_said", [(0.0, True), (-1.5, True), (1e-3, False), (None, False)])
def test_dark_heat_maps_are_explained(tmp_path, strongest, is_said):
    row = {"video": "gone.mp4", "predictions": said((NONE_ID, 0.4), (0, 0.6))}
    write_video_page(tmp_path / "report.html", row, {}, FRAMES, heat_maps=FRAMES, strongest=strongest)
    text = in_english((tmp_path / "report.html").read_text("utf-8").partition("</style>")[2])
    assert ("Nothing in these frames supports the class" in text) == is_said != ("evidence: 0 or less" in text)
    assert "gone.mp4: none, the most probable is fight 60.0%" in text and "Where the network sees fight" in text
    assert "<video" not in text and "timeline.csv" not in text


def test_a_curve_has_gaps_where_its_class_was_not_kept():
    records = windows(said((0, 0.9), (1, 0.1)), said((2, 0.5), (0, 0.3)))
    curves = curves_of(records, Palette({0: 2.0, 1: 1.0, 2: 3.0}, {k: str(k) for k in range(3)}))
    assert curves["columns"] == [[0, 10, [900, 100, None]], [10, 20, [300, None, 500]]]
    assert curves["paths"] == [(0, "M0 10H500V70H1000"), (1, "M0 90H500"), (2, "M500 50H1000")]
    assert (curves["step"], curves["missing"]) == (1, True)
    assert curves["marks"] == [(0, "0:00"), (25, "0:05"), (50, "0:10"), (75, "0:15")]


def test_many_windows_are_averaged_in_columns():
    records = windows(*[FIGHT, OTHER] * MOST_COLUMNS, length=0.5)
    curves = curves_of(records, Palette({0: 1.0, 1: 1.0}, NAMES))
    assert (curves["step"], curves["missing"], len(curves["columns"])) == (2, False, MOST_COLUMNS)
    assert curves["columns"][3] == [3.0, 4.0, [575, 425]]
    assert len(json.dumps(curves)) < 200_000


@needs_chromium
@pytest.mark.parametrize("width, scheme, locale", [(390, "dark", "zh-CN"), (1280, "light", "en-US")])
def test_the_pointer_shows_values_and_a_click_jumps(page, tabs, width, scheme, locale):
    tab, complaints, requests = tabs.open(page.as_uri(), width, scheme, locale)
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    plot, values = tab.locator(".plot"), tab.locator(".said")
    box = plot.bounding_box()
    plot.hover(position={"x": 0.25 * box["width"], "y": 40})
    assert values.inner_text().split("\n")[0].startswith("0:20 – 0:30") and "75.0%" in values.inner_text()
    plot.click(position={"x": 0.45 * box["width"], "y": 40})
    assert tab.evaluate("document.getElementById('video').currentTime") == pytest.approx(45, abs=1)
    assert "0:40 – 0:50" in values.inner_text() and "90.0%" in values.inner_text()
    tab.get_by_role("button", name="0:30").click()
    assert tab.evaluate("document.getElementById('video').currentTime") == 30
    plot.focus()
    tab.keyboard.press("ArrowLeft")
    assert plot.get_attribute("aria-valuetext").startswith("0:20 – 0:30")
    assert tab.evaluate("window.hacked") is None
    assert complaints == [] and all(url.startswith(("file:", "data:")) for url in requests)


@needs_chromium
def test_an_unplayable_video_is_replaced_by_a_line(tabs, tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"no video")
    row = {"video": str(tmp_path / "a.mp4"), "predictions": OTHER}
    write_video_page(tmp_path / "report.html", row, {}, FRAMES, beside=tmp_path)
    tab, *_ = tabs.open((tmp_path / "report.html").as_uri())
    tab.wait_for_selector("#no_player:not([hidden])")
    assert not tab.locator("video").is_visible()
