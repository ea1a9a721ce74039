"""Loss, ranks and counts, computed by hand."""

import math

import numpy as np
import pytest

from metrics.accuracy import Accuracy, check_finite, log_softmax, top_classes, true_class_rank
from utils.errors import RunError

LOGITS = np.array(
    [
        [0, 1, 2, 3, 4, 5, 6, 7],
        [7, 6, 5, 4, 3, 2, 1, 0],
        [1, 1, 1, 1, 1, 1, 1, 1],
        [0, 9, 0, 9, 0, 9, 0, 9],
        [-5, -5, -1, -1, -2, -2, -2, -2],
    ],
    np.float32,
)


@pytest.mark.parametrize(
    "labels, ranks",
    [
        ([7, 7, 7, 7, 7], [1, 8, 8, 4, 6]),
        ([0, 0, 0, 0, 0], [8, 1, 1, 5, 7]),
        ([3, 3, 3, 3, 3], [5, 4, 4, 2, 2]),
    ],
)
def test_rank_of_the_true_class(labels, ranks):
    assert true_class_rank(LOGITS, np.array(labels)).tolist() == ranks


def test_best_classes_and_their_ties():
    assert top_classes(LOGITS, 3).tolist() == [[7, 6, 5], [0, 1, 2], [0, 1, 2], [1, 3, 5], [2, 3, 4]]
    assert top_classes(LOGITS, 8)[4].tolist() == [2, 3, 4, 5, 6, 7, 0, 1]


def test_rank_and_best_classes_agree():
    logits = np.random.default_rng(0).integers(0, 4, (200, 8)).astype(np.float32)  # full of ties
    order = top_classes(logits, 8)
    for label in range(8):
        ranks = true_class_rank(logits, np.full(200, label))
        assert (order[np.arange(200), ranks - 1] == label).all()


def test_log_softmax():
    assert np.allclose(np.exp(log_softmax(LOGITS)).sum(axis=1), 1)
    huge = log_softmax(np.array([[1e4, 0], [-1e4, -1e4]], np.float32))
    assert huge.dtype == np.float64 and np.allclose(huge, [[0, -1e4], [math.log(0.5)] * 2])


def test_means_by_hand():
    accuracy = Accuracy()
    # ranks 1, 3, 6: loss -log of the probability of the true class
    logits = np.log(
        np.array([[0.5, 0.1, 0.1, 0.1, 0.1, 0.1], [0.3, 0.4, 0.2, 0.04, 0.03, 0.03], [0.5, 0.2, 0.1, 0.1, 0.06, 0.04]])
    )
    accuracy.update(logits, np.array([0, 2, 5]))
    assert (accuracy.videos, accuracy.top1, accuracy.top5) == (3, 1, 2)
    assert accuracy.loss_sum == pytest.approx(-math.log(0.5) - math.log(0.2) - math.log(0.04))
    means = accuracy.means
    assert means["loss"] == pytest.approx(accuracy.loss_sum / 3)
    assert means["top1_acc"] == pytest.approx(100 / 3) and means["top5_acc"] == pytest.approx(200 / 3)


def test_fewer_than_five_classes():
    accuracy = Accuracy()
    accuracy.update(LOGITS[:, :3], np.array([2, 2, 2, 2, 0]))
    assert (accuracy.top1, accuracy.top5) == (1, 5)


@pytest.mark.parametrize("num_classes, names", [
    (1, ["loss", "top1_acc"]), (5, ["loss", "top1_acc"]), (6, ["loss", "top1_acc", "top5_acc"]),
])  # fmt: skip
def test_top5_is_a_mean_of_more_than_five_classes_only(num_classes, names):
    accuracy = Accuracy()
    accuracy.update(LOGITS[:, :num_classes], np.zeros(5, int))
    assert list(accuracy.means) == names
    for parts in ([accuracy, Accuracy()], [Accuracy(), accuracy]):  # a rank without videos
        assert sum(parts, Accuracy()) == accuracy


@pytest.mark.parametrize("split", [[40], [1] * 40, [16, 16, 8], [39, 1], [7, 33]])
def test_the_split_into_batches_and_processes_does_not_matter(split):
    random = np.random.default_rng(1)
    logits = random.normal(0, 3, (40, 10)).astype(np.float32)
    labels = random.integers(0, 10, 40)
    ranks = [1 + int((row > row[label]).sum()) for row, label in zip(logits, labels)]
    batches, parts, start = Accuracy(), [], 0
    for size in split:
        piece = slice(start, start + size)
        batches.update(logits[piece], labels[piece])
        parts.append(Accuracy())
        parts[-1].update(logits[piece], labels[piece])
        start += size
    for total in (batches, sum(parts, Accuracy())):
        assert (total.videos, total.top1, total.top5) == (40, sum(r == 1 for r in ranks), sum(r <= 5 for r in ranks))
        whole = Accuracy()
        whole.update(logits, labels)
        assert total.loss_sum == pytest.approx(whole.loss_sum, rel=1e-12)


def test_no_videos():
    assert all(math.isnan(value) for value in Accuracy().means.values())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_output_that_is_not_finite_is_never_an_accuracy(value):
    logits = LOGITS.copy()
    logits[3, 2] = value
    accuracy = Accuracy()
    for function in (check_finite, lambda logits: accuracy.update(logits, np.zeros(5, int))):
        with pytest.raises(
            RunError, match="^the network's output is not finite: its training diverged, or its weights"
        ):
            function(logits)
    assert accuracy == Accuracy()
