"""peer_annotations.py: mmaction2's lists in JSON and with other delimiters; errors of hostile ones are one line."""

import json
import time
from pathlib import Path

import pytest

from conftest import says
from reader.filelist import read_list
from tools.peers.peer_annotations import read_clips
from tools.peers.peer_keys import Ours, Theirs
from tools.peers.peer_lists import Source, write_lists
from utils.errors import InputError


def written(folder: Path, name: str, content: str | bytes, labels: str = "single", classes: int = 9, **how) -> list:
    """Return the entries of the list that is made from one of theirs, and check the line about it."""
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    ours = Ours("config.py")
    ours.values["MODEL"] = {"num_classes": classes, "labels": labels}
    (folder / "out").mkdir(exist_ok=True)
    source = Source(Theirs(name, name="ann_file"), "p", **how)
    [line] = write_lists(ours, {"TRAIN": source}, folder / "config.py", folder / "out")
    assert ours.values["TRAIN"]["filelist"] == str(folder / "out/train.list")
    kind = "frames" if how.get("frames") else "mp4"
    found = read_list(ours.values["TRAIN"]["filelist"], num_classes=classes, frame_format=kind, labels=labels)
    assert f"{len(found)} videos of" in line
    return [(entry.path, entry.frames, entry.label) for entry in found]


CLIPS = [{"filename": "a/b c.mp4", "label": [3]}, {"filename": "/d.mp4", "label": 0}]
FRAMES = [
    {"frame_dir": "a b", "total_frames": 163, "label": [1, 3, 5]},
    {"frame_dir": "c", "total_frames": 7, "label": [2]},
]


@pytest.mark.parametrize(
    ("name", "content", "how", "expected"),
    [
        ("a.json", json.dumps(CLIPS), {}, [("p/a/b c.mp4", None, 3), ("/d.mp4", None, 0)]),
        ("a.json", "\ufeff" + json.dumps(CLIPS[:1]), {}, [("p/a/b c.mp4", None, 3)]),
        ("a.json", json.dumps(CLIPS), {"labels": "multi"}, [("p/a/b c.mp4", None, (3,)), ("/d.mp4", None, (0,))]),
        ("a.json", json.dumps(FRAMES), {"labels": "multi", "frames": True},
         [("p/a b", 163, (1, 3, 5)), ("p/c", 7, (2,))]),
        ("a.json", json.dumps([FRAMES[1] | {"filename": "x.mp4"}]), {"frames": True}, [("p/c", 7, 2)]),
        ("a.csv", "a b.mp4,3\r\n\n/d.mp4, 0\n", {"delimiter": ","}, [("p/a b.mp4", None, 3), ("/d.mp4", None, 0)]),
        ("a.txt", "a;5;3;1\n", {"delimiter": ";", "labels": "multi", "frames": True}, [("p/a", 5, (1, 3))]),
        ("a.txt", "a.mp4 3 1 4\n", {"labels": "multi"}, [("p/a.mp4", None, (1, 3, 4))]),
        ("a.txt", b"\xff.mp4,3\n", {"delimiter": ","}, [("p/\udcff.mp4", None, 3)]),
    ],
)  # fmt: skip
def test_converted_lists(tmp_path, monkeypatch, name, content, how, expected):
    monkeypatch.chdir(tmp_path)
    assert written(tmp_path, name, content, **how) == expected


def clip(**more: object) -> str:
    return json.dumps([{"filename": "a.mp4", "label": [0]}, {"filename": "b.mp4", "label": [1], **more}])


PLAIN = {"delimiter": " ", "num_classes": 9, "frames": False, "prefix": "p", "labels": "single"}
NUMBERS, LINE = "expected 'filename' and 'label', whole numbers", "a line of a list cannot hold this path: "


@pytest.mark.parametrize(
    ("content", "how", "why"),
    [
        ("{", {}, "a.json: expected JSON: Expecting property name enclosed in double quotes"),
        (b"\xff\xfe\x00", {}, "a.json: expected JSON: "),
        ("[" * 200_000, {}, "a.json: expected JSON: "),
        ('[{"filename": "a.mp4", "label": ' + "9" * 5000 + "}]", {}, "a.json: expected JSON: "),
        ("[]", {}, "a.json: the list is empty"),
        ("3", {}, "a.json: expected a list of clips"),
        ('{"v_1": {"duration_second": 2, "annotations": [{"segment": [0, 1], "label": "a"}]}}', {},
         "a.json: expected a list of clips: annotations of ActivityNet cannot be converted"),
        ("[3]", {}, f"a.json: clip 1: {NUMBERS}"),
        (clip(label=[]), {}, f"a.json: clip 2: {NUMBERS}"),
        (clip(label="1"), {}, f"a.json: clip 2: {NUMBERS}"),
        (clip(label=[True]), {}, f"a.json: clip 2: {NUMBERS}"),
        (clip(label=[1.0]), {}, f"a.json: clip 2: {NUMBERS}"),
        (clip(label={"action": [1], "scene": [2]}), {}, f"a.json: clip 2: {NUMBERS}"),
        (clip(filename=7), {}, f"a.json: clip 2: {NUMBERS}"),
        (clip(label=[1, 2]), {}, "a.json: clip 2: expected one label, as the configuration has no multi_class; got 2"),
        (clip(label=[9]), {}, "a.json: clip 2: label 9 is outside 0..8 (num_classes is 9)"),
        (clip(label=[-1]), {"labels": "multi"}, "a.json: clip 2: label -1 is outside 0..8 (num_classes is 9)"),
        (clip(filename="b.mp4 0\n/etc/passwd"), {}, f"a.json: clip 2: {LINE}p/b.mp4 0 /etc/passwd"),
        (clip(filename="b\r.mp4"), {}, f"a.json: clip 2: {LINE}"),
        (clip(filename="b\x1b[2J.mp4"), {}, f"a.json: clip 2: {LINE}p/b\\x1b[2J.mp4"),
        (clip(filename="\ud800.mp4"), {}, f"a.json: clip 2: {LINE}"),
        (clip(filename="b" * 5000), {}, f"a.json: clip 2: {LINE}"),
        (clip(filename="b.mp4 "), {}, f"a.json: clip 2: {LINE}"),
        (clip(filename=""), {"prefix": ""}, f"a.json: clip 2: {LINE}"),
        (clip(filename="clip 7"), {"labels": "multi"}, f"a.json: clip 2: {LINE}p/clip 7"),
        (clip(filename="s3://key:secret@b/a.mp4"), {}, "a.json: clip 2: no credentials in a path"),
        (clip(frame_dir="b"), {"frames": True}, "a.json: clip 1: expected 'frame_dir' and 'label', whole numbers"),
        (json.dumps([FRAMES[1] | {"total_frames": 0}]), {"frames": True},
         "a.json: clip 1: expected 'total_frames', a whole number from 1"),
        (json.dumps([FRAMES[1] | {"total_frames": None}]), {"frames": True},
         "a.json: clip 1: expected 'total_frames', a whole number from 1"),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_hostile_json_is_one_line_and_ends_soon(tmp_path, monkeypatch, content, how, why):
    monkeypatch.chdir(tmp_path)
    Path("a.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    start = time.monotonic()
    with pytest.raises(InputError) as error:
        read_clips(Path("a.json"), **PLAIN | how)
    assert str(error.value).startswith(why) and "\n" not in str(error.value) and "secret" not in str(error.value)
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    ("line", "how", "pieces"),
    [
        ("a.mp4 3", {}, ["a.txt:2: ", "'path,label'", "'a.mp4 3'"]),
        ("a.mp4,x", {}, ["a.txt:2: ", "'path,label'", "'a.mp4,x'"]),
        ("a.mp4,3,4", {}, ["a.txt:2: ", "one label", "no multi_class", "got 2"]),
        ("a.mp4," + "9" * 99, {}, ["a.txt:2: ", "'path,label'", "'a.mp4,"]),
        ("a,5", {"frames": True}, ["a.txt:1: ", "'folder,frames,label'", "'b.mp4,1'"]),
    ],
)
def test_malformed_lines(tmp_path, monkeypatch, line, how, pieces):
    monkeypatch.chdir(tmp_path)
    Path("a.txt").write_text(f"b.mp4,1\n{line}\n")
    with pytest.raises(InputError) as error:
        read_clips(
            Path("a.txt"),
            **{"delimiter": ",", "num_classes": 9, "frames": False, "prefix": "", "labels": "single"} | how,
        )
    says(error.value, *pieces)


@pytest.mark.parametrize("name", ["a.pkl", "a.pickle"])
def test_pickles_are_named_and_not_opened(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as error:
        written(tmp_path, name, b"cos\nsystem\n(S'touch made'\ntR.")
    says(error.value, f"ann_file {name}: ", "a text list or mmaction2's JSON", "not a pickle", "docs/migration.md")
    assert not Path("made").exists()


def test_a_list_that_is_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr("tools.peers.peer_annotations.MOST_BYTES", 99)
    (tmp_path / "a.json").write_text(" " * 100)
    with pytest.raises(InputError) as error:
        read_clips(tmp_path / "a.json", **PLAIN)
    says(error.value, f"{tmp_path}/a.json: ", "a list of clips", "at most 99 bytes")
