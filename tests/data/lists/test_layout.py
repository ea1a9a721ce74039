"""Test data/make_lists.py with unusual folders: the files it names, those it counts, and the layouts it refuses."""

import csv
import os
import re
import shutil
import signal
import sys

import pytest

from conftest import ROOT, run_python, says
from list_making import annotate, lines, make_lists, succeed, touch, video_bytes
from make_fixtures import FIXTURES

MEANT, MOVE = "may be splits", ("if they are splits", "rename them")
AMBIGUOUS = [
    (["train/a/1.mp4", "val/a/2.mp4", "yoga/3.mp4"], ["train, val ", MEANT, "yoga beside them", "move yoga ", *MOVE]),
    (["Train/a/1.mp4", "x/1.mp4", "y/2.mp4"], ["Train ", MEANT, "x, y beside them", "move x, y ", *MOVE]),
    (["test/a/1.mp4", *(f"{c}/1.mp4" for c in "abcdefg")],
     ["test ", MEANT, "a, b, c, d, e and 2 more beside them", "move a, b, c, d, e and 2 more ", *MOVE]),
    (["mine/walk/1.mp4", "mine/dance/2.mp4"],
     ["all 2 videos ", "2 folders (dance, walk)", "v/mine", "give --videos v/mine if", "if mine is", "move"]),
    (["mine/train/walk/1.mp4", "mine/val/walk/2.mp4"],
     ["all 2 videos ", "2 folders (train, val)", "v/mine", "give --videos v/mine if", "if mine is", "move"]),
    (["train/mine/walk/1.mp4", "train/mine/dance/2.mp4"],
     ["all 2 videos ", "2 folders (dance, walk)", "v/train/mine", "give --videos v/train if", "if mine is", "move"]),
]  # fmt: skip


@pytest.mark.parametrize("files, pieces", AMBIGUOUS)
def test_a_layout_with_two_meanings_is_refused_with_both(tmp_path, files, pieces):
    touch(tmp_path / "v", *files)
    result = make_lists(tmp_path, "--videos", "v", "--labels", "own")
    assert (result.returncode, result.stdout) == (2, "")
    says(result.stderr, "error: --videos: " + pieces[0], *pieces[1:])
    assert os.listdir(tmp_path) == ["v"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_class_whose_name_is_not_text_is_named(tmp_path):
    folder = os.fsencode(tmp_path) + b"/v/\xcc\xf8\xce\xe8"
    os.makedirs(folder)
    with open(folder + b"/1.mp4", "wb") as file:
        file.write(video_bytes("1"))
    result = make_lists(tmp_path, "--videos", "v")
    assert result.returncode == 2
    says(result.stderr, "error: --videos: ", r"folder b'\xcc\xf8\xce\xe8'", "not UTF-8", "rename it", "convmv")


CLEAR = [
    # A stray file beside the splits.
    (["train/a/1.mp4", "train/b/2.mp4", "val/a/3.mp4", "stray.mp4"], ["a", "b"], 2),
    (["train/a/1.mp4", "train/b/2.mp4", "val/3.mp4"], ["a", "b"], 2),
    # Classes with names of splits, and no folders in them.
    (["test/1.mp4", "drive/2.mp4"], ["drive", "test"], None),
    # Folders of recordings in the class folders.
    (["walk/r1/1.mp4", "walk/r2/2.mp4", "run/r1/3.mp4"], ["run", "walk"], None),
    (["walk/r1/1.mp4", "walk/2.mp4"], ["walk"], None),
]


@pytest.mark.parametrize("files, classes, trained", CLEAR)
def test_a_layout_with_one_meaning_is_accepted(tmp_path, files, classes, trained):
    touch(tmp_path / "v", *files)
    out = succeed(tmp_path, "--videos", "v", "--labels", "own")
    assert [row.split(",")[1] for row in lines(tmp_path, "classes.csv")[1:]] == classes
    assert trained in (None, len(lines(tmp_path, "train.list")))
    only = f"there is only one class, {classes[0]}: any network is always right\n"
    assert (only in out) == (len(classes) == 1)


def remarks(folder) -> dict[str, str]:
    with open(folder / "lists" / "remarks.csv") as file:
        return {row["where"]: row["remark"] for row in csv.DictReader(file)}


def test_every_file_is_named_or_counted(tmp_path):
    v = tmp_path / "v"
    touch(v, "walk/1.mp4", "walk/2.MTS", "run/3.vob", "run/4.mp4", "run/5.mp4")
    touch(v, "walk/1.srt", "walk/README", "run/photo.JPG", "run/photo.jpg", "run/notes.txt", content="x")
    (v / "dance").mkdir()
    touch(v, "sit/clip.xyz", content="x")
    out = succeed(tmp_path, "--videos", "v", "--labels", "own")
    listed = sum((lines(tmp_path, f"{split}.list") for split in ("train", "val", "test")), [])
    assert sorted(line.split()[0] for line in listed) == [
        "v/run/3.vob", "v/run/4.mp4", "v/run/5.mp4", "v/walk/1.mp4", "v/walk/2.MTS",
    ]  # fmt: skip
    assert out.split("\n\nwritten")[0].splitlines()[-3:] == [
        "video files found: 5, in no list: 0",
        "skipped files that are not videos: 6: .jpg 2, without a suffix 1, .srt 1, .txt 1, .xyz 1",
        "class folders without a video: 2: v/dance, v/sit",
    ]
    assert set(remarks(tmp_path)) == {"v/dance", "v/sit"}


def test_class_folders_below_splits_are_looked_at_as_well(tmp_path):
    touch(tmp_path / "v", "train/a/1.mp4", "train/b/2.mp4", "val/a/3.mp4")
    (tmp_path / "v/val/b").mkdir()
    out = succeed(tmp_path, "--videos", "v", "--labels", "own")
    assert "\nclass folders without a video: 1: v/val/b\n" in out


def test_broken_files_are_in_no_list(tmp_path):
    v = tmp_path / "v"
    touch(v, *(f"{name}/{i}.mp4" for name in ("walk", "run") for i in range(4)))
    touch(v, "walk/text.mp4", content="no video")
    (v / "run/cut.mp4").write_bytes((FIXTURES / "h264.mp4").read_bytes()[:3000])
    shutil.copy(FIXTURES / "audio_only.mp4", v / "run/sound.mp4")
    touch(v, "run/empty.mp4", content="")
    out = succeed(tmp_path, "--videos", "v", "--labels", "own")
    broken = {"v/run/cut.mp4", "v/run/sound.mp4", "v/walk/text.mp4"}
    found = remarks(tmp_path)
    assert set(found) == {*broken, "v/run/empty.mp4"} and found.pop("v/run/empty.mp4") == "an empty file"
    assert all(remark.startswith("cannot be opened: ") for remark in found.values())
    assert "\nvideo files found: 12, in no list: 4\n" in out
    assert f"\nvideo files that cannot be opened: 3: {', '.join(sorted(broken))}; remarks.csv says why\n" in out
    listed = "".join("".join(lines(tmp_path, f"{split}.list")) for split in ("train", "val", "test"))
    assert not any(path in listed for path in broken)


def test_if_all_videos_are_broken_the_error_says_so(tmp_path):
    touch(tmp_path / "v", "walk/1.mp4", "run/2.mp4", content="no video")
    result = make_lists(tmp_path, "--videos", "v")
    what = "none of 2 videos in class folders can be listed; v/run/2.mp4: cannot be opened: "
    assert result.returncode == 2 and result.stderr.startswith(f"error: {what}")


def test_an_annotated_clip_with_a_broken_file_gets_another_file_or_is_missing(tmp_path):
    annotate(tmp_path, "train.csv", "a,one,0,10,train", "a,two,0,10,train", "b,three,0,10,train")
    touch(tmp_path / "v", "two.mp4", "three_0_10.mp4")
    touch(tmp_path / "v", "one_0_10.mp4", "two_0_10.mp4", content="no video")
    out = succeed(tmp_path, "--videos", "v", "--annotations", "train.csv", "--labels", "own")
    assert lines(tmp_path, "train.list") == ["v/two.mp4 0", "v/three_0_10.mp4 1"]
    assert lines(tmp_path, "missing.csv")[1].startswith("a,one,0,10,train,cannot be opened: ")
    assert set(remarks(tmp_path)) == {"v/one_0_10.mp4", "v/two_0_10.mp4"}
    assert "\nvideo files that cannot be opened: 2: v/one_0_10.mp4, v/two_0_10.mp4; remarks.csv says why\n" in out


def test_files_of_the_same_bytes_are_named(tmp_path):
    v = tmp_path / "v"
    touch(v, "train/a/1.mp4", "train/b/2.mp4", "val/a/3.mp4", "val/b/4.mp4", "val/b/5.mp4")
    shutil.copy(v / "train/a/1.mp4", v / "val/a/copy.mp4")
    shutil.copy(v / "train/a/1.mp4", v / "train/b/wrong.mp4")
    os.link(v / "val/b/4.mp4", v / "val/b/link.mp4")
    same_size = video_bytes("train/a/9.mp4")  # as train/a/1.mp4, but with other bytes
    (v / "train/a/9.mp4").write_bytes(same_size)
    out = succeed(tmp_path, "--videos", "v", "--labels", "own")
    assert remarks(tmp_path) == {
        "v/train/b/wrong.mp4": "the same bytes as v/train/a/1.mp4; both are listed",
        "v/val/a/copy.mp4": "the same bytes as v/train/a/1.mp4; both are listed",
        "v/val/b/link.mp4": "the same bytes as v/val/b/4.mp4; both are listed",
    }
    what = "of these files 1 are in two splits, 1 in two classes; remarks.csv names them"
    what += "; for clips of several classes, give --annotations a CSV file with the columns path,labels,split"
    assert f"\nclips with the same bytes as another one: 3; {what}\n" in out


@pytest.mark.parametrize("more", [[], ["--force"]])
@pytest.mark.parametrize("moment", ["train.list", "config.yaml", "classes.csv"])
def test_after_a_kill_the_same_command_goes_on(tmp_path, moment, more):
    touch(tmp_path / "v", *(f"{name}/{i}.mp4" for name in ("walk", "run") for i in range(5)))
    command = ["--videos", "v", "--labels", "own"]
    program = f"""
import os, signal, sys
sys.path.insert(0, {str(ROOT)!r})
from data import make_lists
from utils.storage import files
write = files.write_atomic
def write_or_die(path, *rest):
    if path.name == {moment!r}:
        path.with_name(f".{{path.name}}.{{os.getpid()}}.tmp").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    write(path, *rest)
files.write_atomic = write_or_die
sys.argv[0] = "make_lists.py"
make_lists.main()
"""
    if more:  # there are lists to replace
        succeed(tmp_path, *command)
    killed = run_python(["-c", program, "--out=lists", *command, *more], dict(os.environ), tmp_path, 120)
    assert killed.returncode == -signal.SIGKILL
    assert any(name.endswith(".tmp") for name in os.listdir(tmp_path / "lists"))
    succeed(tmp_path, *command)
    left = set(os.listdir(tmp_path / "lists"))
    assert not [name for name in left if name.startswith(".")] and "classes.csv" in left
    result = make_lists(tmp_path, *command)  # whole lists are not replaced
    assert result.returncode == 2 and re.search("train.list exists; --force replaces", result.stderr)
