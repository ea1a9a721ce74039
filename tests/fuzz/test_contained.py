"""Videos that kill, hang or bloat whoever reads them: the reader process pays, the video is named, the run goes on."""

import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT, run_script
from fuzz.hostile_videos import beside_a_video, fixture, patched, sound_of
from reader.dataset import ClipSpec
from reader.filelist import Entry
from reader.loader import Loader


def unreadable_in(tmp_path: Path, data: bytes, name: str, time_limit: float = 60, **how: str) -> str:
    """Why a video is unreadable, found while a loader reads it between two good ones."""
    (tmp_path / name).write_bytes(data)
    (tmp_path / "good.mp4").write_bytes(fixture("h264.mp4"))
    entries = [Entry(str(tmp_path / n), 0) for n in ("good.mp4", name, "good.mp4")]
    spec = ClipSpec(2, 1, 36, 32, **how)
    with Loader(entries, spec, 3, num_classes=1, num_workers=1, time_limit=time_limit) as loader:
        (batch,) = loader.batches()
    assert batch.indices == [0, 2] and (batch.frames[0] == batch.frames[1]).all()
    ((position, reason),) = batch.unreadable
    assert position == 1
    return reason


def test_a_video_that_kills_its_reader(tmp_path, capfd):
    """One bit of the times of frames, and decord wants memory for as many frames as fit between two of them."""
    pytest.importorskip("decord")
    data = patched("vfr.mp4", b"stts", 36, b"\x7f")
    reason = unreadable_in(tmp_path, data, "a.mp4", decoder="decord")
    assert reason == "its reader process ended with signal 6 (Aborted), twice"
    assert len(capfd.readouterr().err.splitlines()) < 6


def test_a_video_that_never_ends(tmp_path):
    """Some of its packets are repeated a hundred times, and decord seeks among them for ever."""
    pytest.importorskip("decord")
    data = fixture("h264.flv")
    data = data[:2000] + data[2000:2500] * 100 + data[2000:]
    assert unreadable_in(tmp_path, data, "a.flv", time_limit=2, decoder="decord") == "given up after 2 s"


def test_a_single_video_that_kills_its_reader(tmp_path, workspace):
    """predict.py ends with one line, not with the signal."""
    pytest.importorskip("decord")
    path = tmp_path / "a.mp4"
    path.write_bytes(patched("vfr.mp4", b"stts", 36, b"\x7f"))
    flags = (f"--video_path={path}", f"--save_dir={tmp_path}", "--set", "INFER.decoder=decord")
    process = run_script("predict", workspace.config, workspace.weights, *flags)
    assert process.returncode == 2
    assert process.stderr.endswith(f"error: {path}: its reader process ended with signal 6 (Aborted), twice\n")


BLOATED = """
import sys
from reader import workers
from reader.dataset import ClipSpec, VideoError, read_clip

workers.MEMORY_LIMIT = 300 << 20
if sys.argv[2] == "limited":
    workers.limit_memory()
try:
    read_clip(ClipSpec(2, 1, 36, 32), sys.argv[1])
except VideoError:
    pass
# Not ru_maxrss: a process started from pytest's begins with pytest's own peak there.
status = open("/proc/self/status").read()
print(int(status.partition("VmHWM:")[2].split()[0]) >> 10)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only there memory is limited")
def test_a_video_that_wants_all_memory(tmp_path):
    """FFmpeg makes an index of two million entries for each of its chunks of sound, of which the file has a dozen."""
    path = tmp_path / "a.mp4"
    path.write_bytes(beside_a_video(sound_of(12)))
    memory = {}
    for how in ("free", "limited"):
        command = [sys.executable, "-c", BLOATED, str(path), how]
        process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert process.returncode == 0 and process.stderr == ""
        memory[how] = int(process.stdout)
    assert memory["limited"] < 400 < 550 < memory["free"]
