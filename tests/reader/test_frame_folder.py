"""Test folders of frames: they give the clip of a pickle of the same JPEGs, and an error names the frame."""

import io
import json
import os
import pickle
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import picture, run_script, says
from inference.api import Classifier
from reader import frame_folder
from reader.build import check_takes_windows
from reader.clip import ClipSpec
from reader.dataset import read_clip
from reader.filelist import Entry, read_list
from reader.frame_folder import frame_numbers, read_folder
from reader.integrity import VideoError
from reader.loader import Loader
from results.task import read_task
from utils.config.flags import parse_flags
from utils.config.loading import load_config
from utils.errors import InputError

TEMPLATE = "img_{:05}.jpg"


def encoded(image: np.ndarray, kind: str = "JPEG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind)
    return file.getvalue()


def make_folder(folder: Path, files: list[bytes], template: str = TEMPLATE, first: int = 1) -> Path:
    folder.mkdir(parents=True)
    for number, content in enumerate(files, start=first):
        (folder / template.format(number)).write_bytes(content)
    return folder


FRAMES = [picture(48, 36, seed) for seed in range(11)]
JPEGS = [encoded(frame) for frame in FRAMES]


@pytest.mark.parametrize("how", [{}, {"augment_seed": 3}, {"sampling": "uniform"}, {"seglen": 3}, {"crops": 3}])
def test_the_clip_is_that_of_a_pickle_of_the_same_jpegs(tmp_path, how):
    (tmp_path / "v.pkl").write_bytes(pickle.dumps(("v", 2, JPEGS), 2))
    folder = make_folder(tmp_path / "v", JPEGS)
    spec = {"num_segments": 3, "seglen": 1, "short_side": 36, "crop_size": 32, **how}
    clips = [
        read_clip(ClipSpec(**spec, frame_format=kind), str(path), 1, 5, frames=number)[0]
        for kind, path, number in (("pkl", tmp_path / "v.pkl", None), ("frames", folder, 11), ("frames", folder, None))
    ]
    assert (clips[0] == clips[1]).all() and (clips[0] == clips[2]).all()


@pytest.mark.parametrize("template, first", [(TEMPLATE, 1), (TEMPLATE, 0), ("{}.png", 0), ("a b {:03d}", 1)])
def test_what_files_are_called_and_where_numbers_begin(tmp_path, template, first):
    folder = str(make_folder(tmp_path / "v", [encoded(f, "PNG") for f in FRAMES], template, first))
    assert frame_numbers(folder, template) == frame_numbers(folder, template, 11) == range(first, first + 11)
    for chosen in ([0, 10, 4, 4], [7]):
        assert (read_folder(folder, template, 11, lambda n, chosen=chosen: chosen) == np.stack(FRAMES)[chosen]).all()


def test_the_list_says_how_many_and_only_the_chosen_are_opened(tmp_path):
    folder = make_folder(tmp_path / "v", [JPEGS[0], b"broken", JPEGS[2], b"broken"])
    (folder / TEMPLATE.format(5)).symlink_to("nowhere")
    counts = []
    frames = read_folder(str(folder), TEMPLATE, 300, lambda n: counts.append(n) or [2, 0])
    assert counts == [300] and frames.shape == (2, 36, 48, 3)


def bomb() -> bytes:
    """Return a PNG of 300 bytes that declares 12,000 x 12,000 pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 12_000, 12_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100_000)))


SECOND, UNREADABLE = "frame img_00002.jpg", "not a readable JPEG or PNG"
WRONG = {
    "missing": (None, [SECOND, "No such file or directory"]),
    "a folder": ("folder", [SECOND, "Is a directory"]),
    "no picture": (b"junk", [SECOND, UNREADABLE]),
    "empty": (b"", [SECOND, UNREADABLE]),
    "a GIF": (encoded(FRAMES[0], "GIF"), [SECOND, UNREADABLE]),
    "truncated": (JPEGS[0][:-300], [SECOND, UNREADABLE, "truncated"]),
    "another size": (encoded(FRAMES[0][:-1]), ["its frames differ in size"]),
    "a bomb": (bomb(), [SECOND, UNREADABLE, "12000x12000"]),
    "large": (b"\xff\xd8" + bytes(100_000), [SECOND, "larger than 99999 bytes"]),
}


@pytest.mark.parametrize("content, pieces", WRONG.values(), ids=WRONG)
def test_a_frame_that_cannot_be_read_is_named(tmp_path, monkeypatch, content, pieces):
    monkeypatch.setattr(frame_folder, "MAX_BYTES", 99_999)
    folder = make_folder(tmp_path / "v", JPEGS[:1])
    if content == "folder":
        (folder / "img_00002.jpg").mkdir()
    elif content is not None:
        (folder / "img_00002.jpg").write_bytes(content)
    with pytest.raises(VideoError) as error:
        read_folder(str(folder), TEMPLATE, 2, range)
    assert error.value.path == str(folder)
    says(error.value.reason, *pieces)


def test_folders_without_frames(tmp_path):
    gap = make_folder(tmp_path / "gap", JPEGS[:4])
    (gap / TEMPLATE.format(2)).unlink()
    (gap / "img_7.jpg").touch()  # not a name of the template
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    for name, *pieces in (
        ("nothing", "no such folder"),
        ("file", "not a folder of frames"),
        ("empty", "frame img_00001.jpg", "missing", "0 others"),
        ("gap", "frame img_00002.jpg", "missing", "3 others"),
    ):
        with pytest.raises(VideoError) as error:
            read_folder(str(tmp_path / name), TEMPLATE, None, range)
        says(error.value.reason, *pieces)


LISTS = [
    ("a 12 3\n", True, [("a", 12, 3)]),
    ("a 12 3\n\n/b c 2019\t120 0\n", True, [("a", 12, 3), ("/b c 2019", 120, 0)]),
    ("a 12\nb 7 1\n", False, [("a", 12, None), ("b", 7, 1)]),
    ("holiday 2019 120\nholiday 2020 120\n", False, [("holiday 2019", 120, None), ("holiday", 2020, 120)]),
]


@pytest.mark.parametrize("content, needs_label, expected", LISTS)
def test_lists(tmp_path, monkeypatch, content, needs_label, expected):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "holiday 2019").mkdir()
    (tmp_path / "a.list").write_text(content)
    found = read_list("a.list", num_classes=200, frame_format="frames", needs_label=needs_label)
    assert [(e.path, e.frames, e.label) for e in found] == expected and list(found[1:]) == list(found)[1:]
    (tmp_path / "a.list").write_text(content.replace("12", "13"))
    other = read_list("a.list", num_classes=200, frame_format="frames", needs_label=needs_label)
    assert found.digest != other.digest and found != other


EXPECTED = "expected 'folder frames label'"
MISTAKES = [
    ("frames", "a 3", [EXPECTED, "'a 3'"]),
    ("frames", "a.mp4 3", [EXPECTED, "'a.mp4 3'", "a video", "--set MODEL.format=mp4"]),
    ("frames", "a x 3", [EXPECTED, "'a x 3'"]),
    ("frames", "a 0 3", ["0 frames", "'a 0 3'"]),
    ("frames", "a 12 4", ["label 4 ", "outside 0..3", "num_classes is 4"]),
    ("frames", "a 1234567890 3", [EXPECTED, "'a 1234567890 3'"]),
    ("frames", "s3://b/a 12 3", ["on a disk of this machine", "'s3://b/a'"]),
    ("mp4", "a 12 3", ["not a video", "--set MODEL.format=frames", "--fps of data/reencode.py", "'a 12 3'"]),
]


@pytest.mark.parametrize("kind, content, pieces", MISTAKES)
def test_mistakes_in_lists(tmp_path, monkeypatch, kind, content, pieces):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "a.list").write_text(content)
    with pytest.raises(InputError) as error:
        read_list("a.list", num_classes=4, frame_format=kind)
    says(error.value, "a.list:1: ", *pieces)


@pytest.mark.parametrize("kind", ["mp4", "frames", "pkl"])
def test_paths_begin_at_the_prefix(tmp_path, kind):
    (tmp_path / "a.list").write_text("a b 3 1\n/c 3 1\n")
    found = read_list(str(tmp_path / "a.list"), num_classes=4, frame_format=kind, prefix="p/q")
    expected = {"mp4": ("p/q/a b 3", "/c 3"), "frames": ("p/q/a b", "/c"), "pkl": ("p/q/a b 3 1", "/c 3 1")}
    assert tuple(entry.path for entry in found) == expected[kind]


@pytest.mark.parametrize(
    "template, good",
    [
        (TEMPLATE, True), ("{:06d}.png", True), ("{}", True), ("{:d}.jpg", True),
        ("img_%05d.jpg", False), ("img.jpg", False), ("{:05}_{:05}.jpg", False), ("{0.__class__}", False),
        ("{:999999999}", False), ("{:5}.jpg", False), ("../{:05}.jpg", False), ("{x:05}.jpg", False),
    ],
)  # fmt: skip
def test_templates_have_one_number_and_nothing_else(template, good):
    sets = [f"MODEL.filename_tmpl={template}", "TRAIN.data_prefix=p"]
    if good:
        config = load_config("", sets=sets)
        assert config.test.filename_tmpl == template
        assert (config.train.data_prefix, config.test.data_prefix) == ("p", "")
        return
    with pytest.raises(InputError) as error:
        load_config("", sets=sets)
    says(error.value, f"--set {sets[0]}: ", "one number in braces", f"not {template}")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a pipe to hang at")
def test_readers_give_up_what_hangs_and_training_goes_on(tmp_path):
    good, hangs = make_folder(tmp_path / "good", JPEGS), make_folder(tmp_path / "hangs", [])
    os.mkfifo(hangs / TEMPLATE.format(1))
    entries = [Entry(str(hangs), 1, 1, 1), Entry(str(good), 2, 2, 11)]
    spec = ClipSpec(2, 1, 36, 32, frame_format="frames", augment_seed=0)
    with Loader(entries, spec, 2, num_classes=4, num_workers=1, replace=True, time_limit=1) as loader:
        [batch] = loader.batches()
    assert batch.indices == [1, 1] and batch.labels.tolist() == [2, 2]
    assert batch.unreadable == [(0, "given up after 1 s")]


def test_predict_of_a_list_and_of_one_folder(workspace, tmp_path):
    make_folder(tmp_path / "p" / "a", JPEGS)
    make_folder(tmp_path / "p" / "b", JPEGS[:4])
    (tmp_path / "p/b" / TEMPLATE.format(2)).unlink()
    (tmp_path / "infer.list").write_text("a 11\nb 4\n")
    how = [workspace.config, workspace.weights, "--set=MODEL.format=frames", "--report=False"]
    of_list = [f"--set=INFER.data_prefix={tmp_path / 'p'}", "--filelist=infer.list", "--features=True", "--save_dir=l"]
    ended = run_script("predict", *how, *of_list, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    rows = [json.loads(line) for line in (tmp_path / "l/predictions.jsonl").read_text().splitlines()[1:]]
    assert rows[1]["video"] == f"{tmp_path}/p/b"
    assert rows[1]["error"] == "frame img_00002.jpg: No such file or directory"
    assert np.load(tmp_path / "l/features.npy").shape[0] == 2
    flags = parse_flags("predict", [*how, f"--video_path={tmp_path}/p/a"])
    config = load_config(flags.config, flags.section_overrides, flags.sets, "INFER")
    task = read_task(flags, config)
    assert task.single and task.section.format == "frames" and task.entries == [Entry(f"{tmp_path}/p/a")]
    with Classifier(config, workspace.folder / "random.pdparams") as classify:
        assert classify(tmp_path / "p/a")["predictions"] == rows[0]["predictions"]


def test_a_frame_written_over_is_read_again(workspace, tmp_path):
    """The files are written again, as when a clip's frames are extracted once more."""
    folders = [make_folder(tmp_path / name, JPEGS) for name in "ab"]
    (tmp_path / "infer.list").write_text("a 11\nb 11\n")
    how = [workspace.config, workspace.weights, "--set=MODEL.format=frames", "--report=False", "--batch_size=1"]
    command = ["predict", *how, "--filelist=infer.list"]
    assert run_script(*command, "--save_dir=out", cwd=tmp_path).returncode == 0
    first = json.loads((tmp_path / "out/predictions.json").read_text())
    time = folders[1].stat().st_mtime_ns
    for name in os.listdir(folders[1]):
        (folders[1] / name).write_bytes(encoded(255 - FRAMES[0]))
    assert folders[1].stat().st_mtime_ns == time
    (tmp_path / "killed").mkdir()  # as left by a run that was killed before it wrote its tables
    (tmp_path / "out/predictions.jsonl").rename(tmp_path / "killed/predictions.partial.jsonl")
    again = run_script(*command, "--save_dir=killed", cwd=tmp_path)
    assert again.returncode == 0 and "1 whose files have changed" in again.stdout, again.stdout + again.stderr
    rows = json.loads((tmp_path / "killed/predictions.json").read_text())
    assert rows[0] == first[0] and rows[1]["predictions"] != first[1]["predictions"]


def test_frames_have_no_clock():
    section = load_config("", sets=["INFER.format=frames"]).infer
    with pytest.raises(InputError) as error:
        check_takes_windows("--window", section)
    says(error.value, "--window ", "INFER.format is frames", "data/reencode.py --fps")
