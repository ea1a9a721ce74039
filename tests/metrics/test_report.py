"""The files of evaluation and prediction, and the label list."""

import csv
import json
import os

import numpy as np
import pytest

from metrics.report import EvaluationReport, class_names, read_labels, top_predictions, write_predictions
from reader.filelist import Entry
from utils.errors import InputError, RunError


def rows(path) -> list[list[str]]:
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.reader(file))


NAMES = ["abseiling", 'a "quoted", name', "影", "never seen", "waving"]


def probabilities(*rows) -> np.ndarray:
    return np.log(np.array(rows, np.float32))


def test_the_files_of_an_evaluation(tmp_path):
    entries = [
        Entry("a.mp4", 0),
        Entry("b c.mp4", 1),
        Entry("bad.mp4", 0),
        Entry(os.fsdecode(b"\xff.mp4"), 2),
        Entry("e.mp4", 1),
    ]
    report = EvaluationReport(entries, NAMES)
    # the batches arrive in another order than the list's
    report.add([3, 4], np.array([2, 1]), probabilities([0.1, 0.2, 0.3, 0.15, 0.25], [0.1, 0.2, 0.05, 0.05, 0.6]))
    report.add([0, 1], np.array([0, 1]), probabilities([0.6, 0.1, 0.1, 0.1, 0.1], [0.5, 0.3, 0.1, 0.05, 0.05]))
    report.write(tmp_path, {"loss": 0.5, "videos": 4, "protocol": "p"}, [(2, "no such file")])

    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert list(metrics) == ["loss", "videos", "protocol", "unreadable", "per_class"]
    assert metrics["unreadable"] == [{"video": "bad.mp4", "error": "no such file"}]
    assert metrics["per_class"] == [
        {"class_id": 0, "label": "abseiling", "videos": 1, "top1_acc": 100.0},
        {"class_id": 1, "label": NAMES[1], "videos": 2, "top1_acc": 0.0},
        {"class_id": 2, "label": "影", "videos": 1, "top1_acc": 100.0},
    ]
    header, *lines = rows(tmp_path / "predictions.csv")
    assert header == ["video", "label", "predicted_class", "predicted_name", "probability", "rank", "true_probability"]
    assert [line[:4] + line[5:6] for line in lines] == [
        ["a.mp4", "0", "0", "abseiling", "1"],
        ["b c.mp4", "1", "0", "abseiling", "2"],
        [os.fsdecode(b"\xff.mp4"), "2", "2", "影", "1"],
        ["e.mp4", "1", "4", "waving", "2"],
    ]
    assert [[round(float(line[i]), 3) for i in (4, 6)] for line in lines] == [
        [0.6, 0.6],
        [0.5, 0.3],
        [0.3, 0.3],
        [0.6, 0.2],
    ]
    assert rows(tmp_path / "confusion.csv") == [
        ["true \\ predicted", "abseiling", NAMES[1], "影", "waving"],
        ["abseiling", "1", "0", "0", "0"],
        [NAMES[1], "1", "0", "0", "1"],
        ["影", "0", "0", "1", "0"],
        ["waving", "0", "0", "0", "0"],
    ]


def test_many_classes_need_no_table_of_all(tmp_path):
    report = EvaluationReport([Entry("a.mp4", 999_999)], [str(k) for k in range(1_000_000)])
    report.add([0], np.array([999_999]), np.zeros((1, 1_000_000), np.float32))
    report.write(tmp_path, {}, [])
    assert rows(tmp_path / "confusion.csv")[1:] == [["0", "0", "0"], ["999999", "1", "0"]]


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
        {"video": "c.mp4", "predictions": second},
    ]
    write_predictions(tmp_path, results)
    assert json.loads((tmp_path / "predictions.json").read_text()) == results
    header, *lines = rows(tmp_path / "predictions.csv")
    assert header == ["video", "rank", "class_id", "label", "probability", "error"]
    assert [line[:4] + line[5:] for line in lines] == [
        ["a b.mp4", "1", "2", "影", ""],
        ["a b.mp4", "2", "4", "waving", ""],
        [os.fsdecode(b"\xff.mp4"), "", "", "", "no such file"],
        ["c.mp4", "1", "0", "abseiling", ""],
        ["c.mp4", "2", "1", NAMES[1], ""],
    ]


def test_a_broken_network_predicts_nothing():
    with pytest.raises(RunError, match="not finite"):
        top_predictions(np.array([[0, np.nan]]), ["a", "b"], 1)


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "the label list is no JSON: Expecting value: line 1 column 1 (char 0)"),
        (b"abseiling\nwaving\n", "the label list is no JSON: Expecting value: line 1 column 1 (char 0)"),
        (b'["a", "b"', "the label list is no JSON: Expecting ',' delimiter: line 1 column 10 (char 9)"),
        (b'{"a": 0, "b": 1}', "the label list must be a JSON list of names"),
        (b'["a", 1]', "the label list must be a JSON list of names"),
        (b"[]", "0 labels, but MODEL.num_classes is 2"),
        (b'["a", "b", "c"]', "3 labels, but MODEL.num_classes is 2"),
    ],
)  # fmt: skip
def test_label_lists_that_do_not_fit(tmp_path, content, message):
    path = tmp_path / "labels.json"
    path.write_bytes(content)
    for read in (read_labels, class_names):
        with pytest.raises(InputError) as error:
            read(str(path), 2)
        assert str(error.value) == f"{path}: {message}"


def test_a_deep_label_list(tmp_path):
    (tmp_path / "labels.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match="the label list is no JSON: maximum recursion depth exceeded"):
        read_labels(str(tmp_path / "labels.json"), 2)


def test_label_lists(tmp_path, capsys):
    path = tmp_path / "labels.json"
    path.write_text('["a", "größe"]', encoding="utf-8")
    assert read_labels(str(path), 2) == class_names(str(path), 2) == ["a", "größe"]
    with pytest.raises(InputError) as error:
        read_labels(str(tmp_path), 2)
    assert str(error.value) == f"{tmp_path}: the label list cannot be read: Is a directory"
    missing = tmp_path / "no.json"
    with pytest.raises(InputError) as error:
        read_labels(str(missing), 2)
    assert str(error.value) == f"{missing}: no such label list (INFER.kinetics_labels)"
    assert class_names(str(missing), 3) == ["0", "1", "2"]
    assert capsys.readouterr().out == f"{missing}: no such label list: classes are named by their number\n"
    path.write_bytes(b'["' + b"a" * 10_000_000 + b'"]')
    with pytest.raises(InputError, match="the label list is larger than 10000000 bytes"):
        read_labels(str(path), 1)


def test_the_400_names_are_there():
    from conftest import ROOT

    names = read_labels(str(ROOT / "data/dataset/kinetics_labels.json"), 400)
    assert names == sorted(names) and names[:2] == ["abseiling", "air_drumming"] and len(set(names)) == 400
