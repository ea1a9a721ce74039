"""The rows of a pass: one per video, in the order of the list, with exactly the fields that are promised."""

import math
from functools import partial
from itertools import islice

import numpy as np
import pytest

from inference.views import Output
from metrics.journal import open_journal
from metrics.rows import EVALUATION, PREDICTION, complete, compute_rows, evaluations_of, predictions_of
from reader.filelist import Entry
from reader.loader import Batch
from utils.errors import RunError

NAMES = ["a", "b", "c"]
ENTRIES = [Entry(f"{i}.mp4", i % 3) for i in range(6)]


class Reader:
    """A loader of batches of three; videos 1 and 3 cannot be read."""

    batch_size = 3

    def batches(self, order):
        for i in range(0, len(order), 3):
            asked = list(order[i : i + 3])
            good = [k for k in asked if k not in (1, 3)]
            frames = np.array(good, np.uint8).reshape(-1, 1, 1, 1, 1)
            labels = np.array([ENTRIES[k].label for k in good], np.int64)
            yield Batch(frames, labels, good, [(k, "torn") for k in asked if k not in good])


class Network:
    """Likes class 0 twice as much as the others, and that the more the higher the position."""

    ahead = 1

    def start(self, frames):
        position = frames.reshape(-1, 1).astype(np.float32)
        logits = np.concatenate([np.log(2) + position * 0, position * 0, position * 0], axis=1)
        return lambda: Output(logits, np.zeros((len(frames), 1, 1), np.float32))


def test_the_rows_of_a_prediction():
    rows = [
        row for batch in compute_rows(Network(), Reader(), ENTRIES, predictions_of(NAMES, 2), range(6)) for row in batch
    ]
    assert [row["position"] for row in rows] == list(range(6))
    assert [row["video"] for row in rows] == [entry.path for entry in ENTRIES]
    assert rows[1] == {"position": 1, "video": "1.mp4", "error": "torn"}
    assert list(rows[0]) == ["position", "video", *PREDICTION]
    assert rows[0]["predictions"] == [
        {"class_id": 0, "label": "a", "probability": pytest.approx(0.5)},
        {"class_id": 1, "label": "b", "probability": pytest.approx(0.25)},
    ]


def test_the_rows_of_an_evaluation():
    batches = list(compute_rows(Network(), Reader(), ENTRIES, evaluations_of(NAMES), range(1, 6, 2)))
    assert [[row["position"] for row in batch] for batch in batches] == [[1, 3, 5]]
    bad, worse, row = batches[0]
    assert (bad, worse) == tuple({"position": i, "video": f"{i}.mp4", "error": "torn"} for i in (1, 3))
    assert list(row) == ["position", "video", *EVALUATION]
    assert row == {
        "position": 5,
        "video": "5.mp4",
        "label": 2,
        "predicted_class": 0,
        "predicted_name": "a",
        "probability": pytest.approx(0.5),
        "rank": 3,
        "true_probability": pytest.approx(0.25),
        "loss": pytest.approx(math.log(4)),
    }


@pytest.mark.parametrize("values", [predictions_of(["a"], 1), evaluations_of(["a"])])
def test_certainty_and_what_is_no_number(values):
    (row,) = values(np.zeros((1, 1), np.float32), np.zeros(1, np.int64))
    assert "-0.0" not in str(row)
    with pytest.raises(RunError, match="not finite"):
        values(np.full((1, 1), np.nan, np.float32), np.zeros(1, np.int64))


def test_a_video_that_gets_lost_is_a_defect():
    class Losing(Reader):
        def batches(self, order):
            yield from super().batches(order[1:])

    with pytest.raises(RuntimeError, match="5 videos counted of 6"):
        list(compute_rows(Network(), Losing(), ENTRIES, predictions_of(NAMES, 1), range(6)))


def test_a_pass_goes_on_and_counts_on(tmp_path):
    """The last run was ended while it wrote the final files, the one before in the middle."""
    whole = [
        row for batch in compute_rows(Network(), Reader(), ENTRIES, predictions_of(NAMES, 1), range(6)) for row in batch
    ]
    numbers = []

    def run(most: int) -> None:
        compute = partial(compute_rows, Network(), Reader(), ENTRIES, predictions_of(NAMES, 1))
        head = {"script": "predict", "videos": 6}
        with open_journal(tmp_path, "predictions", head, PREDICTION, range(6), Reader.batch_size) as journal:
            for number, rows in islice(complete(journal, compute, "prediction"), most):
                numbers.append((number, [row["position"] for row in rows]))
                assert list(journal.rows())[-1] == rows[-1]
            assert list(journal.rows()) == whole[: journal.count]

    for _ in range(3):
        run(1)
    assert numbers == [(0, [0, 1, 2]), (1, [3, 4, 5])]
