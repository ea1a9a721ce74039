"""Answers with many labels: each class alone, above its own threshold."""

import numpy as np
import pytest

from inference.label_kinds import KINDS, MANY, ONE, classes_above, headline
from inference.rows import NONE, NONE_ID
from reader.filelist import Entry
from results.row_checks import many_evaluation_fits, many_predictions_fit

NAMES = ["a", "b", "c"]
LOGITS = np.log(np.array([[0.8, 0.3, 0.6]]) / np.array([[0.2, 0.7, 0.4]])).astype(np.float32)  # of these probabilities
ENTRIES = [Entry("x.mp4", (0, 2))]


@pytest.mark.parametrize(
    "how, ids",
    [
        ({}, [0, 2]),  # from 0.5 up
        ({"thresholds": [0.9, 0.2, 0.6000001]}, [1]),
        ({"thresholds": [0.9, 0.2, 0.1]}, [2, 1]),  # the most probable first
        ({"thresholds": [0.9, 0.2, 0.1], "threshold": 0.25}, [0, 2, 1]),  # one threshold for all
        ({"k": 1}, [0]),
        ({"threshold": 1.0}, [NONE_ID]),
    ],
)
def test_classes_above_their_thresholds(how, ids):
    [found] = classes_above(LOGITS, NAMES, **how)
    assert [one["class_id"] for one in found] == ids
    probabilities = {0: 0.8, 1: 0.3, 2: 0.6, NONE_ID: 0.2}
    assert [one["probability"] for one in found] == pytest.approx([probabilities[k] for k in ids], abs=1e-6)
    assert [one["label"] for one in found] == [NONE if k == NONE_ID else NAMES[k] for k in ids]


def test_what_is_the_answer():
    named = [{"class_id": 0, "label": "a", "probability": 0.8}, {"class_id": 2, "label": "c", "probability": 0.6}]
    assert (headline(ONE.answer(named)), headline(MANY.answer(named))) == ("a", "a + c")


def test_the_configuration_s_topk_does_not_cut_many_labels():
    naming = KINDS["multi"].naming(NAMES, 1, 0.0, [0.1] * 3)
    assert len(naming(LOGITS)[0]) == 3 and len(naming(LOGITS, 2)[0]) == 2
    assert len(KINDS["single"].naming(NAMES, 1, 0.0, None)(LOGITS)[0]) == 1


def test_rows_and_their_checks():
    [row] = MANY.evaluations_of(NAMES)(LOGITS, np.array([[1, 0, 1]], np.uint8))
    assert row["labels"] == [0, 2] and row["probabilities"] == pytest.approx([0.8, 0.3, 0.6], abs=1e-6)
    assert row["loss"] == pytest.approx(-np.log([0.8, 0.7, 0.6]).mean(), abs=1e-6)
    row |= {"position": 0, "video": "x.mp4"}
    fits = many_evaluation_fits(3, ENTRIES)
    forged = [
        {"video": "y.mp4"}, {"labels": [3]}, {"labels": [True]}, {"labels": 0}, {"probabilities": [0.5, 0.5]},
        {"probabilities": [0.5, 0.5, 1.5]}, {"probabilities": [0.5, 0.5, "a"]}, {"loss": -1.0}, {"loss": float("nan")},
    ]  # fmt: skip
    assert fits(row) and not any(fits(row | change) for change in forged)


@pytest.mark.parametrize(
    "predictions, fit",
    [
        ([(0, "a", 0.8), (2, "c", 0.6)], True),
        ([(NONE_ID, NONE, 0.2)], True),
        ([], False),
        ([(0, "a", 0.8), (0, "a", 0.8)], False),
        ([(NONE_ID, NONE, 0.2), (0, "a", 0.8)], False),
        ([(0, "b", 0.8)], False),
        ([(3, "d", 0.8)], False),
        ([(0, "a", 1.1)], False),
        ([(0, "a", 1)], False),
    ],
)
def test_predictions_and_their_checks(predictions, fit):
    row = {"position": 0, "video": "x.mp4"}
    row["predictions"] = [dict(zip(("class_id", "label", "probability"), one)) for one in predictions]
    assert many_predictions_fit(NAMES, 5, ENTRIES)(row) == fit
