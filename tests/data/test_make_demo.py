"""data/make_demo.py: its clips show their classes, are the same on every run, and only missing clips are made."""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from conftest import run_script, says
from data.make_demo import CLASSES, HUES, draw_clip, write_mp4
from reader.decode import read_frames
from reader.filelist import read_list
from utils.config.loading import load_config

ROOT = Path(__file__).parents[2]
SCRIPT = [sys.executable, str(ROOT / "data" / "make_demo.py")]
SMALL = ["--clips_per_class", "2", "1", "1"]


def make_demo(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    return run_script("data/make_demo", *arguments, cwd=folder)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """Provide a working folder with a small set in its data/demo, and the ended process."""
    folder = tmp_path_factory.mktemp("demo")
    result = make_demo(folder, *SMALL)
    assert result.returncode == 0, result.stderr
    return folder, result


def test_no_moment_tells_the_class():
    """Count over all orders of the objects. The three figures are in the script and in data/README.md."""
    assert len(CLASSES) == len(set(CLASSES)) == 8
    for moments, best in {1: 5 / 24, 2: 10 / 24, 3: 1}.items():
        seen: dict[frozenset, list[int]] = {}
        for label, colours in enumerate(CLASSES):
            for order in itertools.permutations(colours):
                counts = seen.setdefault(frozenset(order[:moments]), [0] * 8)
                counts[label] += 1
        right = sum(max(counts) for counts in seen.values())
        assert right / (8 * 6) == pytest.approx(best)
    for colour in HUES:
        assert sum(colour in colours for colours in CLASSES) in (4, 5)


def named_colour(frame: np.ndarray) -> str:
    """Return the name of the hue of the most colourful pixels of a uint8 [H, W, 3] frame."""
    pixels = frame.reshape(-1, 3).astype(float)  # [H*W, 3]
    strength = np.ptp(pixels, axis=1)
    red, green, blue = (pixels / 255)[strength >= np.quantile(strength, 0.99)].mean(axis=0)
    hue = np.degrees(np.arctan2(np.sqrt(3) * (green - blue), 2 * red - green - blue)) % 360
    return min(HUES, key=lambda name: abs((hue - HUES[name] + 180) % 360 - 180))


@pytest.mark.parametrize("subset", ["train", "val", "test"])
def test_the_centre_of_a_clip_shows_its_class_in_three_moments(demo, subset, monkeypatch):
    folder, _ = demo
    monkeypatch.chdir(folder)
    names = json.loads(Path("data/demo/labels.json").read_text())
    for entry in read_list(f"data/demo/{subset}.list", num_classes=8):
        frames = read_frames(entry.path, lambda n: [i * (n // 3) + (n // 3 - 1) // 2 for i in range(3)])
        assert frames.shape == (3, 72, 96, 3)
        shown = {named_colour(frame[:, 12:84]) for frame in frames}  # a square centre crop
        assert shown == set(CLASSES[entry.label]) == set(names[entry.label].split("_"))


def test_lists_cover_the_clips_and_infer_list_is_test_list_without_labels(demo):
    folder, result = demo
    out = folder / "data" / "demo"
    assert result.stdout == "data/demo: 8 classes, 16 clips for training, 8 for validation, 8 held out (32 made now)\n"
    listed = [
        line.rsplit(" ", 1)
        for name in ("train", "val", "test")
        for line in (out / f"{name}.list").read_text().splitlines()
    ]
    assert sorted(folder / path for path, _ in listed) == sorted(out.glob("*/*/*.mp4"))
    infer = (out / "infer.list").read_text().splitlines()
    assert infer == [path for path, _ in listed if "/test/" in path] and len(infer) == 8
    assert all(f"{'_'.join(CLASSES[int(label)])}_" in path for path, label in listed)
    assert sorted(path.name for path in out.iterdir() if path.is_file()) == [
        "infer.list", "labels.json", "manifest.json", "test.list", "train.list", "val.list",
    ]  # fmt: skip


def test_clips_are_small_h264_files_that_all_differ(demo):
    folder, _ = demo
    clips = list((folder / "data" / "demo").glob("*/*/*.mp4"))
    assert len({clip.read_bytes() for clip in clips}) == len(clips) == 32
    assert max(clip.stat().st_size for clip in clips) < 30_000
    with av.open(str(clips[0])) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.width, stream.height) == ("h264", 96, 72)
        assert 2 <= stream.frames / stream.average_rate <= 3


def test_the_same_seed_makes_the_same_clips_with_any_number_of_processes(demo, tmp_path):
    folder, _ = demo
    assert make_demo(tmp_path, *SMALL, "--workers", "1").returncode == 0
    assert contents(tmp_path) == contents(folder)


def test_encoding_is_repeatable(tmp_path):
    """Without the last option of write_mp4, some clips differ from run to run, and this one does so often."""
    frames = draw_clip(np.random.default_rng((0, 0, 0, 2)), CLASSES[0])
    versions = set()
    for _ in range(8):
        write_mp4(tmp_path / "clip.mp4", frames)
        versions.add((tmp_path / "clip.mp4").read_bytes())
    assert len(versions) == 1


def test_a_second_run_makes_only_missing_clips(demo):
    folder, _ = demo
    out = folder / "data" / "demo"
    before, times = contents(out), {path: path.stat().st_mtime_ns for path in out.glob("*/*/*.mp4")}
    result = make_demo(folder, *SMALL)
    assert result.stdout.endswith("(all there already)\n")
    gone = sorted(times)[3]
    gone.unlink()
    (gone.parent / f".{gone.name}.123.tmp").write_bytes(b"half a clip")
    (out / "train.list").unlink()
    result = make_demo(folder, *SMALL)
    assert result.stdout.endswith("(1 made now)\n")
    assert contents(out) == before
    assert {path for path, then in times.items() if path.stat().st_mtime_ns != then} == {gone}


def test_another_seed_makes_other_clips_in_their_place(demo, tmp_path):
    folder, _ = demo
    shutil.copytree(folder / "data" / "demo", tmp_path / "a b")
    result = make_demo(tmp_path, "--out", "a b", "--seed", "1", "--clips_per_class", "1", "1", "1", "--workers=1")
    assert result.stdout == "a b: 8 classes, 8 clips for training, 8 for validation, 8 held out (24 made now)\n"
    old, new = contents(folder / "data" / "demo"), contents(tmp_path / "a b")
    assert new.keys() == {name for name in old if not name.endswith("_001.mp4")}
    assert not any(old[name] == new[name] for name in new if name.endswith(".mp4"))
    assert (tmp_path / "a b" / "val.list").read_text().startswith("a b/val/blue_green_pink/blue_green_pink_000.mp4 0\n")


def test_an_interrupted_run_ends_in_one_line_and_is_completed_by_the_next(tmp_path):
    many = ["--clips_per_class", "6", "1", "1"]
    process = subprocess.Popen(
        [*SCRIPT, *many],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    train = tmp_path / "data" / "demo" / "train"
    assert wait_for(lambda: list(train.glob("*/*.mp4")))
    os.killpg(process.pid, signal.SIGINT)  # like Ctrl-C, which the workers also get
    output, error = process.communicate(timeout=60)
    assert (process.returncode, output, error.splitlines()[-1]) == (130, "", "interrupted") and "Traceback" not in error
    assert wait_for(lambda: not group_alive(process.pid))
    assert not (train.parent / "train.list").exists()
    made = {path: path.stat().st_mtime_ns for path in train.glob("*/*.mp4")}
    assert 0 < len(made) < 48
    assert make_demo(tmp_path, *many, "--workers=1").stdout.endswith(f"({64 - len(made)} made now)\n")
    assert all(path.stat().st_mtime_ns == then for path, then in made.items())
    assert len((train.parent / "train.list").read_text().splitlines()) == 48


def wait_for(condition: Callable[[], object], seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return bool(condition())


def group_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(
    "arguments, pieces",
    [
        (["--seed", "-1"], ("error: --seed: ", "from 0 up", "not '-1'", "data/make_demo.py --help")),
        (["--workers", "0"], ("error: --workers: ", "from 1 up", "not '0'", "data/make_demo.py --help")),
        (["--clips_per_class", "1", "1", "x"],
         ("error: --clips_per_class: ", "from 1 up", "not 'x'", "data/make_demo.py --help")),
        (["--output", "x"], ("error: unrecognized arguments: ", "--output x", "data/make_demo.py --help")),
        (["--out", "mine"], ("error: --out mine: ", "not made by this script", "name a new folder")),
        (["--out", "mine/photo.jpg"], ("error: --out mine/photo.jpg: ", "File exists")),
        (["--out", "mine/photo.jpg/x"], ("error: --out mine/photo.jpg/x: ", "Not a directory")),
    ],
)  # fmt: skip
def test_a_mistake_gets_one_line_and_nothing_is_written(tmp_path, arguments, pieces):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "photo.jpg").write_bytes(b"x")
    result = make_demo(tmp_path, *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    says(result.stderr, *pieces)
    assert contents(tmp_path) == {"mine/photo.jpg": b"x"}


def test_the_configuration_reads_these_lists():
    config = load_config(ROOT / "configs" / "tsn_demo.yaml")
    assert config.model.num_classes == len(CLASSES)
    names = {"train.list": config.train, "val.list": config.valid, "test.list": config.test, "infer.list": config.infer}
    for name, section in names.items():
        assert section.filelist == f"./data/demo/{name}"
    assert config.infer.kinetics_labels == "./data/demo/labels.json"
