"""Videos and weights made by hand to do harm: each is refused for its reason, in little time and memory."""

import os
import socket
from pathlib import Path

import pytest

from conftest import make_clip, synthetic_frames
from fuzz import harness, hostile_videos, hostile_weights
from fuzz.forking import fork
from reader.dataset import ClipSpec, VideoError, read_clip

SPEC = ClipSpec(2, 1, 36, 32)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="measures memory in /proc")
@pytest.mark.parametrize("module", [hostile_videos, hostile_weights])
def test_hand_made(module):
    target, cases = module.__name__.split(".")[-1], module.CASES
    summary = harness.run(target, seed=0, first=0, last=len(cases), start=fork)
    assert not summary.findings, "\n".join(map(str, summary.findings))
    got, expected = {}, {}
    for number, (label, (name, _, reason)) in enumerate(cases.items()):
        # "/tmp/fuzz.../case/w.tar.gz: reason"
        got[label] = summary.texts[number].split(f"/case/{name}".rstrip("/") + ": ", 1)[-1][: len(reason) or None]
        expected[label] = reason
    assert got == expected


NAMES = [
    "-", " ", "--help", "a|b.mp4", "concat:a.mp4|b.mp4", "file:a.mp4", "http:", "http://127.0.0.1:9/a.mp4", "pipe:0",
    "data:,a", "%d.mp4", "[0-9].mp4", "a\tb.mp4", "caf\udce9.mp4", "x" * 255,
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_any_name_of_a_file(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_clip(tmp_path / "clip.mp4", synthetic_frames(0, 0))
    with pytest.raises(VideoError, match="no such file"):
        read_clip(SPEC, name)
    os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
    os.rename("clip.mp4", name)
    assert read_clip(SPEC, name)[0].shape == SPEC.shape
    assert read_clip(SPEC, str(tmp_path / name))[0].shape == SPEC.shape


@pytest.mark.parametrize("name", ["x" * 256, "x" * 5000, "a\0b.mp4", "", "loop", "nowhere", "clip.mp4/more"])
def test_what_names_no_file(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.symlink("loop", "loop")
    os.symlink("missing", "nowhere")
    (tmp_path / "clip.mp4").write_bytes(b"no folder")
    with pytest.raises(VideoError) as error:
        read_clip(SPEC, name)
    assert error.value.reason == "no such file"


def test_what_is_no_plain_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    os.symlink("/dev/zero", tmp_path / "zeros")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        for name in ("pipe", "zeros", "socket", "/dev/zero", "/dev/stdin", "/proc", str(tmp_path)):
            with pytest.raises(VideoError, match="not a file" if name != "/dev/stdin" else "not a file|no such file"):
                read_clip(SPEC, str(tmp_path / name))
    with pytest.raises(VideoError, match="the file is empty"):
        read_clip(SPEC, "/proc/self/maps")


def test_a_file_that_cannot_be_read_to_its_end():
    with pytest.raises(VideoError) as error:  # reading it at 0 is an I/O error
        read_clip(ClipSpec(2, 1, 36, 32, frame_format="pkl"), "/proc/self/mem")
    assert error.value.reason == "Input/output error"
