"""Pages and timelines of videos with several classes."""

import json
import re
from pathlib import Path

import numpy as np

from inference.label_kinds import MANY, ONE, told
from metrics.sums import MISTAKES_KEPT
from report_rows import many_rows
from results.evaluations import ManyLabelResults
from results.pages.caption import Caption
from results.pages.many_labels import ERROR, MISSED, NO_ERROR, WRONG, ManyVideos
from results.pages.palette import NOTHING, Palette
from results.pages.prediction import ListSums, write_prediction_page
from results.pages.timeline import described, stretches_of, strip_of, write_subtitles


def said(*labels: str) -> list[dict]:
    """Return predictions of these classes, named a, b, c and so on; without labels, the prediction `none`."""
    found = [{"class_id": ord(label) - ord("a"), "label": label, "probability": 0.9} for label in labels]
    return found or [{"class_id": -1, "label": "none", "probability": 0.6}]


ROWS = [
    {"position": i, "video": f"{i}.mp4", "predictions": said(*labels)}
    for i, labels in enumerate(("a", "ab", "ba", "", "abc"))
]
# Windows of two seconds, one every second. Each moment belongs to the window with the nearest middle.
RECORDS = [
    {"video": "x.mp4", "start": i, "end": i + 2, "predictions": said(*labels)}
    for i, labels in enumerate(("a", "ab", "b", "", "b"))
]


def test_a_list_counts_combinations_and_single_classes():
    sums = ListSums(ROWS, MANY)
    assert {sums.labels[k]: number for k, number in sums.named.items()} == {
        "a": 1,
        "a + b": 2,
        "none": 1,
        "a + b + c": 1,
    }
    assert sums.each() == {"videos of each class": "a 4, b 3, none 1, c 1"}
    assert ListSums(ROWS).each() == {}  # with one label, only the best class counts


def test_a_labelled_frame_has_all_predicted_classes():
    assert [len(told(kind, said(*"abcde"))) for kind in (ONE, MANY)] == [3, 5]
    heights = []
    for number in (3, 5):
        frame = np.zeros((240, 320, 3), np.uint8)
        Caption(said(*"abcde"[:number]), 320, 240).put(frame)
        heights.append(np.ptp(np.argwhere(frame.any(axis=2))[:, 0]))
    assert heights[1] > 1.5 * heights[0]


def test_each_class_has_a_lane_of_the_strip():
    strip = strip_of(RECORDS, Palette({0: 1.0, 1: 2.0}, {0: "a", 1: "b"}), kind=MANY)
    # b has most of the 6 seconds and comes first. Both lanes have a gap where no class is predicted.
    assert [[(round(6 * share, 2), colour) for share, colour, _ in lane] for lane in strip.lanes] == [
        [(1.5, NOTHING), (2.0, 1), (1.0, NOTHING), (1.5, 1)], [(2.5, 0), (3.5, NOTHING)],
    ]  # fmt: skip
    assert (strip.windows, strip.stretches, strip.merged, strip.left_out) == (5, 4, 1, 0)
    many = [{"video": "x.mp4", "start": 0, "end": 2, "predictions": said(*"abcdefgh")}]
    strip = strip_of(many, Palette({}, {}), kind=MANY)
    assert (len(strip.lanes), strip.left_out, len(strip.totals)) == (6, 2, 8)
    nothing = strip_of([RECORDS[3]], Palette({}, {}), kind=MANY)
    assert [[colour for _, colour, _ in lane] for lane in nothing.lanes] == [[NOTHING, NOTHING]]


def test_the_page_of_a_list(tmp_path):
    write_prediction_page(tmp_path / "a.html", ROWS, {}, lambda positions: (), {0: RECORDS}, kind=MANY)
    html = (tmp_path / "a.html").read_text()
    assert (
        "a + b + c" in html
        and "classes or combinations of classes" in html
        and "videos of each class" in html
        and '["a + b"' in html
    )


def test_each_class_has_its_stretches(tmp_path):
    found = [(s.label, s.start, s.end) for s in stretches_of(RECORDS, MANY)]
    assert found == [("a", 0, 2.5), ("b", 1.5, 3.5), ("none", 3.5, 4.5), ("b", 4.5, 6)]
    assert described(RECORDS, MANY).splitlines() == [
        "      0:00 to 0:02  a",
        "      0:02 to 0:04  b",
        "      0:04 to 0:04  none",
        "      0:04 to 0:06  b",
        "  stretches    total  longest  class",
        "          2     0:04     0:02  b",
        "          1     0:02     0:02  a",
        "          1     0:01     0:01  none",
    ]
    write_subtitles(tmp_path / "x.vtt", RECORDS, MANY)
    assert "00:00:01.500 --> 00:00:02.500\na 90%\nb 90%\n" in (tmp_path / "x.vtt").read_text()


# Of four classes; the first video has an error of each kind, and the last one is right.
LABELS = [[1, 0, 0, 1], [0, 1, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0]]
SHARES = [[0.9, 0.2, 0.7, 0.3], [0.1, 0.8, 0.01, 0.1], [0.1, 0.3, 0.1, 0.1], [0.3, 0.5, 0.2, 0.1]]


def evaluation_page(folder: Path, rows: list[dict], frames=lambda positions: (), names: str = "abcd", **metrics) -> str:
    results = ManyLabelResults(list(names), [0.5] * len(names))
    sums = results.sums(rows)
    page = folder / "report.html"
    results.write_page(page, rows, sums, {**results.metrics(sums, 1.0), **metrics}, {}, frames, folder)
    return page.read_text()


def test_the_page_of_an_evaluation_names_doubts_files_and_the_next_command(tmp_path):
    folder = tmp_path / "a run"
    folder.mkdir()
    html = evaluation_page(folder, many_rows(SHARES, LABELS), names=["<a>", "b", "c", "d"], repeated=1, in_train_list=2)
    assert "Also in the training list: 2 of these videos" in html and "an earlier line: 1." in html
    assert 'href="predictions.csv"' in html and "confusion.csv" not in html.partition("</style>")[2]
    assert f"python tools/compare.py &#39;{folder}&#39; " in html and "<bdi>&lt;a&gt;</bdi>" in html


def test_the_videos_of_an_evaluation_have_their_missed_and_wrong_classes(tmp_path):
    html = evaluation_page(tmp_path, [*many_rows(SHARES, LABELS), {"position": 4, "video": "x", "error": "torn"}])
    [table] = re.findall(r'<script type="application/json">(.*?)</script>', html)
    rows = json.loads(table)["rows"]
    # The most errors first, then the highest loss: 1 misses class 2 with 1%, and 2 misses class 0 with 10%.
    assert rows["position"] == [0, 1, 2, 3] and rows["errors"] == [2, 1, 1, 0]
    assert rows["true"] == [[[0], [3]], [[1], [2]], [[0]], [[1]]]
    shares = [[[k, round(share / 1e6, 3)] for k, share in found] for found in rows["named"]]
    assert shares == [[[0, 0.9], [2, 0.7]], [[1, 0.8]], [], [[1, 0.5]]]  # a probability equal to its threshold counts
    assert [[k for k, _ in found] for found in rows["missed"]] == [[3], [2], [0], []]
    assert [[k for k, _ in found] for found in rows["wrong"]] == [[2], [], [], []]
    kinds = [[ERROR, MISSED, WRONG], [ERROR, MISSED], [ERROR, MISSED], [NO_ERROR]]
    assert rows["kinds"] == [[[kind] for kind in found] for found in kinds]
    assert "3 with errors" in html and "1 unreadable" in html
    # A class can be chosen only where it is found, and its counts list its videos.
    choices = re.findall(r'<select data-filter="wrong".*?</select>', html, re.DOTALL)[0]
    assert re.findall(r'<option value="(\d)"', choices) == ["2"]
    assert """data-pick='{"missed": 3}'>1<""" in html and """data-pick='{"wrong": 3}'""" not in html


def test_frames_are_of_the_videos_with_the_most_errors(tmp_path):
    asked = []

    def frames(positions):
        asked.extend(positions)
        return ((position, np.zeros((2, 8, 8, 3), np.uint8)) for position in positions if position != 1)

    html = evaluation_page(tmp_path, many_rows(SHARES, LABELS), frames)
    assert asked == [0, 1, 2] and html.count('<div class="strip"') == 2
    assert html.count('<article class="card"') == 3 and "The frames could not be read again." in html
    videos = ManyVideos(many_rows(SHARES * 20, LABELS * 20), [0.5] * 4)
    assert videos.faulty == 60 and [row["position"] for row in videos.pictured[:2]] == [0, 4]
    assert len(videos.pictured) == MISTAKES_KEPT and {row["errors"] for row in videos.pictured} == {1, 2}


def test_without_errors_all_videos_are_shown_and_no_frames(tmp_path):
    html = evaluation_page(tmp_path, many_rows(SHARES[3:], LABELS[3:])).partition("</style>")[2]
    assert "0 with errors" in html and '<option value="1" selected' not in html and '<article class="card"' not in html


def test_many_videos_with_many_classes_stay_small(tmp_path):
    """A card names at most a few classes of a kind, and the table keeps its limit of bytes."""
    [row] = many_rows([[0.9] * 6 + [0.1] * 6], [[0] * 6 + [1] * 6])  # six errors of each kind
    rows = [row | {"position": i, "video": f"{i}{'x' * 600}"} for i in range(4000)]
    html = evaluation_page(tmp_path, rows, names=[f"class {k}" for k in range(12)])
    assert len(html.encode()) < 3e6 and "of 4,000 videos: those with the most errors" in html
    assert html.count("wrongly named:</span>") == 6 * MISTAKES_KEPT and html.count(">1 more<") == 2 * MISTAKES_KEPT
