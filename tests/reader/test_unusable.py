"""Files that are no video or not a whole video: each gives one VideoError and nothing on stderr."""

import os
import random
import struct

import av
import numpy as np
import pytest

from fuzz.hostile_videos import patched
from make_fixtures import FIXTURES, encode_numbers
from reader.decode import VideoError, read_frames

UNREADABLE = "not a readable video file"
MAKE = "which is not read: make another file of it first (ffmpeg -i FILE FILE.mp4)"
COPY = "which is not read: make another file of it first (ffmpeg -i FILE -c copy FILE.mp4)"


def some(num_frames: int) -> list[int]:
    return [num_frames // 6, num_frames // 2, num_frames * 5 // 6]


def reason_of(path, choose=some, decoder: str = "auto") -> str:
    """Return why the file cannot be used."""
    with pytest.raises(VideoError) as caught:
        read_frames(str(path), choose, decoder)
    error = caught.value
    assert error.path == str(path) and str(error) == f"{path}: {error.reason}" and "\n" not in str(error)
    return error.reason


CONTENTS = {
    "empty": (b"", "the file is empty"),
    "text": (b"this is no video\n" * 100, UNREADABLE),
    "random": (random.Random(0).randbytes(20_000), UNREADABLE),
    "zeros": (bytes(20_000), UNREADABLE),
    "audio only": ((FIXTURES / "audio_only.mp4").read_bytes(), "no video stream"),
    "picture": (b"\x89PNG\r\n\x1a\n" + bytes(100), f"{UNREADABLE}: it is a PNG or APNG picture, {MAKE}"),
    # RFC 6386, 9.1: 14 bits of width and of height after the start code of a key frame
    "too large": (
        patched("vp8.webm", b"\x9d\x01\x2a", 3, struct.pack("<HH", 16383, 16383)),
        "damaged: frame 0 or one near it cannot be decoded",
    ),
    "too many": (
        patched("h264.mp4", b"stsz", 8, struct.pack(">II", 1, 2_000_000_000)),
        "it declares more frames or audio samples than it has bytes",
    ),
    "no packets": ((FIXTURES / "fragmented.mp4").read_bytes().split(b"moof")[0][:-4], "no frame could be decoded"),
}


@pytest.mark.parametrize("decoder", ["auto", "opencv", "decord"])
@pytest.mark.parametrize("kind", CONTENTS)
def test_what_is_no_video(kind, decoder, tmp_path, capfd):
    if decoder != "auto":
        pytest.importorskip({"opencv": "cv2"}.get(decoder, decoder))
    path = tmp_path / "video.mp4"
    path.write_bytes(CONTENTS[kind][0])
    reason = reason_of(path, decoder=decoder)
    if decoder == "auto":
        assert reason == CONTENTS[kind][1]
    assert capfd.readouterr().err == ""


OTHER_FORMATS = {
    "a.webp": (b"RIFF\x24\0\0\0WEBPVP8X" + bytes(100), f"a WebP animation or picture, {MAKE}"),
    "a.y4m": (b"YUV4MPEG2 W64 H48 F25:1\nFRAME\n" + bytes(4608), f"raw pictures (Y4M), {MAKE}"),
    "a.obu": (b"\x12\0\x0a\x0b\0\0\0\x24" + bytes(100), f"raw AV1, {COPY}"),
    "a.rm": (b".RMF\0\0\0\x12" + bytes(100), f"RealMedia, {MAKE}"),
    "a.nut": (b"nut/multimedia container\0" + bytes(100), f"NUT, {COPY}"),
    "a.dav": (b"DHAV\xfd\0" + bytes(100), f"a recording of a camera (DHAV), {MAKE}"),
}


@pytest.mark.parametrize("name", OTHER_FORMATS)
def test_formats_that_ffmpeg_reads_are_named(name, tmp_path):
    (tmp_path / name).write_bytes(OTHER_FORMATS[name][0])
    assert reason_of(tmp_path / name) == f"{UNREADABLE}: it is {OTHER_FORMATS[name][1]}"


@pytest.mark.parametrize(
    "name, codec, container", [("a.y4m", "wrapped_avframe", "yuv4mpegpipe"), ("a.nut", "mpeg4", "nut")]
)
def test_real_files_of_such_formats_are_named(name, codec, container, tmp_path):
    with av.open(str(tmp_path / name), "w", format=container) as out:
        stream = out.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        encode_numbers(out, stream, range(3))
    assert reason_of(tmp_path / name) == f"{UNREADABLE}: it is {OTHER_FORMATS[name][1]}"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path):
    path = tmp_path / "video.mp4"
    path.write_bytes((FIXTURES / "h264.mp4").read_bytes())
    path.chmod(0)
    assert reason_of(path) == "no permission to read it"


TRUNCATED = [
    "h264.mp4", "faststart.mp4", "fragmented.mp4", "h264.mkv", "vp9.webm", "mpeg4.avi", "hevc.mp4",
    "av1.mp4",
]  # fmt: skip


@pytest.mark.parametrize("share", [0.3, 0.6, 0.97])
@pytest.mark.parametrize("name", TRUNCATED)
def test_truncated(name, share, tmp_path, capfd):
    data = (FIXTURES / name).read_bytes()
    path = tmp_path / name
    path.write_bytes(data[: int(len(data) * share) | 1])
    assert reason_of(path).startswith(("truncated", "not a readable video file"))
    assert capfd.readouterr().err == ""


def damage(name: str, share: float, kind: str, seed: int) -> bytes:
    """Overwrite `share` of a fixture's bytes by zeros or random ones, from somewhere in its second third."""
    rng = random.Random(seed)
    data = bytearray((FIXTURES / name).read_bytes())
    size = int(len(data) * share)
    start = len(data) // 3 + rng.randrange(len(data) // 3 - size)
    data[start : start + size] = bytes(size) if kind == "zeros" else rng.randbytes(size)
    return bytes(data)


@pytest.mark.parametrize("kind", ["zeros", "random"])
@pytest.mark.parametrize("name", ["h264.mp4", "h264.mkv", "hevc.mp4", "h264.ts", "mpeg4.avi", "vp9.webm", "vp8.webm"])
def test_damaged_in_the_middle_whatever_frames_are_wanted(name, kind, tmp_path, capfd):
    path = tmp_path / name
    for seed in range(10):
        path.write_bytes(damage(name, 0.1, kind, seed))
        for choose in (lambda n: [0], some, lambda n: [n - 1]):
            assert reason_of(path, choose)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("name", ["h264.mp4", "h264.mkv"])
def test_small_damage_is_found_where_it_is_decoded(name, tmp_path):
    """Random bytes within a packet show only in decoding, and frames this small often decode nevertheless."""
    path = tmp_path / name
    whole = read_frames(str(FIXTURES / name), some)
    refused = wrong = 0
    for seed in range(40):
        path.write_bytes(damage(name, 0.007, "random", seed))
        try:
            wrong += not np.array_equal(read_frames(str(path), some), whole)
        except VideoError:
            refused += 1
    assert refused > 20 and wrong < 10
