"""Captured transport streams: whole packets are read exactly, a line tells of other bytes, and losses are refused."""

import random
from pathlib import Path

import numpy as np
import pytest

from data.copies.encoding import Job, Settings, reencode
from make_fixtures import FIXTURES, read_number
from reader import packets, transport
from reader.dataset import ClipSpec
from reader.decode import VideoError, read_frames
from reader.windows import Frames, stream_windows

WHOLE = (FIXTURES / "h264.ts").read_bytes()
PACKETS = [WHOLE[at : at + 188] for at in range(0, len(WHOLE), 188)]
NUMBERS = list(range(60))


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch):
    """Forget the lines that this process has printed, and the last file."""
    monkeypatch.setattr(packets, "_said", set())
    transport._spans_of.cache_clear()


def junk(length: int, seed: int = 0) -> bytes:
    """Return bytes, every tenth of which could begin a packet."""
    rng = random.Random(seed)
    return bytes(0x47 if rng.random() < 0.1 else rng.randrange(256) for _ in range(length))


def between(places: list[int], length: int = 77, packets: list[bytes] = PACKETS) -> bytes:
    """Return the packets with junk before those at `places`."""
    return b"".join((junk(length, place) if place in places else b"") + packet for place, packet in enumerate(packets))


BLU_RAY = [i.to_bytes(4, "big") + packet for i, packet in enumerate(PACKETS)]
BROADCAST = [packet + bytes(16) for packet in PACKETS]
# Content, and the number of its bytes outside of whole packets.
CAPTURES = {
    "whole": (WHOLE, 0),
    "begins inside a packet": (PACKETS[0][100:] + WHOLE, 88),
    "begins with junk": (junk(5000) + WHOLE, 5000),
    "ends inside a packet": (WHOLE + PACKETS[5][:50], 50),
    "ends with zeros": (WHOLE + bytes(40_000), 40_000),
    "junk between packets": (between([10, 17, 40]), 3 * 77),
    "a byte between packets": (between([30], 1), 1),
    "much junk": (between([20, 60], 3001), 6002),
    "Blu-ray": (b"".join(BLU_RAY), 0),
    "Blu-ray, begins inside": (BLU_RAY[0][60:] + b"".join(BLU_RAY), 132),
    "Blu-ray, ends inside": (b"".join(BLU_RAY) + BLU_RAY[3][:20], 20),
    "Blu-ray, junk": (between([12, 50], 77, BLU_RAY), 2 * 77),
    "error correction": (b"".join(BROADCAST), 0),
    "error correction, last cut off": (b"".join(BROADCAST)[:-10], 0),
    "error correction, junk": (between([12, 50], 77, BROADCAST), 2 * 77),
}


@pytest.mark.parametrize("kind", CAPTURES)
def test_all_that_is_whole_is_read_and_the_rest_is_said(kind, tmp_path, monkeypatch, capfd):
    content, left = CAPTURES[kind]
    path = tmp_path / "capture.ts"
    path.write_bytes(content)
    expected = read_frames(str(FIXTURES / "h264.ts"), range)
    for _ in range(2):
        assert np.array_equal(read_frames(str(path), range), expected)
    said = f"{path}: {left} of its {len(content)} bytes are outside of whole transport packets and are not read\n"
    assert capfd.readouterr().err == (said if left else "")
    monkeypatch.setattr(packets, "KEPT_BYTES", 1000)
    assert np.array_equal(read_frames(str(path), lambda n: [45, 3]), expected[[45, 3]])


@pytest.mark.parametrize("at", [188 * 7 + 1, 188 * 20 + 100, 188 * 41 + 187])
def test_a_part_of_a_recording(at, tmp_path):
    """A part that begins or ends inside a packet is read like the whole packets in it."""
    path, aligned = tmp_path / "capture.ts", tmp_path / "aligned.ts"
    for part, whole in ((WHOLE[at:], WHOLE[at // 188 * 188 + 188 :]), (WHOLE[:-at], WHOLE[: -(at // 188 * 188 + 188)])):
        path.write_bytes(part)
        aligned.write_bytes(whole)
        frames = read_frames(str(path), range)
        assert 15 < len(frames) < 60 and np.array_equal(frames[:-1], read_frames(str(aligned), range)[:-1])


LOST = {
    "overwritten": WHOLE[: 188 * 30] + junk(188 * 4) + WHOLE[188 * 34 :],
    "a packet lacks bytes": WHOLE[: 188 * 30 + 20] + WHOLE[188 * 30 + 90 :],
    "junk in place of packets": WHOLE[: 188 * 30] + junk(600) + WHOLE[188 * 33 :],
    "junk at the end": WHOLE + junk(4000),
}


@pytest.mark.parametrize("kind", LOST)
def test_where_packets_were_lost_it_is_damaged(kind, tmp_path, capfd):
    path = tmp_path / "capture.ts"
    path.write_bytes(LOST[kind])
    with pytest.raises(VideoError) as caught:
        read_frames(str(path), range)
    assert caught.value.reason == "truncated or damaged: its transport packets are not whole"
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("decoder, module", [("opencv", "cv2"), ("decord", "decord")])
def test_other_decoders_read_the_same(decoder, module, tmp_path):
    pytest.importorskip(module)
    path = tmp_path / "capture.ts"
    path.write_bytes(CAPTURES["junk between packets"][0])
    assert np.array_equal(
        read_frames(str(path), lambda n: [0, 9], decoder),
        read_frames(str(FIXTURES / "h264.ts"), lambda n: [0, 9], decoder),
    )


def test_all_that_reads_videos_reads_the_same(tmp_path: Path):
    path = tmp_path / "capture.ts"
    path.write_bytes(CAPTURES["junk between packets"][0])
    reencode(job := Job(str(path), tmp_path / "out/a.mp4", Settings(48, 12, 23, "ultrafast")))
    assert [read_number(frame) for frame in read_frames(str(job.target), range)] == NUMBERS
    spec = ClipSpec(num_segments=6, seglen=1, short_side=48, crop_size=48)
    found = [
        [part.crops for part in stream_windows(name, spec, 1, 1) if isinstance(part, Frames)]
        for name in (str(path), str(FIXTURES / "h264.ts"))
    ]
    assert np.array_equal(*map(np.concatenate, found))
