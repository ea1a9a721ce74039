"""data/check.py: clips of two lists that look alike, and lists of folders of frames."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import make_clip, picture, run_script
from data.lists.similar import Alike

CONFIG = "MODEL: {name: TSN, num_classes: 8, topk: 5, seg_num: 2}\nTRAIN: {short_size: 48, target_size: 32}\n"


@pytest.fixture
def run(tmp_path):
    """Provide a function that runs check.py. It returns the output, the error and the rows of problems.csv."""
    (tmp_path / "config.yaml").write_text(CONFIG)

    def call(*arguments: str) -> tuple[str, str, list[tuple[str, ...]]]:
        ended = run_script("data/check", "--config=config.yaml", *arguments, cwd=tmp_path)
        with open(tmp_path / "check/problems.csv", newline="") as file:
            rows = [tuple(row) for row in csv.reader(file)][1:]
        return ended.stdout, ended.stderr.removeprefix("error: ").strip(), rows

    return call


def clip(seed: int, change: float = 1) -> np.ndarray:
    """Return uint8 [6, 48, 64, 3]. change: the brightness; below 1 there is noise."""
    frames = np.stack([picture(64, 48, seed + i) for i in (0, 0, 100, 100, 200, 200)])
    noise = np.random.default_rng(seed).normal(0, 150 * (1 - change), frames.shape)
    return np.clip(frames * change + noise, 0, 255).astype(np.uint8)


def test_clips_of_two_lists_that_look_alike_are_reported(run, tmp_path):
    for seed in range(8):
        make_clip(tmp_path / f"{seed}.mp4", clip(seed))
    for seed, change in ((0, 0.8), (3, 0.7)):
        make_clip(tmp_path / f"{seed} darker.mp4", clip(seed, change))
    (tmp_path / "copy of 1.mp4").write_bytes((tmp_path / "1.mp4").read_bytes())
    (tmp_path / "train.list").write_text("0.mp4 0\n1.mp4 1\n2.mp4 2\n3.mp4 3\n3 darker.mp4 3\n")
    (tmp_path / "val.list").write_text("4.mp4 0\n\n0 darker.mp4 0\ncopy of 1.mp4 1\n5.mp4 1\n")
    lists = "train.list", "val.list"
    out, _, rows = run(*lists, "--similar=0")
    assert "look alike" not in out and [row[2:4] for row in rows] == [("copy of 1.mp4", "same bytes")]
    journal = (tmp_path / "check/check.jsonl").read_text().splitlines()
    out, message, rows = run(*lists)
    assert rows[0][:4] == ("val.list", "3", "0 darker.mp4", "looks alike") and len(rows) == 3
    assert rows[0][4].endswith(", as train.list:1: 0.mp4") and 0.95 <= float(rows[0][4].split(",")[0]) < 1
    assert rows[1:] == [
        ("val.list", "4", "copy of 1.mp4", "same bytes", "as train.list:2: 1.mp4"),
        ("val.list", "4", "copy of 1.mp4", "looks alike", "1.000, as train.list:2: 1.mp4"),
    ]
    what = "clips that look alike at --similar=0.95: 6 in 3 groups, 2 of them in several lists: check/similar.html"
    assert out.splitlines()[-1] == what
    assert message.startswith("these lists have problems (1 same bytes, 2 looks alike);")
    page = (tmp_path / "check/similar.html").read_text()
    shown = [page.index(f"{name}.mp4</bdi>") for name in ("copy of 1", "3 darker")]
    assert "In 2 pairs the clips are in different lists." in page and page.count(">Similarity ") == 3
    assert page.count("<img ") == 3 * 2 * 3 and shown[0] < shown[1]
    # Videos without thumbnails in the journal were read again, once.
    grown = (tmp_path / "check/check.jsonl").read_text().splitlines()
    assert len(grown) - len(journal) == 9 + 2 and "pictures" in json.loads(grown[-3])
    assert run(*lists) == (out, message, rows)
    assert (tmp_path / "check/check.jsonl").read_text().splitlines() == grown
    (tmp_path / "val.list").write_text("4.mp4 0\n5.mp4 1\n")
    out, message, rows = run(*lists)
    assert "2 in 1 groups, each in one list" in out and (message, rows) == ("", [])


def test_a_clip_is_paired_with_the_most_similar_one_preferably_of_another_list():
    random = np.random.default_rng(0)
    base = random.integers(0, 200, (700, 3, 16, 16))
    base[600:] = base[0]
    noise = random.normal(0, 12, base.shape)
    noise[650] = 0  # all others are most similar to this one
    pictures = {f"{i}": np.clip(one, 0, 255).astype(np.uint8) for i, one in enumerate(base + noise)}
    pairs = {path: (similarity, other) for similarity, path, other in Alike(pictures, 0.9).pairs({"0": "train"})}
    assert set(pairs) == {str(i) for i in range(600, 700)}  # one group of 101
    assert {other for _, other in pairs.values()} == {"0"} and all(0.9 < s <= 1 for s, _ in pairs.values())
    alone = {path: other for _, path, other in Alike(pictures, 0.9).pairs({})}
    assert alone["600"] == "0" and {alone[str(i)] for i in range(651, 700)} == {"650"}


def folder(path: Path, frames: np.ndarray) -> None:
    path.mkdir(parents=True)
    for number, frame in enumerate(frames, start=1):
        Image.fromarray(frame).save(path / f"{number:03}.jpg")


def test_folders_of_frames_are_checked_as_videos_are(run, tmp_path):
    config = CONFIG.replace("topk: 5", "topk: 5, format: frames, filename_tmpl: '{:03}.jpg', data_prefix: p")
    (tmp_path / "config.yaml").write_text(config)
    for name, seed in {"a": 0, "b": 1, "c": 2, "copy": 1, "gap": 4}.items():
        folder(tmp_path / "p" / name, clip(seed))
    folder(tmp_path / "p/darker", clip(2, 0.8))
    (tmp_path / "p/gap/006.jpg").unlink()  # training does not draw this frame
    folder(tmp_path / "p/short", clip(5)[:2])
    (tmp_path / "train.list").write_text("a 6 0\nb 6 1\nc 6 1\nshort 2 1\ngap 6 1\n")
    (tmp_path / "val.list").write_text("copy 6 1\ndarker 6 2\n")
    out, _, rows = run("train.list", "val.list", "--similar=0.95")
    assert [row[:4] for row in rows] == [
        ("train.list", "4", "p/short", "duration"),
        ("train.list", "5", "p/gap", "unreadable"),
        ("val.list", "1", "p/copy", "same bytes"),
        ("val.list", "1", "p/copy", "looks alike"),
        ("val.list", "2", "p/darker", "looks alike"),
    ]
    assert [rows[i][4] for i in (0, 1)] == [
        "2 frames; the median is 6, the usual range is 3 to 12",
        "frame 006.jpg: No such file or directory",
    ]
    assert (tmp_path / "check/train.readable.list").read_text() == "a 6 0\nb 6 1\nc 6 1\nshort 2 1\n"
    assert "median: 6 frames of 3072 pixels, width / height 1.33\n" in out
    assert (tmp_path / "check/similar.html").read_text().count("<img ") == 2 * 2 * 3
