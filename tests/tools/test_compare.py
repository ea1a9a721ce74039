"""tools/compare.py on folders in the format of eval.py."""

import csv
import json
import re

import pytest

from conftest import run_script, says
from metrics.sums import sum_rows
from results.comparing import compare
from results.tables import write_evaluation
from utils.errors import InputError

NAMES = ["calm", "<b>fight</b>", "other"]


def evaluated(folder, answers: dict[str, tuple[int, int]]) -> str:
    """Write a folder of eval.py, and return its path. answers: video -> (label, predicted class)."""
    folder.mkdir()
    rows = [
        {"position": i, "video": video.split("#")[0], "label": label, "predicted_class": named,
         "rank": 1 + (label != named), "predicted_name": NAMES[named], "probability": 0.75, "true_probability": 0.2,
         "loss": 1.0}
        for i, (video, (label, named)) in enumerate(answers.items())
    ]  # fmt: skip
    write_evaluation(folder, rows, sum_rows(rows, 3), {"protocol": "3 segments"}, NAMES)
    return str(folder)


def test_two_runs(tmp_path):
    right = {f"{i} a.mp4": (i % 2, i % 2) for i in range(8)}
    a = evaluated(tmp_path / "a", right | {"twice.mp4": (0, 0), "twice.mp4#2": (0, 1), "only here.mp4": (1, 1)})
    b = evaluated(tmp_path / "b", {video: (label, 0) for video, (label, _) in right.items()} | {"twice.mp4": (0, 0)})
    ended = run_script("tools/compare", a, b, "--out", tmp_path / "out")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == (
        "9 videos that all runs have; left out: 2\n"
        f"  top-1 100.00%, 95% interval 70.1 to 100.0: {a}\n"
        f"  top-1  55.56%, 95% interval 26.7 to 81.1: {b}\n"
        f"{a} against {b}:\n"
        "  both right 5, only the first 4, only the second 0, neither 0\n"
        "  McNemar's test: p = 0.12, which may be chance\n"
        f"written to {tmp_path / 'out'}\n"
    )
    with open(tmp_path / "out" / "comparison.csv", newline="") as file:
        lines = list(csv.reader(file))
    assert lines[:3] == [
        ["video", "label", f"{a}: named", f"{a}: right", f"{b}: named", f"{b}: right"],
        ["0 a.mp4", "0", "calm", "1", "calm", "1"],
        ["1 a.mp4", "1", "<b>fight</b>", "1", "calm", "0"],
    ]
    html = (tmp_path / "out" / "report.html").read_text()
    assert "2 runs over 9 videos" in html and "<b>fight" not in html
    # The class with the largest difference comes first: 4 of 4 right against none.
    classes = html.partition('id="classes"')[2].partition("</table>")[0]
    assert re.findall(r"<bdi>(.*?)</bdi>", classes) == ["&lt;b&gt;fight&lt;/b&gt;", "calm"]
    assert re.findall(r">([\d.]+)</td>", classes)[:6] == ["4", "100.0", "100.0", "0.0", "0.0", "100.0"]
    [table] = re.findall(r'<script type="application/json">(.*?)</script>', html)
    rows = json.loads(table)["rows"]
    assert (
        rows["name"] == ["1 a.mp4", "3 a.mp4", "5 a.mp4", "7 a.mp4"] and rows["right"] == [1] * 4
    )  # only the first run is right
    assert (rows["true"], rows["named0"], rows["named1"], rows["p0"]) == ([1] * 4, [1] * 4, [0] * 4, [750_000] * 4)


def test_folders_that_cannot_be_compared(tmp_path):
    a = evaluated(tmp_path / "a", {"1.mp4": (0, 0)})
    b, c = evaluated(tmp_path / "b", {"2.mp4": (0, 0)}), evaluated(tmp_path / "c", {"1.mp4": (1, 0)})
    for folder, *pieces in [
        (str(tmp_path), f"{tmp_path}: ", "not a folder of eval.py", "metrics.json, predictions.csv", "No such file"),
        (b, f"{a}, {b}: ", "no video in common"),
        (c, "1.mp4: ", f"0 in {a}", f"1 in {c}"),
    ]:
        with pytest.raises(InputError) as error:
            compare([a, folder])
        says(error.value, *pieces)
    (tmp_path / "a" / "predictions.csv").write_text("video,class\nx,1\n")
    with pytest.raises(InputError, match="its predictions.csv has other columns"):
        compare([a, a])
