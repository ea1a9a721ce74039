"""Average precision, F1 and thresholds of many labels, compared with scikit-learn and with the definition."""

import math

import numpy as np
import pytest

from metrics.many import (
    ManyCounts,
    ManyScores,
    average_precision,
    best_threshold,
    binary_cross_entropy,
    sigmoid,
)
from utils.errors import RunError

SCORES = [[0.9, 0.2, 0.6], [0.8, 0.7, 0.6], [0.3, 0.7, 0.1], [0.6, 0.4, 0.6], [0.1, 0.9, 0.3], [0.4, 0.1, 0.2]]
TRUE = [[1, 0, 1], [0, 1, 0], [1, 0, 0], [1, 1, 1], [0, 1, 0], [0, 0, 1]]


def scores_of(scores, true) -> ManyScores:
    sums = ManyScores(len(scores[0]))
    for row, labels in zip(scores, true):
        sums.add({"labels": np.flatnonzero(labels).tolist(), "probabilities": list(row), "loss": 0.25})
    return sums


def test_the_values_of_scikit_learn():
    """The values are from average_precision_score of scikit-learn 1.9.1, average None, "macro" and "micro"."""
    sums = scores_of(SCORES, TRUE)
    found = [one.average_precision for one in sums.classes([0.5] * 3)]
    assert found == pytest.approx([75.55555555555556, 80.55555555555556, 64.44444444444444], abs=1e-9)
    means = {"loss": 0.25, "mAP": 73.51851851851853, "mAP_micro": 71.68609168609168}
    assert sums.means == pytest.approx(means, abs=1e-9)


def by_definition(scores: np.ndarray, true: np.ndarray) -> float:
    """Return the average precision in percent: at each score, the precision times the recall that it adds."""
    total, before = 0.0, 0.0
    for score in sorted(set(scores.tolist()), reverse=True):
        named = scores >= score
        recall = true[named].sum() / true.sum()
        total, before = total + (recall - before) * true[named].mean(), recall
    return 100 * total


def f1(scores: np.ndarray, true: np.ndarray, threshold: float) -> float:
    named = scores >= threshold
    return 2 * (named & (true > 0)).sum() / (named.sum() + true.sum())


@pytest.mark.parametrize("seed", range(30))
def test_the_definition_on_random_scores(seed):
    random = np.random.default_rng(seed)
    number = random.integers(1, 40)
    scores = random.random(number).astype(np.float32)
    scores = scores if seed % 2 else (scores * 8).round() / 8  # many are equal
    true = random.integers(0, 2, number).astype(np.uint8)
    true[0] = 1
    assert average_precision(scores, true) == pytest.approx(by_definition(scores, true), abs=1e-9)
    threshold = best_threshold(scores, true)
    assert f1(scores, true, np.float32(threshold)) == max(f1(scores, true, score) for score in scores)


@pytest.mark.parametrize(
    "scores, true, threshold",
    [
        ([0.9, 0.5, 0.25], [1, 1, 0], 0.375),  # halfway between the two
        ([0.9, 0.5, 0.25], [1, 0, 0], 0.7),
        ([0.5, 0.5, 0.5], [1, 0, 1], 0.25),  # all are named
        ([0.9, 0.5, 0.25], [0, 0, 0], 0.5),  # nothing is known
    ],
)
def test_thresholds(scores, true, threshold):
    assert best_threshold(np.array(scores, np.float32), np.array(true, np.uint8)) == pytest.approx(threshold, rel=1e-6)


def test_classes_at_their_thresholds():
    first, *_, last = scores_of(SCORES, TRUE).classes([0.6, 0.5, 0.95])
    assert (first.videos, first.named, first.right) == (3, 3, 2)
    assert first.scores == {"precision": pytest.approx(200 / 3), "recall": pytest.approx(200 / 3), "f1": 200 / 3}
    assert (last.named, last.scores) == (0, {"precision": 0, "recall": 0, "f1": 0})


def test_a_class_without_videos_is_in_no_mean_but_among_all_answers():
    sums = scores_of([[0.9, 0.8], [0.2, 0.7]], [[1, 0], [0, 0]])
    assert sums.means["mAP"] == 100 and sums.means["mAP_micro"] == 100
    assert math.isnan(sums.classes([0.5, 0.5])[1].average_precision)
    assert scores_of([[0.9, 0.95]], [[1, 0]]).means["mAP_micro"] == 50


def test_parts_add_up_and_nothing_is_no_number():
    whole, parts = scores_of(SCORES, TRUE), [scores_of(SCORES[:2], TRUE[:2]), scores_of(SCORES[2:], TRUE[2:])]
    total = parts[0] + parts[1] + ManyScores(3)
    assert total.means == whole.means and total.videos == 6
    assert all(map(math.isnan, ManyScores(3).means.values()))
    assert all(map(math.isnan, ManyCounts().means.values()))


def test_sigmoid_and_loss_of_any_logit():
    logits = np.array([[0.0, 2.0, -2.0], [1000.0, -1000.0, 0.0]], np.float32)
    assert sigmoid(logits)[0].tolist() == pytest.approx([0.5, 1 / (1 + math.exp(-2)), 1 / (1 + math.exp(2))])
    assert sigmoid(logits)[1].tolist() == [1, 0, 0.5]
    expected = [(math.log(2) + math.log1p(math.exp(-2)) + 2 + math.log1p(math.exp(-2))) / 3, (1000 + math.log(2)) / 3]
    assert binary_cross_entropy(logits, np.array([[1, 1, 1], [1, 1, 0]])).tolist() == pytest.approx(expected)
    with pytest.raises(RunError, match="the network's output is not finite"):
        sigmoid(np.array([[np.nan]]))


def test_counts_of_training():
    counts = ManyCounts()
    counts.update(np.array([[1.0, -1, 1], [-1, -1, 1]], np.float32), np.array([[1, 1, 0], [0, 0, 1]], np.uint8))
    assert (counts.videos, counts.right, counts.named, counts.true) == (2, 2, 3, 3)
    assert (counts + counts).means == counts.means and counts.means["f1"] == pytest.approx(100 * 2 / 3)
