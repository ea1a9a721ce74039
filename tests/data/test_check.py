"""data/check.py: its findings, files and exit codes, and that it resumes a stopped run."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT, frame_pickle, make_clip, processes, run_script, says, synthetic_frames, wait_until
from data.check import main
from documentation import printed_blocks, read_page
from fork_server import start_python
from make_fixtures import FIXTURES
from utils.errors import InputError

CONFIG = """
MODEL: {name: TSN, num_classes: 8, topk: 5}
TRAIN: {short_size: 48, target_size: 32, num_reader_threads: 1, video_timeout: 30}
"""


def prepare(folder: Path, lists: dict[str, str], videos: dict[str, str] | None = None) -> None:
    """Copy fixtures to the names given, and write lists and a configuration."""
    for name, fixture in (videos or {}).items():
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(FIXTURES / fixture, folder / name)
    for name, content in lists.items():
        (folder / name).write_text(content, encoding="utf-8", errors="surrogateescape")
    (folder / "config.yaml").write_text(CONFIG)


def check(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    return run_script("data/check", *arguments, "--config=config.yaml", cwd=folder)


def problems(folder: Path) -> list[tuple[str, ...]]:
    with open(folder / "problems.csv", encoding="utf-8", errors="surrogateescape", newline="") as file:
        heading, *rows = csv.reader(file)
    assert heading == ["list", "line", "video", "problem", "reason"]
    return [tuple(row) for row in rows]


TRAIN = """v/a b.mp4 0

v/h264.mkv 1
v/faststart.mp4 2
v/junk.mp4 3
v/rotated.mp4 3
v/slow motion.mp4 3
v/large.ts 4
v/missing one.mp4 5
v/\udcff.mp4 5
v/short.mp4 6
v/a b.mp4 0
"""
VAL = "v/vp9.webm 1\nv/copy.mp4 7\nv/junk.mp4 1\nv/mjpeg.avi 2"
VIDEOS = {
    "v/a b.mp4": "h264.mp4", "v/h264.mkv": "h264.mkv", "v/faststart.mp4": "faststart.mp4",
    "v/rotated.mp4": "rotated_90.mp4", "v/large.ts": "large.ts", "v/\udcff.mp4": "av1.mp4", "v/vp9.webm": "vp9.webm",
    "v/copy.mp4": "h264.mp4", "v/mjpeg.avi": "mjpeg.avi",
}  # fmt: skip


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess]:
    """Provide a folder with all kinds of problems, and the ended process; its results are in check/."""
    folder = tmp_path_factory.mktemp("check")
    prepare(folder, {"train.list": TRAIN, "val.list": VAL}, VIDEOS)
    (folder / "v/junk.mp4").write_bytes(b"no video")
    make_clip(folder / "v/short.mp4", synthetic_frames(0, 0, length=20, height=48, width=64))
    make_clip(folder / "v/slow motion.mp4", synthetic_frames(0, 0, length=240, height=48, width=64), fps=100)
    return folder, check(folder, "train.list", "val.list")


def test_problems_are_reported_line_by_line(found):
    folder, ended = found
    rate = "the median is 25, the usual range is 6.25 to 100"
    shape = "the median is 1.333, the usual range is 0.8889 to 2"
    assert problems(folder / "check") == [
        ("train.list", "5", "v/junk.mp4", "unreadable", "not a readable video file"),
        ("train.list", "6", "v/rotated.mp4", "size", f"48x64: width / height 0.75; {shape}"),
        ("train.list", "7", "v/slow motion.mp4", "frame rate", f"100 frames/s; {rate}"),
        ("train.list", "8", "v/large.ts", "size",
         "128x96: root of its pixels 110.9; the median is 55.43, the usual range is 27.71 to 110.9"),
        ("train.list", "9", "v/missing one.mp4", "unreadable", "no such file"),
        ("train.list", "11", "v/short.mp4", "duration", "0.8 s; the median is 2.4 s, the usual range is 1.2 to 4.8 s"),
        ("train.list", "12", "v/a b.mp4", "same bytes", "as train.list:1: v/a b.mp4"),
        ("val.list", "2", "v/copy.mp4", "same bytes", "as train.list:1: v/a b.mp4, which has label 0, not 7"),
        ("val.list", "3", "v/junk.mp4", "unreadable", "not a readable video file"),
    ]  # fmt: skip
    assert ended.returncode == 1
    assert ended.stdout == (
        "train.list: 9 of 11 videos can be read: check/train.readable.list\n"
        "val.list: 3 of 4 videos can be read: check/val.readable.list\n"
        "median: 2.4 s, 3072 pixels, width / height 1.33, 25 frames/s\n"
        "7 clips look alike at --similar=0.95, as from a fixed camera: not treated as one recording; a larger "
        "--similar may tell recordings apart\n"
    )
    counts = "(3 unreadable, 1 duration, 2 size, 1 frame rate, 2 same bytes)"
    last = ended.stderr.splitlines()[-1]
    says(last, "error: these lists ", counts, "check/problems.csv")
    section = read_page("data/README.md").split("\n## Are all videos good?\n")[1].split("\n## ")[0]
    assert [shown for _, shown in printed_blocks(section)] == [f"{ended.stdout}{last}\n"]


def test_the_readable_lists_keep_order_and_labels(found):
    folder, _ = found
    train = [line for line in TRAIN.splitlines() if line and "junk" not in line and "missing" not in line]
    assert (folder / "check/train.readable.list").read_text(errors="surrogateescape").splitlines() == train
    assert (folder / "check/val.readable.list").read_text() == "v/vp9.webm 1\nv/copy.mp4 7\nv/mjpeg.avi 2\n"


def test_bytes_are_compared_only_if_size_and_end_are_equal(found):
    folder, _ = found
    lines = [json.loads(line) for line in (folder / "check/check.jsonl").read_text().splitlines()[1:]]
    sizes = {line["video"]: line["bytes"] for line in lines if "bytes" in line}
    assert sizes["v/faststart.mp4"] == sizes["v/a b.mp4"]
    assert sorted(line["video"] for line in lines if "sha256" in line) == ["v/a b.mp4", "v/copy.mp4"]


def test_a_second_run_reads_only_changed_videos(found):
    folder, first = found
    shutil.copytree(folder, folder.parent / "again", dirs_exist_ok=True)
    folder = folder.parent / "again"
    for path in folder.glob("v/*"):  # as they were when they were read
        status = (found[0] / "v" / path.name).stat()
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    before = (folder / "check/check.jsonl").read_bytes()
    again = check(folder, "train.list", "val.list")
    assert (again.returncode, again.stdout) == (1, first.stdout)
    assert (folder / "check/check.jsonl").read_bytes() == before
    shutil.copy(FIXTURES / "hevc.mp4", folder / "v/junk.mp4")
    shutil.copy(FIXTURES / "vp8.webm", folder / "v/missing one.mp4")
    (folder / "v/h264.mkv").unlink()
    assert check(folder, "train.list", "val.list").returncode == 1
    added = (folder / "check/check.jsonl").read_bytes()[len(before) :].splitlines()
    assert sorted((line["video"], line["error"]) for line in map(json.loads, added)) == [
        ("v/h264.mkv", "no such file"), ("v/junk.mp4", None), ("v/missing one.mp4", None),
    ]  # fmt: skip
    rows = problems(folder / "check")
    assert [row[2:4] for row in rows if row[3] == "unreadable"] == [("v/h264.mkv", "unreadable")]


def test_a_list_without_problems(tmp_path):
    prepare(tmp_path, {"infer.list": "a.mp4\nb.mkv\n"}, {"a.mp4": "h264.mp4", "b.mkv": "h264.mkv"})
    ended = check(tmp_path, "infer.list", "--out", "new/out")
    assert ended.returncode == 0 and "error" not in ended.stderr
    assert ended.stdout.splitlines()[-1] == "found no problem in these 2 videos"
    assert (tmp_path / "new/out/infer.readable.list").read_text() == "a.mp4\nb.mkv\n"
    assert problems(tmp_path / "new/out") == []


def test_pickles_are_counted_in_frames_and_their_labels_are_read(tmp_path):
    prepare(tmp_path, {"train.list": "0.pkl\n1.pkl\n9.pkl\nx.pkl\n"})
    (tmp_path / "config.yaml").write_text(CONFIG.replace("topk: 5", "topk: 5, format: pkl"))
    for label in (0, 1, 9):
        (tmp_path / f"{label}.pkl").write_bytes(frame_pickle(label))
    (tmp_path / "x.pkl").write_bytes(frame_pickle(10**5000))
    ended = check(tmp_path, "train.list")
    assert problems(tmp_path / "check") == [
        ("train.list", "3", "9.pkl", "unreadable", "its label 9 is outside 0..7"),
        ("train.list", "4", "x.pkl", "unreadable", "its label has more than 18 digits"),
    ]
    assert "median: 4 frames of 1584 pixels, width / height 1.22\n" in ended.stdout


needs_proc = pytest.mark.skipif(not Path("/proc").exists(), reason="needs /proc")


@needs_proc
@pytest.mark.parametrize("number, code", [(signal.SIGKILL, -9), (signal.SIGTERM, 143)])
def test_a_stopped_run_is_resumed(number, code, tmp_path):
    names = [f"{i}.mp4" for i in range(150)]
    shutil.copy(FIXTURES / "h264.mp4", tmp_path / names[0])
    for name in names[1:]:
        os.link(tmp_path / names[0], tmp_path / name)
    prepare(tmp_path, {"train.list": "".join(f"{name} 1\n" for name in names)})
    command = [str(ROOT / "data/check.py"), "train.list", "--config=config.yaml"]
    environment, real = {**os.environ, "MARK": str(tmp_path)}, number == signal.SIGKILL
    process = start_python(command, environment, tmp_path / "log", cwd=tmp_path, real=real)
    journal = tmp_path / "check/check.jsonl"
    wait_until(lambda: journal.exists() and journal.read_bytes().count(b"\n") > 10)
    process.send_signal(number)
    assert process.wait(60) == code
    wait_until(lambda: not processes(str(tmp_path)))
    done = [json.loads(line)["video"] for line in journal.read_text().splitlines(keepends=True)[1:] if "}\n" in line]
    assert 10 <= len(done) < 150 and not (tmp_path / "check/problems.csv").exists()
    if number == signal.SIGTERM:
        return
    with open(journal, "a") as file:
        file.write('{"video": "149.mp4", "fi')  # a line that was cut off
    assert check(tmp_path, "train.list").returncode == 1
    lines = [json.loads(line) for line in journal.read_text().splitlines()[1:]]
    read = [line["video"] for line in lines if "sha256" not in line]
    assert sorted(read) == sorted(names) and read[: len(done)] == done
    rows = problems(tmp_path / "check")
    assert len(rows) == 149 and {row[3:] for row in rows} == {("same bytes", "as train.list:1: 0.mp4")}


@needs_proc
def test_a_stuck_video_costs_its_time_and_is_tried_again(tmp_path):
    prepare(tmp_path, {"train.list": "stuck.mp4 0\na.mp4 1\n"}, {"a.mp4": "h264.mp4"})
    (tmp_path / "config.yaml").write_text(CONFIG.replace("video_timeout: 30", "video_timeout: 1e-4"))
    shutil.copy(FIXTURES / "large.ts", tmp_path / "stuck.mp4")
    assert check(tmp_path, "train.list").returncode == 1
    assert problems(tmp_path / "check")[0] == (
        "train.list", "1", "stuck.mp4", "unreadable", "given up after 0.0001 s"
    )  # fmt: skip
    prepare(tmp_path, {})
    assert check(tmp_path, "train.list").returncode == 0


@pytest.mark.parametrize("lists, arguments, pieces", [
    ({}, ["none.list"], ["none.list: ", "no such file list"]),
    ({"a.list": "\n"}, ["a.list"], ["a.list: ", "empty"]),
    ({"a.list": "a.mp4 8\n"}, ["a.list"], ["a.list:1: ", "label 8 ", "outside 0..7", "num_classes is 8"]),
    ({"a.list": "a.mp4 1\nb.mp4\n"}, ["a.list"], ["a.list:2: ", "'path label'", "as on other lines"]),
    ({"a.list": "a.mp4 1\n"}, ["a.list", "./a.list"], ["a.list and ./a.list: ", "different names"]),
    ({"a.list": "a.mp4 1\n"}, ["a.list", "--out", "a.list"], ["--out a.list: ", "File exists"]),
    ({}, [], ["the following arguments are required: ", "LIST", "see python data/check.py --help"]),
])  # fmt: skip
def test_mistakes(lists, arguments, pieces, tmp_path, monkeypatch):
    prepare(tmp_path, lists)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["check.py", *arguments, "--config=config.yaml"])
    with pytest.raises(InputError) as error:
        main()
    says(error.value, *pieces)
    assert not (tmp_path / "check").exists()


def test_a_folder_with_other_settings_is_left_alone(tmp_path):
    prepare(tmp_path, {"a.list": "a.mp4 1\n"})
    (tmp_path / "check").mkdir()
    (tmp_path / "check/check.jsonl").write_text("other\n")
    ended = check(tmp_path, "a.list")
    assert ended.returncode == 2
    says(ended.stderr, "error: check/check.jsonl: ", "other settings", "remove it", "--out")
