"""Unreadable videos: training replaces them, evaluation counts them, prediction writes an entry for them."""

import csv
import json
import subprocess
from pathlib import Path

import pytest

from conftest import ROOT, frame_pickle, run_narrow, run_script, says, write_list
from utils.config.foreign import list_advice
from weight_formats import random_state, write_pickle


def run(*arguments: str) -> subprocess.CompletedProcess:
    return run_script(*arguments, OMP_NUM_THREADS="1")  # more threads would wait for each other


@pytest.fixture(scope="module")
def broken(workspace, tmp_path_factory) -> dict[str, Path]:
    """Make a file of each kind that is not a complete video."""
    folder = tmp_path_factory.mktemp("broken videos")
    whole = workspace.videos[0][0].read_bytes()
    middle = len(whole) // 2
    contents = {
        "missing.mp4": None,
        "zero bytes.mp4": b"",
        "garbage.mp4": bytes(range(256)) * 100,
        "audio only.mp4": (ROOT / "tests" / "fixtures" / "audio_only.mp4").read_bytes(),
        "truncated.mp4": whole[:middle],
        "broken in the middle.mp4": whole[:middle] + b"\0" * 3000 + whole[middle + 3000 :],
    }
    for name, content in contents.items():
        if content is not None:
            (folder / name).write_bytes(content)
    return {name: folder / name for name in contents}


def train(workspace, tmp_path, videos, *flags):
    filelist = write_list(tmp_path / "mixed.list", videos)
    return run_narrow(
        "train", workspace.config, "--pretrain=none", "--epoch=2", "--valid_interval=0", "--log_interval=1",
        "--report=False", f"--save_dir={tmp_path / 'out'}", "--set", f"TRAIN.filelist={filelist}", *flags,
        OMP_NUM_THREADS="1",
    )  # fmt: skip


def test_training_replaces_them_and_names_each_once(workspace, broken, tmp_path):
    videos = [*workspace.videos[:4], (broken["garbage.mp4"], 1), *workspace.videos[4:6], (broken["missing.mp4"], 2)]
    ended = train(workspace, tmp_path, videos, "--set", "TRAIN.max_unreadable=0.25")
    assert ended.returncode == 0, ended.stderr
    lines = [line for line in ended.stdout.splitlines() if "unreadable" in line and "max_unreadable" not in line]
    assert len(lines) == 2  # two epochs
    for name in ("garbage.mp4", "missing.mp4"):
        (line,) = (line for line in lines if name in line)
        assert line.startswith(f"unreadable, replaced by the next video of the list: {broken[name]}: ")
        assert len(line) > len(f"unreadable, replaced by the next video of the list: {broken[name]}: ")
    assert "2 epochs of 2 steps, seed " in ended.stdout
    log = [json.loads(line) for line in (tmp_path / "out" / "train_log.jsonl").read_text().splitlines()]
    assert [line["mode"] for line in log] == ["train", "train", "epoch"] * 2  # no step is lost


def test_training_stops_when_there_are_too_many(workspace, broken, tmp_path):
    videos = [*workspace.videos[:6], (broken["garbage.mp4"], 1), (broken["zero bytes.mp4"], 1)]
    ended = train(workspace, tmp_path, videos)
    assert ended.returncode == 2
    allowed = "TRAIN.max_unreadable allows (0.01 of the list, at least one)"
    message = f"error: 2 of 8 training videos are unreadable, more than {allowed}: "
    (line,) = (line for line in ended.stderr.splitlines() if line.startswith("error"))
    assert line.startswith(message) and str(broken["garbage.mp4"]) in line and str(broken["zero bytes.mp4"]) in line
    assert "Traceback" not in ended.stderr


def test_training_goes_on_with_one(workspace, broken, tmp_path):
    ended = train(workspace, tmp_path, [*workspace.videos[:3], (broken["truncated.mp4"], 1)], "--epoch=1")
    assert ended.returncode == 0, ended.stderr


def test_evaluation_reports_them_beside_the_accuracy(workspace, broken, tmp_path):
    videos = [entry for pair in zip(workspace.held_out, [(path, 1) for path in broken.values()]) for entry in pair]
    videos.append((broken["broken in the middle.mp4"], 3))
    filelist = write_list(tmp_path / "mixed.list", videos)
    ended = run(
        "eval", workspace.config, workspace.weights, f"--save_dir={tmp_path}", "--set", f"TEST.filelist={filelist}"
    )
    assert ended.returncode == 0, ended.stderr
    last = ended.stdout.splitlines()[-1]
    assert "videos: 5, unreadable: 6; " in last
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["videos"] == 5
    assert [entry["video"] for entry in metrics["unreadable"]] == [*map(str, broken.values())]  # in list order
    assert all(entry["error"] for entry in metrics["unreadable"])
    for path in broken.values():
        assert ended.stdout.count(f"unreadable, not counted: {path}: ") == 1
    with open(tmp_path / "predictions.csv", newline="") as file:
        assert [row["video"] for row in csv.DictReader(file)] == [str(path) for path, _ in workspace.held_out]

    # The figures are the same as without them.
    plain = run("eval", workspace.config, workspace.weights, f"--save_dir={tmp_path / 'plain'}", "--report=False")
    assert plain.returncode == 0, plain.stderr
    theirs = json.loads((tmp_path / "plain" / "metrics.json").read_text())
    assert theirs["loss"] == pytest.approx(metrics["loss"], rel=1e-6) and theirs["top1_acc"] == metrics["top1_acc"]


def test_nothing_to_evaluate(workspace, broken, tmp_path):
    filelist = write_list(tmp_path / "bad.list", [(broken["missing.mp4"], 0), (broken["garbage.mp4"], 0)])
    flags = workspace.config, workspace.weights, f"--save_dir={tmp_path / 'out'}"
    ended = run("eval", *flags, "--set", f"TEST.filelist={filelist}")
    assert ended.returncode == 2 and not (tmp_path / "out").exists()
    says(ended.stderr, f"error: {filelist}: ", "none of its 2 videos", "no such file", list_advice("", "no such file"))


def test_prediction_writes_an_entry_and_goes_on(workspace, broken, tmp_path):
    videos = [workspace.held_out[0], *((path, 0) for path in broken.values()), workspace.held_out[1]]
    filelist = write_list(tmp_path / "mixed.list", videos)
    ended = run("predict", workspace.config, workspace.weights, f"--save_dir={tmp_path}", f"--filelist={filelist}")
    assert ended.returncode == 0, ended.stderr
    results = json.loads((tmp_path / "predictions.json").read_text())
    assert [result["video"] for result in results] == [str(path) for path, _ in videos]
    assert [list(result) for result in results] == [
        ["video", "predictions"],
        *[["video", "error"]] * 6,
        ["video", "predictions"],
    ]
    for result in results[1:7]:
        assert f"{result['video']}: unreadable: {result['error']}\n" in ended.stdout
    assert ended.stdout.splitlines()[-1].startswith("predicted 2 of 8 videos, 6 unreadable; written to ")
    with open(tmp_path / "predictions.csv", newline="") as file:
        errors = [(row["video"], row["error"]) for row in csv.DictReader(file) if row["error"]]
    assert errors == [(result["video"], result["error"]) for result in results[1:7]]


def test_frame_pickles_go_the_same_way(workspace, tmp_path):
    """An evaluation reads the original's second format; labels come from the pickles."""
    write_pickle(tmp_path / "narrow.pdparams", random_state(18, 4, narrow=True))
    contents = [frame_pickle(0), frame_pickle(3), frame_pickle(7), b"no pickle", frame_pickle(1)[:-50]]
    for number, content in enumerate(contents):
        (tmp_path / f"v {number}.pkl").write_bytes(content)
    filelist = tmp_path / "pkl.list"
    filelist.write_text("".join(f"{tmp_path}/v {number}.pkl\n" for number in range(5)))
    ended = run_narrow(
        "eval", workspace.config, f"--weights={tmp_path}/narrow.pdparams", f"--save_dir={tmp_path}",
        "--set", "MODEL.format=pkl", "--set", f"TEST.filelist={filelist}", OMP_NUM_THREADS="1",
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["videos"] == 2
    assert [entry["error"] for entry in metrics["unreadable"]] == [
        "its label 7 is outside 0..3",
        "not a frame pickle: it is damaged (ValueError)",
        "not a frame pickle: it is damaged (ValueError)",
    ]
