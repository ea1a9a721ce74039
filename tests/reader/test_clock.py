"""The times at which frames are shown, for containers, codecs and rates.

They are compared with the times that a file was made with, and with those of ffprobe if it is installed.
"""

import json
import shutil
import subprocess
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from conftest import says
from h264_streams import reordered_untold
from reader import packets as packets_module
from reader import sparse
from reader.clock import Clock
from reader.length import check_length
from reader.packets import VideoError, open_video, read_packets, video_stream

NTSC = Fraction(30000, 1001)
_GROUND = np.random.default_rng(0).integers(0, 255, (6, 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)


def write(path: Path, codec: str, kind: str, rate, times: Sequence[int], options: dict[str, str]) -> None:
    """Write a video of 64x48 with frames at multiples of 1 / rate."""
    with av.open(str(path), "w", format=kind) as out:
        stream = out.add_stream(codec, rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.time_base = 1 / Fraction(rate)
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(np.roll(_GROUND, number, 1), format="rgb24")
            frame.pts, frame.time_base = time, 1 / Fraction(rate)
            out.mux(stream.encode(frame.reformat(format=stream.pix_fmt)))
        out.mux(stream.encode(None))


def clocked(path: Path) -> tuple[Clock, list[float]]:
    """Return the clock, and the time of each frame."""
    with open_video(str(path)) as container:
        stream = video_stream(str(path), container)
        packets = read_packets(str(path), container, stream)
        clock = Clock(packets, container, stream)
        return clock, [clock.next(frame) for frame in sparse.all_frames(packets)]


def of_ffprobe(path: Path) -> list[float]:
    """Return the times of the frames from the first one on; [] if ffprobe is missing or knows none."""
    if shutil.which("ffprobe") is None:
        return []
    asked = "ffprobe -v error -of json -select_streams v:0 -show_entries frame=best_effort_timestamp_time".split()
    found = json.loads(subprocess.run([*asked, str(path)], capture_output=True, check=True).stdout)["frames"]
    times = [frame.get("best_effort_timestamp_time", "N/A") for frame in found]
    return [] if "N/A" in times else [float(time) - float(times[0]) for time in times]


B = {"bf": "2"}
STEADY = range(50)
SPARSE = [*range(20), *range(20, 100, 4), 99]  # AVI's muxer fills the gaps with empty chunks
PAUSED = [*range(25), 100]


@pytest.mark.parametrize(
    "name, codec, kind, rate, times, options",
    [
        ("mpeg1.mpg", "mpeg1video", "mpeg", 25, STEADY, {}),
        ("mpeg1_b.mpg", "mpeg1video", "mpeg", NTSC, STEADY, B),
        ("mpeg2.mpg", "mpeg2video", "mpeg", 25, STEADY, B),
        ("mpeg2.vob", "mpeg2video", "vob", 60, STEADY, {}),
        ("h264.mpg", "libx264", "mpeg", 24, STEADY, B),
        ("h264.vob", "libx264", "vob", 50, STEADY, {}),
        ("mpeg1.ts", "mpeg1video", "mpegts", 25, STEADY, B),
        ("h264.ts", "libx264", "mpegts", 60, STEADY, B),
        ("mjpeg.avi", "mjpeg", "avi", 20, STEADY, {}),
        ("dropped.avi", "mjpeg", "avi", 20, SPARSE, {}),
        ("dropped_h264.avi", "libx264", "avi", 20, SPARSE, {"bf": "0", "x264-params": "rc-lookahead=0"}),
        ("h264_b.avi", "libx264", "avi", 25, STEADY, B),
        ("mpeg4_b.avi", "mpeg4", "avi", NTSC, STEADY, B),
        ("raw60.264", "libx264", "h264", 60, STEADY, B),
        ("raw24.264", "libx264", "h264", 24, STEADY, {"bf": "0"}),
        ("raw.265", "libx265", "hevc", 50, STEADY, {"x265-params": "log-level=none"}),
        ("raw60.m2v", "mpeg2video", "mpeg2video", 60, STEADY, {}),
        ("raw30.m1v", "mpeg1video", "mpeg1video", 30, STEADY, B),
        ("raw.m4v", "mpeg4", "m4v", 25, STEADY, {}),
        ("h264.flv", "libx264", "flv", 25, STEADY, B),
        ("paused.mp4", "libx264", "mp4", 25, PAUSED, {}),
        ("paused.mkv", "libx264", "matroska", 25, PAUSED, {}),
        ("vp9.webm", "libvpx-vp9", "webm", 30, STEADY, {"cpu-used": "8"}),
        ("one.mp4", "libx264", "mp4", 25, [0], {}),
        ("tick.mp4", "libx264", "mp4", 25, [0, 1], {}),
    ],
)  # fmt: skip
def test_pictures_have_the_times_they_were_made_with(name, codec, kind, rate, times, options, tmp_path):
    write(tmp_path / name, codec, kind, rate, times, options)
    clock, shown = clocked(tmp_path / name)
    about = 1.5 / rate  # raw MPEG-1 and 2 are stored in decoding order, and FFmpeg guesses the first frame's place
    assert shown == pytest.approx([time / rate for time in times], abs=about)
    assert clock.duration == pytest.approx((times[-1] + 1) / rate, abs=about)
    if probed := of_ffprobe(tmp_path / name):
        assert shown == pytest.approx(probed, abs=about)
    seconds = (times[-1] + 1) / rate
    check_length(str(tmp_path / name), float(seconds) + 0.2)
    with pytest.raises(VideoError):
        check_length(str(tmp_path / name), float(seconds) * 0.7)


def test_b_frames_copied_into_avi(tmp_path):
    """A copy has a chunk for each tick of the source's clock, and every second chunk is empty."""
    write(tmp_path / "b.avi", "libx264", "avi", 50, STEADY, B)
    with av.open(str(tmp_path / "b.avi")) as source, av.open(str(tmp_path / "copy.avi"), "w") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(packet for packet in source.demux(video=0) if packet.size):
            packet.stream, packet.pts, packet.dts = stream, 2 * number, 2 * number
            out.mux(packet)
    clock, shown = clocked(tmp_path / "copy.avi")
    assert shown == pytest.approx([number / 25 for number in STEADY], abs=0.05)
    assert clock.duration == pytest.approx(2, abs=0.05)


def film(path: Path, num_pictures: int) -> list[float]:
    """Write film of 24000/1001 frames a second as NTSC video in a program stream; return the times of its frames.

    Frames stay for two and three fields in turn (ISO/IEC 13818-2: repeat_first_field).
    """
    raw = path.with_suffix(".m2v")
    write(raw, "mpeg2video", "mpeg2video", Fraction(24000, 1001), range(num_pictures), {})
    data, at, fields = bytearray(raw.read_bytes()), 0, [0]
    while (at := data.find(b"\0\0\1", at)) >= 0:
        kind = (data[at + 3], data[at + 4] >> 4)
        if kind[0] == 0xB3:  # a sequence's header: its rate
            data[at + 7] = data[at + 7] & 0xF0 | 4
        elif kind == (0xB5, 1):  # its extension: not progressive
            data[at + 5] &= ~0x08
        elif kind == (0xB5, 8):  # a picture's: which field is first, and whether it comes once more
            first, again = [(1, 1), (0, 0), (0, 1), (1, 0)][len(fields) % 4 - 1]
            data[at + 7] = data[at + 7] & 0x7D | first << 7 | again << 1
            fields.append(fields[-1] + 2 + again)
        at += 3
    raw.write_bytes(data)
    with av.open(str(raw)) as source, av.open(str(path), "w", format="mpeg") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet, start in zip((p for p in source.demux(video=0) if p.size), fields):
            packet.stream, packet.time_base, packet.duration = stream, Fraction(1, 90_000), 0
            packet.pts = packet.dts = round(start * 1501.5)
            out.mux(packet)
    return [start / (2 * float(NTSC)) for start in fields]


def test_film_with_pulldown(tmp_path):
    *times, end = film(tmp_path / "film.mpg", 96)
    clock, shown = clocked(tmp_path / "film.mpg")
    assert end == pytest.approx(4, abs=0.01)
    assert shown == pytest.approx(times, abs=0.06)
    assert clock.duration == pytest.approx(end, abs=0.06)


def test_a_video_without_times_and_rate_gets_one_line(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(packets_module, "_said", set())
    reordered_untold(tmp_path / "raw.264")
    for _ in range(2):
        clock, shown = clocked(tmp_path / "raw.264")
    assert (clock.duration, len(shown)) == (pytest.approx(60 / 25), 60)
    says(capfd.readouterr().err, f"{tmp_path / 'raw.264'}: ", "neither times nor a rate", "25 a second")
