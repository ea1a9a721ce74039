"""Combined folders of eval.py: means computed by hand, and every video counted once."""

import csv
import json
import math

import numpy as np
import pytest

from conftest import run_script, says
from inference.rows import evaluations_of
from metrics.sums import sum_rows
from results.combining import combine, mean_logits
from results.comparing import compare
from results.probabilities import read_probabilities, write_probabilities
from results.tables import write_evaluation
from utils.errors import InputError

NAMES = ["calm", "fight", "other"]


def evaluated(folder, answers: dict[str, tuple[int, list[float]] | str], names=NAMES) -> str:
    """Return a folder of eval.py. answers: video -> (label, probabilities), or the error. "#" ends a video's name."""
    folder.mkdir()
    rows = []
    for i, (video, answer) in enumerate(answers.items()):
        row = {"position": i, "video": video.split("#")[0], "file": None}
        if isinstance(answer, str):
            rows.append(row | {"error": answer})
        else:
            rows.append(
                row | evaluations_of(names)(mean_logits([np.array([answer[1]])], [1]), np.array([answer[0]]))[0]
            )
    write_evaluation(folder, rows, sum_rows(rows, len(names)), {"protocol": f"of {folder.name}"}, names)
    known = [(v.split("#")[0], *a) for v, a in answers.items() if not isinstance(a, str)]
    paths, labels, values = zip(*known)
    write_probabilities(folder, paths, labels, names, [np.array(values)])
    return str(folder)


@pytest.fixture
def two(tmp_path) -> list[str]:
    a = {
        "1.mp4": (0, [0.6, 0.3, 0.1]),
        "2.mp4": (1, [0.5, 0.25, 0.25]),
        "bad.mp4": "torn",
        "a.mp4": (0, [0.5, 0.3, 0.2]),
    }
    b = {
        "2.mp4": (1, [0.1, 0.8, 0.1]),
        "1.mp4": (0, [0.2, 0.3, 0.5]),
        "bad.mp4": (2, [0.1, 0.1, 0.8]),
        "both.mp4": "no",
    }
    return [evaluated(tmp_path / "a", a | {"both.mp4": "gone"}), evaluated(tmp_path / "b", b)]


def test_the_mean_is_an_evaluation_that_is_compared_and_combined_again(two, tmp_path):
    found = combine(two, [3.0, 1.0])
    assert np.allclose(found.probabilities, [[0.5, 0.3, 0.2], [0.4, 0.3875, 0.2125]])
    assert found.said() == (
        "2 videos that all could read; unreadable: 2; not on the list of all: 1\n"
        "  top-1  50.00%, 95% interval 9.5 to 90.5: mean of the probabilities\n"
        f"  top-1  50.00%, 95% interval 9.5 to 90.5: {two[0]}\n"
        f"  top-1  50.00%, 95% interval 9.5 to 90.5: {two[1]}\n"
        f"mean of the probabilities against the best of them, {two[0]}:\n"
        "  both right 1, only the first 0, only the second 0, neither 1\n"
        "  McNemar's test: p = 1, which may be chance"
    )
    (tmp_path / "both").mkdir()
    found.write(tmp_path / "both", report=True)
    metrics = json.loads((tmp_path / "both/metrics.json").read_text())
    assert metrics["unreadable"] == [
        {"video": "bad.mp4", "error": f"{two[0]}: torn"}, {"video": "both.mp4", "error": f"{two[0]}: gone"},
    ]  # fmt: skip
    assert (metrics["videos"], metrics["top1_acc"]) == (2, 50.0)
    assert metrics["loss"] == pytest.approx(-(math.log(0.5) + math.log(0.3875)) / 2)
    assert metrics["protocol"] == "mean of the probabilities of 2 networks: 3 * (of a) + 1 * (of b)"
    assert ">50.00% of 2 videos right<" in (tmp_path / "both/report.html").read_text()
    with open(tmp_path / "both/predictions.csv", newline="") as file:
        assert [(row["video"], row["predicted_name"]) for row in csv.DictReader(file)] == [
            ("1.mp4", "calm"), ("2.mp4", "calm"),
        ]  # fmt: skip
    again = combine([str(tmp_path / "both"), two[1]], [4.0, 4.0])
    assert np.allclose(again.probabilities, [[0.35, 0.3, 0.35], [0.25, 0.59375, 0.15625]])
    assert (again.sums.right, again.sums.unreadable.number, again.elsewhere) == (2, 2, 0)
    assert len(compare([str(tmp_path / "both"), *two]).videos) == 2


def test_combine_is_a_program(two, tmp_path):
    ended = run_script("tools/combine", f"{two[0]}*3", two[1], "--out", tmp_path / "out")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == f"{combine(two, [3, 1]).said()}\nwritten to {tmp_path / 'out'}\n"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "confusion.csv", "metrics.json", "predictions.csv", "probabilities.npz", "report.html",
    ]  # fmt: skip
    ended = run_script("tools/combine", two[0])
    assert ended.returncode == 2
    says(ended.stderr, "error: expected two or more folders ", "eval.py")


def test_a_video_that_stands_twice_is_counted_twice(tmp_path):
    twice = {"a.mp4": (0, [0.9, 0.1, 0]), "a.mp4#2": (0, [0.9, 0.1, 0])}
    one = {"a.mp4": (0, [0.1, 0.9, 0]), "b.mp4": (0, [0.9, 0.1, 0])}
    found = combine([evaluated(tmp_path / "x", twice), evaluated(tmp_path / "y", one)], [1, 1])
    assert (found.sums.videos, found.elsewhere, found.sums.unreadable.number) == (1, 2, 0)
    found = combine([str(tmp_path / "x"), str(tmp_path / "x")], [1, 1])
    (tmp_path / "out").mkdir()
    found.write(tmp_path / "out", report=False)
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    assert (metrics["videos"], metrics["repeated"]) == (2, 1)


def test_a_probability_of_0_has_a_loss(tmp_path):
    assert mean_logits([np.array([[1, 0]], np.float32)] * 2, [1, 1])[0, 1] == pytest.approx(-87.34, abs=0.01)


def test_paths_of_any_bytes_come_back(tmp_path):
    write_probabilities(tmp_path, ["\udcff 片.mp4"], [0], ["一"], [np.ones((1, 1))])
    first = (tmp_path / "probabilities.npz").read_bytes()
    assert read_probabilities(str(tmp_path)).paths.tolist() == ["\udcff 片.mp4"]
    write_probabilities(tmp_path, ["\udcff 片.mp4"], [0], ["一"], [np.ones((1, 1))])
    assert (tmp_path / "probabilities.npz").read_bytes() == first


OTHERS = [
    (["calm", "fight"], ": 2 classes, but .+/a has 3$"),
    (["calm", "other", "fight"], ": class 1 is 'other', but 'fight' in .+/a$"),
]


@pytest.mark.parametrize("names, said", OTHERS)
def test_networks_of_other_classes_have_no_mean(two, tmp_path, names, said):
    third = evaluated(tmp_path / "c", {"1.mp4": (0, [0.5] * len(names))}, names)
    with pytest.raises(InputError, match=f"^{third}{said}"):
        combine([*two, third], [1, 1, 1])
    numbers = [str(k) for k in range(3)]  # the names of classes without names
    nameless = evaluated(tmp_path / "d", {"1.mp4": (0, [1, 0, 0])}, numbers)
    assert combine([nameless, two[0]], [1, 1]).results.names == NAMES


NAN = np.full((1, 3), np.nan, np.float32)


def damage(**arrays) -> dict:
    whole = {"paths": np.array(["1.mp4"]), "labels": np.zeros(1, int), "names": np.array(NAMES)}
    return whole | {"probabilities": np.full((1, 3), 1 / 3, np.float32)} | arrays


@pytest.mark.parametrize(
    "content, pieces",
    [
        (None, (".npz: ", "No such file or directory")),
        (b"text", (".npz: ", "damaged, or not eval.py's")),
        ({"paths": np.array(["1.mp4"])}, (".npz: ", "not eval.py's", "labels")),
        (damage(paths=np.array([{}])), (".npz: ", "not eval.py's", "Object arrays")),
        (damage(probabilities=NAN[[0, 0]]), (".npz: ", "damaged", "[2, 3]", "1 videos and 3 classes")),
        (damage(probabilities=NAN), (".npz: ", "damaged", "probabilities")),
        (damage(), (": ", "probabilities.npz and predictions.csv", "different videos", "run eval.py again")),
    ],
)
def test_what_is_no_file_of_ours_is_one_line(two, tmp_path, content, pieces):
    (tmp_path / "b/probabilities.npz").unlink()
    if isinstance(content, bytes):
        (tmp_path / "b/probabilities.npz").write_bytes(content)
    elif content:
        np.savez(tmp_path / "b/probabilities.npz", **content)
    with pytest.raises(InputError) as error:
        combine(two, [1, 1])
    says(error.value, two[1], *pieces)
