"""The rows of a pass: one per video, in the order of the list, with exactly the documented fields."""

import json
import math
from functools import partial
from itertools import islice

import numpy as np
import pytest

from inference.rows import EVALUATION, PREDICTION, compute_rows, evaluations_of, predictions_of, top_predictions
from inference.views import Output
from reader.filelist import Entry
from reader.loader import Batch
from results.list_run import ListRun
from results.row_checks import evaluation_fits, prediction_fits
from utils.config.flags import Flags
from utils.errors import RunError

NAMES = ["a", "b", "c"]
ENTRIES = [Entry(f"{i}.mp4", i % 3) for i in range(6)]


def best(k):
    """Return the Values of PREDICTION for the k best classes."""
    return predictions_of(partial(top_predictions, names=NAMES, k=k))


class Reader:
    """A loader of batches of three; videos 1 and 3 cannot be read."""

    batch_size, bad = 3, (1, 3)

    def batches(self, order):
        for i in range(0, len(order), 3):
            asked = list(order[i : i + 3])
            good = [k for k in asked if k not in self.bad]
            frames = np.array(good, np.uint8).reshape(-1, 1, 1, 1, 1)
            labels = np.array([ENTRIES[k].label for k in good], np.int64)
            yield Batch(
                frames, labels, good, [(k, "torn") for k in asked if k not in good], [self.file(k) for k in good]
            )

    @staticmethod
    def file(position: int) -> list[int] | None:
        return [position, 7]


class WholeReader(Reader):
    """The same loader with readable videos, without signatures of their files."""

    bad = ()

    @staticmethod
    def file(position: int) -> None:
        return None


class Network:
    """A network that finds class 0 twice as probable as each other class."""

    ahead = 1

    def start(self, frames):
        logits = np.tile(np.float32([np.log(2), 0, 0]), (len(frames), 1))
        return lambda: Output(logits, np.zeros((len(frames), 1, 1), np.float32))


def test_the_rows_of_a_prediction():
    rows = [row for batch in compute_rows(Network(), Reader(), ENTRIES, best(2), range(6)) for row in batch]
    assert [row["position"] for row in rows] == list(range(6))
    assert [row["video"] for row in rows] == [entry.path for entry in ENTRIES]
    assert rows[1] == {"position": 1, "video": "1.mp4", "file": None, "error": "torn"}
    assert list(rows[0]) == ["position", "video", "file", *PREDICTION.columns]
    assert rows[0]["predictions"] == [
        {"class_id": 0, "label": "a", "probability": pytest.approx(0.5)},
        {"class_id": 1, "label": "b", "probability": pytest.approx(0.25)},
    ]


def test_the_rows_of_an_evaluation():
    batches = list(compute_rows(Network(), Reader(), ENTRIES, evaluations_of(NAMES), range(1, 6, 2)))
    assert [[row["position"] for row in batch] for batch in batches] == [[1, 3, 5]]
    bad, worse, row = batches[0]
    assert (bad, worse) == tuple({"position": i, "video": f"{i}.mp4", "file": None, "error": "torn"} for i in (1, 3))
    assert list(row) == ["position", "video", "file", *EVALUATION.columns]
    assert row == {
        "position": 5,
        "video": "5.mp4",
        "file": [5, 7],
        "label": 2,
        "predicted_class": 0,
        "predicted_name": "a",
        "probability": pytest.approx(0.5),
        "rank": 3,
        "true_probability": pytest.approx(0.25),
        "loss": pytest.approx(math.log(4)),
    }


KINDS = {
    "prediction": (best(9), prediction_fits(NAMES, 9, ENTRIES)),
    "evaluation": (evaluations_of(NAMES), evaluation_fits(NAMES, ENTRIES)),
}
FORGED = {"video": ["1.mp4", None]}
FORGED |= dict.fromkeys(["label", "predicted_class"], [-1, 3, 10**400, 0.0, True, "0", None, [], {}])
FORGED |= dict.fromkeys(["probability", "true_probability"], [-0.1, 1.1, 1, math.nan, 10**400, "x", None, [0.5]])
FORGED |= {
    "predicted_name": ["b", 0, None],
    "rank": [0, 4, 1.0, 10**400, "1"],
    "loss": [-1.0, 1, math.inf, math.nan, ""],
}
BEST = {"class_id": FORGED["label"], "label": ["b", 0, None], "probability": FORGED["probability"]}


@pytest.mark.parametrize("kind", KINDS)
def test_rows_that_the_run_could_not_have_written_do_not_fit(kind):
    values, fits = KINDS[kind]
    [[row]] = compute_rows(Network(), Reader(), ENTRIES, values, [0])
    assert fits(row) and fits(json.loads(json.dumps(row)))
    forged = [{**row, key: value} for key in row for value in FORGED.get(key, ())]
    if kind == "prediction":
        best, *others = row["predictions"]
        bests = [{**best, key: value} for key, values in BEST.items() for value in values]
        bests += [best | {"more": 1}, {"class_id": 0}, None, 7]
        lists = [[], [best], [best, *others, best], {}, None, "abc", *([each, *others] for each in bests)]
        forged += [{**row, "predictions": each} for each in lists]
    assert len(forged) > 20 and [row for row in forged if fits(row)] == []


@pytest.mark.parametrize("values", [best(1), evaluations_of(["a"])])
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
        list(compute_rows(Network(), Losing(), ENTRIES, best(1), range(6)))


def test_a_pass_goes_on_and_counts_on(tmp_path):
    """Of three runs, the first ends in the middle, and the second while it writes the final files."""
    compute = partial(compute_rows, Network(), WholeReader(), ENTRIES, best(1))
    whole = [row for batch in compute(range(6)) for row in batch]
    numbers = []

    def run(most: int) -> None:
        flags = Flags("predict", "", save_dir=str(tmp_path))
        with ListRun(PREDICTION, flags, {"script": "predict", "videos": 6}, WholeReader.batch_size) as opened:
            journal = opened.journal
            for number, rows in islice(opened.complete(compute), most):
                numbers.append((number, [row["position"] for row in rows]))
                assert list(journal.rows())[-1] == rows[-1]
            assert list(journal.rows()) == whole[: journal.known.count]

    for _ in range(3):
        run(1)
    assert numbers == [(0, [0, 1, 2]), (1, [3, 4, 5])]
