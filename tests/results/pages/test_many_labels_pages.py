"""Pages and timelines of videos with several classes."""

import numpy as np

from inference.label_kinds import MANY, ONE, told
from metrics.many import ManyScores
from results.pages.caption import Caption
from results.pages.many_labels import write_many_page
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


def test_the_page_of_an_evaluation_names_doubts_files_and_the_next_command(tmp_path):
    labels = np.array([[1, 0], [1, 1], [0, 1]], np.uint8)
    sums = ManyScores.of(np.array([[0.9, 0.2], [0.8, 0.6], [0.3, 0.7]], np.float32), labels)
    means = dict.fromkeys(("mean_f1", "mean_precision", "mean_recall"), 50.0)
    metrics = {**sums.means, "loss": 0.5, **means, "repeated": 1, "in_train_list": 2}
    folder = tmp_path / "a run"
    folder.mkdir()
    page = folder / "report.html"
    write_many_page(page, sums, sums.classes([0.5, 0.5]), metrics, ["<a>", "b"], {}, folder)
    html = page.read_text()
    assert "Also in the training list: 2 of these videos" in html and "an earlier line: 1." in html
    assert 'href="predictions.csv"' in html and "confusion.csv" not in html.partition("</style>")[2]
    assert f"python tools/compare.py &#39;{folder}&#39; " in html and "<bdi>&lt;a&gt;</bdi>" in html
