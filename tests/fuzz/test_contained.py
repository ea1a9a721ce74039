"""Videos that kill their reader process, hang it or take all memory: the video is named, and the run goes on."""

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import pytest

from conftest import ROOT, run_script
from fuzz.hostile_videos import beside_a_video, fixture, sound_of
from make_fixtures import FIXTURES
from reader.dataset import ClipSpec
from reader.filelist import Entry
from reader.loader import Loader


def unreadable_in(tmp_path: Path, data: bytes, name: str, time_limit: float = 60, **how: str) -> str:
    """Return why a video is unreadable, found while a loader reads it between two good ones."""
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


def far_apart(path: Path) -> None:
    """Write a video whose last frame is shown weeks later: decord asks for memory for all frames in between."""
    with av.open(str(FIXTURES / "mjpeg.avi")) as source, av.open(str(path), "w") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(packet for packet in source.demux(video=0) if packet.size):
            packet.time_base, packet.stream = Fraction(1, 1000), stream
            packet.pts = packet.dts = 40 * number if number < 59 else 4_000_000_000
            out.mux(packet)


def test_a_video_that_kills_its_reader(tmp_path, capfd):
    pytest.importorskip("decord")
    far_apart(path := tmp_path / "a.mkv")
    reason = unreadable_in(tmp_path, path.read_bytes(), "a.mkv", decoder="decord")
    assert reason == "its reader process ended with signal 6 (Aborted), twice"
    assert len(capfd.readouterr().err.splitlines()) < 6


def test_a_video_that_takes_too_long(tmp_path):
    """Its frames are large, but each equals the one before, so that the file is small."""
    path = tmp_path / "long.avi"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 4096, 2304, "yuv420p"
        black = av.VideoFrame(4096, 2304, "yuv420p")
        for plane in black.planes:
            plane.update(bytes(plane.buffer_size))
        encoded = []
        for black.pts in range(2):
            encoded += stream.encode(black)
        first, again = encoded
        for number, data in enumerate([bytes(first), *[bytes(again)] * 1000]):
            packet = av.Packet(data)
            packet.stream, packet.time_base = stream, Fraction(1, 25)
            packet.pts = packet.dts = number
            packet.is_keyframe = number == 0
            out.mux(packet)
    assert unreadable_in(tmp_path, path.read_bytes(), "a.avi", time_limit=0.5) == "given up after 0.5 s"


def test_a_single_video_that_kills_its_reader(tmp_path, workspace):
    """predict.py ends with one line, not with the signal."""
    pytest.importorskip("decord")
    far_apart(path := tmp_path / "a.mkv")
    flags = (f"--video_path={path}", f"--save_dir={tmp_path}", "--set", "INFER.decoder=decord")
    process = run_script("predict", workspace.config, workspace.weights, *flags)
    assert process.returncode == 2
    assert process.stderr.endswith(f"error: {path}: its reader process ended with signal 6 (Aborted), twice\n")


# In two processes that begin alike: the second one with limited memory.
BLOATED = """
import os, sys
from reader import apart
from reader.dataset import ClipSpec, VideoError, read_clip

apart.MEMORY_LIMIT = 300 << 20
if os.fork():
    os.wait()
    apart.limit_memory()
try:
    read_clip(ClipSpec(2, 1, 36, 32), sys.argv[1])
except VideoError:
    pass
# Not ru_maxrss, which begins with the peak of pytest, the parent.
status = open("/proc/self/status").read()
print(int(status.partition("VmHWM:")[2].split()[0]) >> 10)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only there memory is limited")
def test_a_video_that_wants_all_memory(tmp_path):
    """FFmpeg makes an index of two million entries for each of its chunks of sound, of which the file has a dozen."""
    path = tmp_path / "a.mp4"
    path.write_bytes(beside_a_video(sound_of(12)))
    command = [sys.executable, "-c", BLOATED, str(path)]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert process.returncode == 0 and process.stderr == ""
    free, limited = map(int, process.stdout.split())
    assert limited < 400 < 550 < free
