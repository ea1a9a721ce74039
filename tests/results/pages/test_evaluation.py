"""The figures of an evaluation's page, and the thresholds of two classes."""

import json
import re
from pathlib import Path

import pytest

from metrics.sums import sum_rows
from report_rows import two_class_rows
from results.pages.curves import SIDE
from results.pages.evaluation import write_evaluation_page

pytest.importorskip("jinja2")


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("two") / "report.html"
    rows = two_class_rows([0, 0, 0, 1, 1], [0.9, 0.8, 0.3, 0.75, 0.1])
    sums = sum_rows(rows, 2)
    write_evaluation_page(path, rows, sums, sums.accuracy.means, ["calm", "fight"], {}, lambda positions: ())
    return path


def test_accuracy_is_shown_beside_chance(two):
    html = two.read_text()
    assert "60.00% of 5 videos right" in html and "Guessing would be right for 50.0%" in html
    assert "Always answering calm, the most frequent class, would be right for 60.0%" in html
    # Recall 2/3 and 1/2, precision 2/3 and 1/2.
    assert "58.3%</strong>" in html and "precision 58.3%, recall 58.3%" in html
    assert "Most confused pairs" not in html and "Search classes" not in html


def test_each_threshold_has_its_counts(two):
    """The counts are true and false positives, false negatives, true negatives. The rarer class comes first."""
    found = re.findall(r'data-class="(\d)" data-counts="(.*?)"', two.read_text())
    assert [int(k) for k, _ in found] == [1, 0]
    fight, calm = (json.loads(counts) for _, counts in found)
    assert len(fight) == len(calm) == 101
    assert [calm[k] for k in (0, 29, 31, 50, 74, 76, 100)] == [
        [3, 2, 0, 0], [3, 1, 0, 1], [2, 1, 1, 1], [2, 1, 1, 1], [2, 1, 1, 1], [2, 0, 1, 2], [0, 0, 3, 2],
    ]  # fmt: skip
    assert [fight[k] for k in (0, 50, 89, 100)] == [[2, 3, 0, 0], [1, 1, 1, 2], [1, 0, 1, 3], [0, 0, 2, 3]]


def test_the_curves_are_drawn_with_their_areas(two):
    html = two.read_text()
    # Of the six pairs of a calm and a fight video, five are in order, for either class.
    assert html.count("ROC: area 0.833") == 2
    assert "average precision 0.917" in html and "average precision 0.833" in html
    paths = re.findall(r'<path class="line" d="(.*?)"', html)
    assert paths[2] == "M0.0 260.0L0.0 173.3L0.0 86.7L130.0 86.7L130.0 0.0L260.0 0.0" and SIDE == 260  # calm


def test_a_class_without_videos_has_no_thresholds(tmp_path):
    rows = two_class_rows([0, 0], [0.9, 0.2])
    sums = sum_rows(rows, 2)
    path = tmp_path / "report.html"
    write_evaluation_page(path, rows, sums, sums.accuracy.means, ["calm", "fight"], {}, lambda positions: ())
    body = path.read_text().partition("</style>")[2].rpartition("<script>")[0]
    assert "50.00% of 2 videos right" in body and "data-counts" not in body
