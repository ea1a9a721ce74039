"""The curves of two classes, computed by hand."""

import numpy as np
import pytest

from metrics.thresholds import Thresholds


def test_curves_by_hand():
    found = Thresholds([0.9, 0.8, 0.3], [0.8, 0.1])
    assert found.values.tolist() == [np.inf, 0.9, 0.8, 0.3, 0.1]
    assert found.roc.tolist() == [[0, 0], [0, 1 / 3], [0.5, 2 / 3], [0.5, 1], [1, 1]]
    assert found.precision_recall.tolist() == [[1 / 3, 1], [2 / 3, 2 / 3], [1, 3 / 4], [1, 3 / 5]]
    # Of the six pairs, four are in order, one is tied (0.8), and one is the wrong way round.
    assert found.area == pytest.approx(4.5 / 6)
    assert found.average_precision == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)


@pytest.mark.parametrize(
    "threshold, counts",
    [(0.0, (3, 2, 0, 0)), (0.3, (3, 1, 0, 1)), (0.8, (2, 1, 1, 1)), (0.81, (1, 0, 2, 2)), (1.0, (0, 0, 3, 2))],
)
def test_a_score_at_the_threshold_is_found(threshold, counts):
    assert Thresholds([0.9, 0.8, 0.3], [0.8, 0.1]).counts(threshold) == counts


def test_areas_of_all_right_all_wrong_and_all_the_same():
    assert Thresholds([0.6, 0.7], [0.1]).area == 1 and Thresholds([0.1], [0.2, 0.3]).area == 0
    same = Thresholds([0.5] * 3, [0.5] * 5)
    assert same.area == 0.5 and same.average_precision == 3 / 8
