"""The sums for the page of an evaluation, computed by hand and compared with metrics.json."""

import numpy as np
import pytest

from metrics.accuracy import Accuracy
from metrics.sums import BINS, EvaluationSums, wilson
from report_rows import evaluation_rows
from results.pages.page import number, shorten
from results.pages.words import shown


@pytest.mark.parametrize(
    "right, videos, interval",
    [
        (0, 0, (0, 100)),
        (0, 10, (0, 27.75)),  # z^2 / (n + z^2) = 3.8415 / 13.8415
        (10, 10, (72.25, 100)),
        (5, 10, (23.66, 76.34)),
        (812, 1000, (78.66, 83.50)),
    ],
)
def test_wilsons_interval(right, videos, interval):
    assert wilson(right, videos) == pytest.approx(interval, abs=0.005)


@pytest.mark.parametrize(("share", "number", "low", "high"), [
    # The roots p of (p - share)^2 = 1.96^2 * p * (1 - p) / number.
    (0.5, 10, 23.66, 76.34), (0.4, 40, 26.35, 55.40), (1.0, 5, 56.55, 100.0), (0.0, 5, 0.0, 43.45),
    (0.75, 19_881, 74.39, 75.60), (1.0, 1, 20.65, 100.0),
])  # fmt: skip
def test_wilsons_interval_of_a_share(share, number, low, high):
    assert wilson(share * number, number) == pytest.approx((low, high), abs=0.011)


def row(position: int, label: int, named: int, probability: float, rank: int = 2) -> dict:
    rank = 1 if label == named else rank
    video = f"{position}.mp4"
    return {"position": position, "video": video, "label": label, "predicted_class": named, "probability": probability,
            "rank": rank, "true_probability": 0.1, "loss": 1.0}  # fmt: skip


def summed(rows: list[dict], kept: int = 3) -> EvaluationSums:
    sums = EvaluationSums(6, kept, kept)
    for each in rows:
        sums.add(each)
    return sums


def test_sums_by_hand():
    rows = [row(0, 0, 0, 0.9), row(1, 0, 1, 0.95, rank=2), row(2, 1, 1, 1.0), row(3, 2, 1, 0.5, rank=6)]
    sums = summed([*rows, {"position": 4, "video": "4.mp4", "error": "empty"}])
    assert (sums.videos, sums.right, sums.in_top5, sums.unreadable.number) == (4, 2, 3, 1)
    assert {k: (c.videos, c.right, c.in_top5, c.named) for k, c in sums.classes.items()} == {
        0: (2, 1, 2, 1), 1: (1, 1, 1, 3), 2: (1, 0, 0, 0),
    }  # fmt: skip
    assert dict(sums.confused) == {(0, 1): 1, (2, 1): 1}
    assert sums.troubled(2) == [0, 1]  # two confusions of class 1; of the other two, one each, class 0 has more videos
    # bins of 1/15: 0.5 alone (wrong), 0.9 alone (right), 0.95 (wrong) and 1.0 (right) together
    assert sums.calibration_error == pytest.approx(100 * (0.5 + 0.1 + abs(1 - 1.95)) / 4)


def test_the_most_confident_mistakes_are_kept_the_first_of_equal_ones():
    chances = [0.5, 0.9, 0.7, 0.9, 0.6, 0.9, 0.9]
    sums = summed([row(i, 0, 1, p) for i, p in enumerate(chances)])
    assert [mistake["position"] for mistake in sums.mistakes] == [1, 3, 5]


def test_unreadable_videos_are_counted_and_the_first_kept():
    sums = summed([{"position": i, "video": f"{i}.mp4", "error": "empty"} for i in range(5)])
    assert (sums.unreadable.number, sums.unreadable.first) == (5, [(f"{i}.mp4", "empty") for i in range(3)])


def test_they_are_the_numbers_of_metrics_json():
    random = np.random.default_rng(0)
    labels = random.integers(0, 12, 500)
    logits = random.normal(size=(500, 12)).astype(np.float32)
    logits[np.arange(500), labels] += 1.5
    accuracy = Accuracy()
    accuracy.update(logits, labels)
    sums = summed(list(evaluation_rows(logits, labels)))
    means = accuracy.means
    assert (100 * sums.right / sums.videos, 100 * sums.in_top5 / sums.videos) == (means["top1_acc"], means["top5_acc"])
    for k in range(12):
        of_class = labels == k
        assert sums.classes[k].videos == of_class.sum()
        assert sums.classes[k].right == (logits[of_class].argmax(axis=1) == k).sum()
    confidence = np.exp(logits).max(axis=1) / np.exp(logits).sum(axis=1)
    right, places = logits.argmax(axis=1) == labels, np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = [abs(right[places == b].sum() - confidence[places == b].sum()) for b in range(BINS)]
    assert sums.calibration_error == pytest.approx(100 * sum(gaps) / 500, rel=1e-5)


def test_texts_of_a_page():
    assert shorten("a" * 300, 60).startswith("a" * 20 + " … ") and len(shorten("a" * 300, 60)) == 60
    assert shorten("a" * 60, 60) == "a" * 60
    assert shown("clip\udcff.mp4") == "clip\\udcff.mp4"
    assert [number(12345.678), number(None), number(float("nan")), number(3, 0)] == ["12,345.7", "–", "–", "3"]
