"""predict.py over a folder, with every output for each video; the errors if that is impossible."""

import csv
import json
import os
import shutil
from dataclasses import replace

import av
import pytest

from conftest import ROOT, make_clip, run_python, run_script, says, start_python, synthetic_frames, wait_until
from results.pages.per_video import check_wanted, unique_names
from results.pages.words import in_english
from utils.config.flags import Flags
from utils.config.keys import InferConfig
from utils.errors import InputError

FLAGS = Flags("predict", "tsn.yaml")
SECTION = InferConfig(decoder="auto")


@pytest.fixture(scope="module")
def clips(workspace, tmp_path_factory):
    """Make two clips of the same name, one of another name, and one that is cut off."""
    folder = tmp_path_factory.mktemp("per_video") / "clips"
    (folder / "more").mkdir(parents=True)
    make_clip(folder / "a.mp4", synthetic_frames(0, 0, length=30))
    shutil.copy(folder / "a.mp4", folder / "more" / "a.mp4")
    make_clip(folder / "b.mp4", synthetic_frames(1, 1, length=12))
    (folder / "cut.mp4").write_bytes((folder / "a.mp4").read_bytes()[:-500])
    return folder


@pytest.fixture(scope="module")
def made(clips, workspace):
    """Run predict.py over the folder. Return its stdout and the folder of its files."""
    save_dir = clips.parent / "results"
    command = [str(ROOT / "predict.py"), workspace.config, workspace.weights, f"--video_path={clips}"]
    command += ["--window=0.6", "--stride=0.2", "--save_video=True", "--explain=True", f"--save_dir={save_dir}"]
    ended = run_python(command, dict(os.environ), ROOT, 120, kind="train")  # has imported paddle for the heat maps
    assert ended.returncode == 0, ended.stderr
    return ended.stdout, save_dir


def test_a_folder_is_predicted_like_a_list(made, clips):
    out, folder = made
    rows = json.loads((folder / "predictions.json").read_text())
    assert [row["video"] for row in rows] == [f"{clips}/{name}" for name in ("a.mp4", "b.mp4", "cut.mp4", "more/a.mp4")]
    assert "error" in rows[2]
    assert out.endswith(f"predicted 3 of 4 videos, 1 unreadable; written to {folder}\n")


def test_timelines(made, clips):
    out, folder = made
    records = json.loads((folder / "timeline.json").read_text())
    spans = {video: [] for video in dict.fromkeys(record["video"] for record in records)}
    for record in records:
        if "error" not in record:
            spans[record["video"]].append((record["start"], record["end"]))
            assert [p["label"] for p in record["predictions"]] and len(record["predictions"]) == 3
    assert list(spans.values()) == [
        [(0, 0.6), (0.2, 0.8), (0.4, 1.0), (0.6, 1.2)],
        [(0, 0.48)],
        [],
        spans[f"{clips}/a.mp4"],
    ]
    with open(folder / "timeline.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 3 * 9 + 1 and {line["video"] for line in lines} == set(spans)
    assert sorted(path.name for path in folder.glob("*.vtt")) == ["a.vtt", "a_2.vtt", "b.vtt"]
    assert (folder / "a.vtt").read_text().startswith("WEBVTT\n\n00:00:00.000 --> 00:00:00.400\n")
    assert f"timeline of {clips}/a.mp4: 4 windows of 0.6 s, every 0.2 s\n" in out
    # A single window over a short clip has the clip's answer.
    [whole] = [row for row in json.loads((folder / "predictions.json").read_text()) if row["video"].endswith("b.mp4")]
    [window] = [record for record in records if record["video"].endswith("b.mp4")]
    for ours, theirs in zip(window["predictions"], whole["predictions"]):
        assert ours["class_id"] == theirs["class_id"] and ours["probability"] == pytest.approx(theirs["probability"])


def test_labelled_videos(made):
    _, folder = made
    assert sorted(path.name for path in folder.glob("*.mp4")) == [f"{n}.labelled.mp4" for n in ("a", "a_2", "b")]
    with av.open(str(folder / "a.labelled.mp4")) as file:
        assert sum(1 for _ in file.decode(video=0)) == 30
    assert [path.name for path in folder.glob(".*")] == [".made.json"]


def test_heat_maps(made):
    _, folder = made
    names = {path.name for path in (folder / "explain").iterdir()}
    assert names == {f"{name}_seg{number}.png" for name in ("a", "a_2", "b") for number in (1, 2, 3)}


def test_all_of_it_is_in_the_report(made):
    pytest.importorskip("jinja2")
    html = (made[1] / "report.html").read_text()
    assert html.count('class="stretches"') == 3 and html.count("<img ") == 3 * 3 + 3 * 3
    assert "4 windows, 1 stretch · 1.2 s" in in_english(html)


def test_the_next_run_removes_the_unfinished_file_of_a_killed_run(clips, workspace, tmp_path):
    """The run is killed while it writes the labelled video; the next run writes none."""
    out = tmp_path / "out"
    given = [workspace.config, workspace.weights, f"--video_path={clips}/b.mp4", "--report=False", f"--save_dir={out}"]
    command = [str(ROOT / "tests/labelling.py"), *given, "--save_video=True"]
    killed = start_python(command, {**os.environ, "TSN_TEST_REST": "b"}, tmp_path / "log")
    try:
        wait_until(lambda: [*out.glob(".b.labelled.mp4.*.tmp")], seconds=60)
    finally:
        killed.kill()
        killed.wait(60)
    assert [*out.glob(".b.labelled.mp4.*.tmp")]
    ended = run_script("predict", *given)
    assert ended.returncode == 0, ended.stderr
    assert sorted(path.name for path in out.iterdir()) == [
        ".made.json", "config.yaml", "predictions.csv", "predictions.json",
    ]  # fmt: skip


def test_one_video(clips, workspace, tmp_path):
    """Its timeline is on the screen."""
    given = [workspace.config, workspace.weights, f"--video_path={clips}/a.mp4", "--window=0.6", "--report=False"]
    ended = run_script("predict", *given, "--set", "INFER.seg_num=2", f"--save_dir={tmp_path}")
    assert ended.returncode == 0, ended.stderr
    assert f"timeline of {clips}/a.mp4: 3 windows of 0.6 s, every 0.3 s\n      0:00 to " in ended.stdout
    assert {path.name for path in tmp_path.iterdir()} == {
        ".made.json", "config.yaml", "predictions.csv", "predictions.json", "timeline.csv", "timeline.json", "a.vtt",
    }  # fmt: skip


@pytest.mark.parametrize(
    "flags, section, pieces",
    [
        ({"stride": 5.0}, {}, ["--stride=5: ", "--window=SECONDS"]),
        ({"window": 10.0, "features": True}, {}, ["--features ", "--window ", "only one of them"]),
        ({"window": 10.0}, {"format": "pkl"}, ["--window ", "needs videos", "INFER.format is pkl"]),
        ({"save_video": True}, {"format": "pkl"}, ["--save_video ", "needs videos", "INFER.format is pkl"]),
        ({"window": 10.0}, {"seglen": 5}, ["--window ", "segments of one frame", "INFER.seglen is 5"]),
        ({"window": 10.0}, {"decoder": "opencv"}, ["--window ", "with pyav", "INFER.decoder is opencv"]),
        ({"explain": True}, {}, ["--explain ", "at most 1000 videos", "not 1001"]),
    ],
)
def test_contradictions(flags, section, pieces):
    with pytest.raises(InputError) as error:
        check_wanted(replace(FLAGS, **flags), replace(SECTION, **section), 1001)
    says(error.value, *pieces)


def test_what_goes_together():
    check_wanted(replace(FLAGS, save_video=True, features=True), replace(SECTION, decoder="decord"), 100_000)
    check_wanted(replace(FLAGS, explain=True), replace(SECTION, format="pkl", seglen=5, crops=10), 1000)


def test_names():
    paths = ["x/a.mp4", "y/A.mkv", "a_2.mp4", "s3://bucket/a.mp4?region=eu", "b.c.mp4", "ä" * 120 + ".mp4", "x/a.avi"]
    names = unique_names(paths)
    assert names[:5] == ["a", "A_3", "a_2", "a_4", "b.c"] and names[6] == "a_5"
    assert len(set(map(str.casefold, names))) == len(paths) and len(names[5].encode()) <= 200
