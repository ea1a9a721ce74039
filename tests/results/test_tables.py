"""The files of evaluation and prediction, and the label list."""

import csv
import json
import os

import numpy as np
import pytest

from conftest import says
from inference.rows import top_predictions
from metrics.sums import sum_rows
from reader.class_names import class_names, read_labels
from results.tables import write_evaluation, write_predictions
from utils.errors import InputError, RunError


def rows(path) -> list[list[str]]:
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.reader(file))


NAMES = ["abseiling", 'a "quoted", name', "影", "never seen", "waving"]


def probabilities(*rows) -> np.ndarray:
    return np.log(np.array(rows, np.float32))


def evaluation(position: int, video: str, label: int, best: int, rank: int = 1, name: str = "x") -> dict:
    """Return a row of an evaluation, see inference/rows.py."""
    values = {"label": label, "predicted_class": best, "predicted_name": name, "probability": 0.6, "rank": rank}
    return {"position": position, "video": video, **values, "true_probability": 0.1 + 0.2, "loss": 0.25}


def test_the_files_of_an_evaluation(tmp_path):
    all_rows = [
        evaluation(0, "a.mp4", 0, 0, name="abseiling"),
        evaluation(1, "b c.mp4", 1, 0, rank=2, name="abseiling"),
        {"position": 2, "video": "bad.mp4", "error": "no such file"},
        evaluation(3, os.fsdecode(b"\xff.mp4"), 2, 2, name="影"),
        evaluation(4, "e.mp4", 1, 4, rank=7, name="waving"),
    ]
    sums = sum_rows(iter(all_rows), 6)
    assert (sums.unreadable.number, sums.unreadable.first[0][1]) == (1, "no such file")
    assert sums.accuracy.means == {"loss": 0.25, "top1_acc": 50.0, "top5_acc": 75.0}
    write_evaluation(tmp_path, all_rows, sums, {"loss": 0.5, "videos": 4, "protocol": "p"}, NAMES)

    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert list(metrics) == ["loss", "videos", "protocol", "unreadable", "per_class"]
    assert (tmp_path / "metrics.json").read_text() == json.dumps(metrics, indent=1) + "\n"
    assert metrics["unreadable"] == [{"video": "bad.mp4", "error": "no such file"}]
    names = ("class_id", "label", "videos", "top1_acc", "precision", "recall", "f1")
    assert [tuple(one[name] for name in names) for one in metrics["per_class"]] == [
        (0, "abseiling", 1, 100, 50, 100, 200 / 3),
        (1, NAMES[1], 2, 0, 0, 0, 0),
        (2, "影", 1, 100, 100, 100, 100),
    ]
    assert metrics["per_class"][1]["top1_interval"] == pytest.approx([0, 65.76], abs=0.01)
    means = {"mean_class_acc": 200 / 3, "mean_precision": 50, "mean_f1": 500 / 9}
    assert sums.class_means == pytest.approx(means)
    assert rows(tmp_path / "predictions.csv") == [
        ["video", "label", "predicted_class", "predicted_name", "probability", "rank", "true_probability"],
        ["a.mp4", "0", "0", "abseiling", "0.6", "1", "0.30000000000000004"],
        ["b c.mp4", "1", "0", "abseiling", "0.6", "2", "0.30000000000000004"],
        [os.fsdecode(b"\xff.mp4"), "2", "2", "影", "0.6", "1", "0.30000000000000004"],
        ["e.mp4", "1", "4", "waving", "0.6", "7", "0.30000000000000004"],
    ]
    assert rows(tmp_path / "confusion.csv") == [
        ["true \\ predicted", "abseiling", NAMES[1], "影", "waving"],
        ["abseiling", "1", "0", "0", "0"],
        [NAMES[1], "1", "0", "0", "1"],
        ["影", "0", "0", "1", "0"],
        ["waving", "0", "0", "0", "0"],
    ]


def test_many_classes_need_no_table_of_all(tmp_path):
    all_rows = [evaluation(0, "a.mp4", 999_999, 0)]
    sums = sum_rows(all_rows, 1_000_000)
    write_evaluation(tmp_path, all_rows, sums, {}, [str(k) for k in range(1_000_000)])
    assert rows(tmp_path / "confusion.csv")[1:] == [["0", "0", "0"], ["999999", "1", "0"]]
    assert json.loads((tmp_path / "metrics.json").read_text())["unreadable"] == []


def test_sums_are_taken_in_the_order_of_the_list():
    """The sum of floats depends on their order: ranks and resumed runs must add in the same order."""
    losses = np.random.default_rng(0).exponential(1, 1000).tolist()
    all_rows = [{**evaluation(i, "a", 0, 0), "loss": loss} for i, loss in enumerate(losses)]
    in_turn = 0.0
    for loss in losses:
        in_turn += loss
    assert sum_rows(all_rows, 6).accuracy.loss_sum == in_turn != sum(losses[::2]) + sum(losses[1::2])


def test_predictions(tmp_path):
    (first, second) = top_predictions(probabilities([0.1, 0.2, 0.4, 0.05, 0.25], [0.2] * 5), NAMES, 2)
    assert [(p["class_id"], p["label"], round(p["probability"], 4)) for p in first] == [
        (2, "影", 0.4),
        (4, "waving", 0.25),
    ]
    assert [p["class_id"] for p in second] == [0, 1]
    results = [
        {"video": "a b.mp4", "predictions": first},
        {"video": os.fsdecode(b"\xff.mp4"), "error": "no such file"},
        {"video": "c\n.mp4", "predictions": second},
    ]
    assert write_predictions(tmp_path, [{"position": i, **result} for i, result in enumerate(results)]) == 1
    assert (tmp_path / "predictions.json").read_text() == json.dumps(results, indent=1) + "\n"
    header, *lines = rows(tmp_path / "predictions.csv")
    assert header == ["video", "rank", "class_id", "label", "probability", "error"]
    assert [line[:4] + line[5:] for line in lines] == [
        ["a b.mp4", "1", "2", "影", ""],
        ["a b.mp4", "2", "4", "waving", ""],
        [os.fsdecode(b"\xff.mp4"), "", "", "", "no such file"],
        ["c\n.mp4", "1", "0", "abseiling", ""],
        ["c\n.mp4", "2", "1", NAMES[1], ""],
    ]


def test_a_broken_network_predicts_nothing():
    with pytest.raises(RunError, match="not finite"):
        top_predictions(np.array([[0, np.nan]]), ["a", "b"], 1)


@pytest.mark.parametrize(
    "content, pieces",
    [
        (b"", ("the label list", "not JSON", "line 1 column 1 ")),
        (b"abseiling\nwaving\n", ("the label list", "not JSON", "line 1 column 1 ")),
        (b'["a", "b"', ("the label list", "not JSON", "Expecting ','", "line 1 column 10 ")),
        (b'{"a": 0, "b": 1}', ("the label list", "a JSON list of names")),
        (b'["a", 1]', ("the label list", "a JSON list of names")),
        (b"[]", ("0 labels", "MODEL.num_classes is 2", "INFER.kinetics_labels; ''")),
        (b'["a", "b", "c"]', ("3 labels", "MODEL.num_classes is 2", "INFER.kinetics_labels; ''")),
    ],
)
def test_label_lists_that_do_not_fit(tmp_path, content, pieces):
    path = tmp_path / "labels.json"
    path.write_bytes(content)
    for read in (read_labels, class_names):
        with pytest.raises(InputError) as error:
            read(str(path), 2)
        says(error.value, f"{path}: ", *pieces)


def test_a_deep_label_list(tmp_path):
    (tmp_path / "labels.json").write_text("[" * 100_000)
    with pytest.raises(InputError) as error:
        read_labels(str(tmp_path / "labels.json"), 2)
    says(error.value, f"{tmp_path}/labels.json: ", "not JSON", "recursion")


def test_label_lists(tmp_path, capsys):
    path = tmp_path / "labels.json"
    path.write_text('["a", "größe"]', encoding="utf-8")
    assert read_labels(str(path), 2) == class_names(str(path), 2) == ["a", "größe"]
    with pytest.raises(InputError) as error:
        read_labels(str(tmp_path), 2)
    says(error.value, f"{tmp_path}: ", "the label list", "Is a directory")
    missing = tmp_path / "no.json"
    with pytest.raises(InputError) as error:
        read_labels(str(missing), 2)
    says(error.value, f"{missing}: ", "no such label list", "INFER.kinetics_labels")
    assert class_names(str(missing), 3) == ["0", "1", "2"]
    says(capsys.readouterr().out, f"{missing}: ", "no such label list", "numbers as names")
    path.write_bytes(b'["' + b"a" * 10_000_000 + b'"]')
    with pytest.raises(InputError) as error:
        read_labels(str(path), 1)
    says(error.value, f"{path}: ", "larger than 10000000 bytes")


def test_the_400_names_are_there():
    from conftest import ROOT

    names = read_labels(str(ROOT / "data/dataset/kinetics_labels.json"), 400)
    assert names == sorted(names) and names[:2] == ["abseiling", "air_drumming"] and len(set(names)) == 400
