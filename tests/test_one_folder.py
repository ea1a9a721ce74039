"""Files of an earlier run are removed, labelled videos are no input, and "none" is in every output."""

import csv
import json
import os
import shutil
import signal

import numpy as np
import pytest

from conftest import ROOT, make_clip, run_script, says, start_python, synthetic_frames, wait_until, write_list
from inference.rows import NONE, top_predictions
from metrics.sums import wilson
from reader.build import in_train_list
from reader.filelist import Entry, FileList
from reader.videos import is_labelled, videos_at
from results.row_checks import prediction_fits
from results.task import check_readable
from utils.config.loading import load_config
from utils.errors import RunError


@pytest.fixture(scope="module")
def clips(workspace, tmp_path_factory):
    """Make a folder with two clips, and their labelled videos, timelines and page, made with --threshold=1."""
    folder = tmp_path_factory.mktemp("one") / "clips"
    folder.mkdir()
    make_clip(folder / "a.mp4", synthetic_frames(0, 0, length=30))
    make_clip(folder / "b.mp4", synthetic_frames(1, 1, length=12))
    (folder / "mine.vtt").write_text("WEBVTT\n")
    wanted = ["--window=0.6", "--save_video=True", "--threshold=1"]
    given = [workspace.config, workspace.weights, f"--video_path={folder}", f"--save_dir={folder}"]
    ended = run_script("predict", *given, *wanted)
    assert ended.returncode == 0, ended.stderr
    return folder


def test_an_unsure_answer_is_none_in_every_output(clips):
    rows = json.loads((clips / "predictions.json").read_text())
    windows = json.loads((clips / "timeline.json").read_text())
    assert {row["predictions"][0]["label"] for row in rows + windows} == {NONE}
    for name in ("predictions.csv", "timeline.csv"):
        with open(clips / name, newline="") as file:
            assert {row["label"] for row in csv.DictReader(file) if row["rank"] == "1"} == {NONE}
    lines = (clips / "a.vtt").read_text().splitlines()
    assert all(line.startswith(NONE) for line in lines if line.endswith("%"))
    assert NONE in (clips / "report.html").read_text()


def test_none_is_what_is_left_of_the_best_class():
    logits, names = np.log(np.array([[0.5, 0.3, 0.2], [0.9, 0.06, 0.04]], np.float32)), ["a", "b", "c"]
    unsure, sure = top_predictions(logits, names, 2, threshold=0.6)
    assert [(p["class_id"], p["label"]) for p in unsure] == [(-1, NONE), (0, "a"), (1, "b")]
    assert unsure[0]["probability"] == pytest.approx(0.5) and [p["label"] for p in sure] == ["a", "b"]
    fits = prediction_fits(names, 2, [Entry("x"), Entry("x")], threshold=0.6)
    assert all(fits({"position": 0, "video": "x", "file": None, "predictions": best}) for best in (unsure, sure))
    assert not prediction_fits(names, 2, [Entry("x")])({"position": 0, "video": "x", "predictions": unsure})


def test_what_this_tool_has_made_is_no_clip(clips, tmp_path, capsys):
    for name in ("a.mp4", "a.labelled.mp4"):
        shutil.copy(clips / name, tmp_path)
    (tmp_path / "a.labelled.mp4").rename(tmp_path / "holiday.mp4")
    shutil.copy(clips / "b.mp4", tmp_path / "b.labelled.mp4")  # only its name is that of a labelled video
    for pattern in ("", "/*.mp4"):
        found = [entry.path for entry in videos_at(f"{tmp_path}{pattern}")]
        assert found == [f"{tmp_path}/a.mp4", f"{tmp_path}/b.labelled.mp4"]
        assert capsys.readouterr().out == (
            f"{tmp_path}{pattern}: skipped videos labelled by predict.py or live.py: 1\n"
        )
    (tmp_path / "empty.mp4").touch()
    assert not is_labelled(f"{tmp_path}/empty.mp4") and not is_labelled(f"{tmp_path}/gone.mp4")


def test_what_an_earlier_run_left_is_removed_and_said(clips, workspace, tmp_path):
    folder = tmp_path / "clips"
    shutil.copytree(clips, folder)  # keeps the modification times
    (folder / "b.vtt").write_text("WEBVTT\n\nmine by now\n")
    given = [workspace.config, workspace.weights, f"--save_dir={folder}", "--report=False"]
    ended = run_script("predict", *given, f"--video_path={folder}/a.mp4")
    assert ended.returncode == 0, ended.stderr
    assert sorted(path.name for path in folder.iterdir()) == [
        ".made.json", "a.mp4", "b.mp4", "b.vtt", "config.yaml", "mine.vtt", "predictions.csv", "predictions.json",
    ]  # fmt: skip
    removed = "a.labelled.mp4, a.vtt, b.labelled.mp4 and 4 more"
    assert f"{folder}: removed files of an earlier run: {removed}\n" in ended.stdout


def test_where_no_video_can_be_read_the_run_has_failed(workspace, tmp_path):
    (tmp_path / "clips").mkdir()
    for name in "ab":
        (tmp_path / f"clips/{name}.mp4").write_bytes(b"no video")
    given = [workspace.config, workspace.weights, f"--video_path={tmp_path}/clips", f"--save_dir={tmp_path}/out"]
    ended = run_script("predict", *given)
    says(ended.stderr, "error: 2 of 2 videos ", "could not be read", "the results list them")
    assert ended.returncode == 1 and (tmp_path / "out/predictions.csv").exists()


@pytest.mark.parametrize(
    "unreadable, strict, fails", [(0, True, False), (1, False, False), (1, True, True), (3, False, True)]
)
def test_which_runs_have_failed(unreadable, strict, fails):
    if fails:
        with pytest.raises(RunError):
            check_readable(unreadable, 3, strict)
    else:
        check_readable(unreadable, 3, strict)


def test_an_evaluation_says_what_was_trained_on_and_counts_different_videos(workspace, tmp_path):
    trained, others = workspace.videos[:2], workspace.held_out[:2]
    listed = write_list(tmp_path / "test.list", [*trained, *others, *[others[0]] * 4])
    given = [workspace.config, workspace.weights, f"--save_dir={tmp_path}/out", f"--filelist={listed}"]
    ended = run_script("eval", *given)
    assert ended.returncode == 0, ended.stderr
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    assert (metrics["videos"], metrics["repeated"], metrics["in_train_list"]) == (8, 4, 2)
    right = round(metrics["top1_acc"] * 8 / 100)
    assert metrics["top1_interval"] == list(wilson(right, 8, 4))
    assert "2 of these 8 videos are also in TRAIN's list" in ended.stdout
    assert "2 of these videos" in (tmp_path / "out/report.html").read_text()


def test_an_interval_of_videos_that_come_again_is_as_wide_as_without_them():
    assert wilson(15, 30, 10) == pytest.approx(wilson(5, 10)) and wilson(15, 30, 30) == wilson(15, 30)


def test_without_a_list_of_training_nothing_is_known(workspace, tmp_path):
    config = load_config(workspace.config.partition("=")[2], {"TRAIN.filelist": str(tmp_path / "gone.list")})
    assert in_train_list(config, FileList([Entry("a.mp4", 0)])) is None


def test_after_an_interruption_what_is_made_of_videos_is_kept(clips, workspace, tmp_path):
    (tmp_path / "clips").mkdir()
    for name in ("a.mp4", "b.mp4"):
        shutil.copy(clips / name, tmp_path / "clips")
    out = tmp_path / "out"
    given = [workspace.config, workspace.weights, f"--video_path={tmp_path}/clips", f"--save_dir={out}"]
    given += ["--report=False", "--save_video", "--window=30"]
    command = [str(ROOT / "tests/labelling.py"), *given]
    ended = start_python(command, {**os.environ, "TSN_TEST_REST": "b"}, tmp_path / "log")
    try:
        wait_until(lambda: [*out.glob(".b.labelled.mp4.*.tmp")], seconds=90)
    finally:
        ended.send_signal(signal.SIGINT)
        assert ended.wait(60) == 130
    before = (out / "a.labelled.mp4").stat()
    again = run_script("predict", *given)
    assert again.returncode == 0, again.stderr
    assert (out / "a.labelled.mp4").stat().st_mtime_ns == before.st_mtime_ns
    assert {row["video"] for row in json.loads((out / "timeline.json").read_text())} == {
        f"{tmp_path}/clips/{name}.mp4" for name in "ab"
    }
    assert "labelled video: " + str(out / "b.labelled.mp4") in again.stdout
    assert str(out / "a.labelled.mp4") not in again.stdout and not [*out.glob("*.partial*")]
    assert {"a.labelled.mp4", "a.vtt", "b.vtt"} <= json.loads((out / ".made.json").read_text()).keys()
