"""The page of an evaluation with many labels in a real browser: its videos, their filters, and what can be saved."""

import csv

import numpy as np
import pytest

from chromium import needs_chromium, tabs
from report_rows import HOSTILE, many_rows
from results.evaluations import ManyLabelResults
from results.pages.many_labels import ERROR, MISSED, NO_ERROR, WRONG
from results.pages.page import shorten

pytest.importorskip("jinja2")
__all__ = ["tabs"]  # a fixture
pytestmark = needs_chromium
NAMES = ["running", "waving", shorten(HOSTILE, 60)]
# Of each video: classes that are missed, wrongly named, rightly named.
VIDEOS = ["0/1/", "0/1/2", "/1/0", "2//0", "//01", "01/2/"]


@pytest.fixture(scope="module")
def page_of_many(tmp_path_factory):
    """Provide the path of a page of 60 videos: ten times VIDEOS."""
    kinds = [[set(map(int, part)) for part in video.split("/")] for video in VIDEOS] * 10
    labels = [[int(k in missed | right) for k in range(3)] for missed, _, right in kinds]
    shares = [[0.75 if k in wrong | right else 0.25 for k in range(3)] for _, wrong, right in kinds]
    rows, results = many_rows(shares, labels), ManyLabelResults([*NAMES[:2], HOSTILE], [0.5] * 3)
    sums, path = results.sums(rows), tmp_path_factory.mktemp("many") / "report.html"
    frames = ((i, np.full((3, 32, 32, 3), i, np.uint8)) for i in range(60))
    results.write_page(path, rows, sums, results.metrics(sums, 1.0), {}, lambda few: frames, path.parent)
    return path


def check_opened(page, complaints: list, requests: list, address: str) -> None:
    """Check that the page fits its window, loads no other file, and runs no name as a script."""
    assert complaints == [] and [url for url in requests if url[:5] != "data:"] == [address]
    assert page.evaluate("document.documentElement.scrollWidth === innerWidth && window.hacked === undefined")
    assert page.locator(".videos .thumbnail img").count() > 0


def test_videos_are_filtered_by_class_and_kind_of_error(tabs, page_of_many):
    page, complaints, requests = tabs.open(page_of_many.as_uri())
    check_opened(page, complaints, requests, page_of_many.as_uri())
    said = page.locator(".videos output")

    def chosen(**picked: int) -> int:
        """Choose these values of the filters, and clear all others. Return the number of videos found."""
        choose = """picked => {
            document.querySelector(".videos .all").click();
            for (const [name, value] of Object.entries(picked)) {
                const field = document.querySelector(`.videos select[data-filter=${name}]`);
                field.value = value;
                field.dispatchEvent(new Event("input"));
            }
            return parseInt(document.querySelector(".videos output").textContent);
        }"""
        return page.evaluate(choose, picked)

    assert said.text_content() == "50 of 60 videos"  # with errors
    errors = page.locator(".videos tbody tr > :nth-child(2)").all_text_contents()
    assert errors == ["3"] * 10 + ["2"] * 20 + ["1"] * 20
    assert [chosen(kinds=kind) for kind in (NO_ERROR, ERROR, MISSED, WRONG)] == [10, 50, 40, 40]
    assert [chosen(missed=k) for k in range(3)] == [30, 10, 10] and chosen(missed=0, wrong=1) == 20
    assert chosen(true=0, named=0) == 30 and chosen(wrong=2, kinds=MISSED) == 10
    # A class's counts list its videos, with only their frames.
    page.locator("""[data-pick='{"missed": 2}']""").click()
    assert said.text_content() == "10 of 60 videos" and page.locator(".card:visible").count() == 0
    page.get_by_role("button", name="waving").dispatch_event("click")  # the page still scrolls
    assert said.text_content() == "20 of 60 videos" and complaints == []


def test_columns_of_classes_are_sorted_and_saved(tabs, page_of_many):
    page, complaints, requests = tabs.open(page_of_many.as_uri(), 390, "dark", "zh-CN")
    check_opened(page, complaints, requests, page_of_many.as_uri())
    assert page.locator(".videos th:nth-child(3)").inner_text().startswith("漏判")
    page.locator(".videos th[data-column=missed] button").click(click_count=2)
    with page.expect_download() as download:
        page.locator(".videos .save").click()
    rows = list(csv.DictReader(download.value.path().read_text("utf-8-sig").splitlines()))
    # By the number of classes, then by their names.
    assert [row["missed"].count(";") for row in rows[:12]] == [1] * 10 + [0] * 2 and rows[0]["missed"].startswith("run")
    assert [row["missed"] for row in rows[-10:]] == [""] * 10
    [row] = [row for row in rows if row["video"] == "clips/1.mp4"]
    assert (row["errors"], row["labels"], row["missed"]) == ("2", f"running; {NAMES[2]}", "running 0.25")
    assert row["wrongly_named"] == "waving 0.75" and row["predicted"] == f"waving 0.75; {NAMES[2]} 0.75"
    assert complaints == []
