"""data/reencode.py and labelled videos show what a player shows: the shape of pixels, rotation, mirrored pictures."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from data.copies.encoding import Job, Settings, reencode
from make_fixtures import FIXTURES, paint
from reader.decode import read_frames
from results.pages.annotated_video import label_video

WIDESCREEN = Fraction(64, 45)  # of the pixels of a DVD


def wide(path: Path, rotation: int = 0) -> None:
    """Write ten frames of 64x48 with pixels of WIDESCREEN."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = WIDESCREEN
        if rotation:
            stream.set_display_rotation(rotation)
        for number in range(10):
            frame = av.VideoFrame.from_ndarray(paint(number), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def reencoded(source: Path, folder: Path, short_side: int = 48) -> Path:
    job = Job(str(source), folder / "out/a.mp4", Settings(short_side, 12, 23, "ultrafast"))
    reencode(job)
    return job.target


def test_a_folder_with_a_colon_is_no_protocol(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert reencoded(FIXTURES / "h264.mp4", Path("10:30")).stat().st_size > 1000


def shown_as(path: Path) -> tuple[int, int, Fraction]:
    """Return width, height and shape of the pixels, which ffplay uses."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return stream.width, stream.height, stream.sample_aspect_ratio


@pytest.mark.parametrize(
    "name, rotation, short_side, expected",
    [
        ("a.mp4", 0, 48, (64, 48, WIDESCREEN)),
        ("a.mp4", 0, 24, (32, 24, WIDESCREEN)),
        ("a.mp4", 180, 48, (64, 48, WIDESCREEN)),
        ("a.mp4", 90, 48, (48, 64, 1 / WIDESCREEN)),
        ("a.mkv", 0, 48, (64, 48, WIDESCREEN)),
        ("a.ts", 0, 48, (64, 48, WIDESCREEN)),
    ],
)
def test_the_shape_of_the_pixels_stays(name, rotation, short_side, expected, tmp_path):
    wide(tmp_path / name, rotation)
    assert shown_as(reencoded(tmp_path / name, tmp_path, short_side)) == expected


def test_the_container_has_the_last_word(tmp_path):
    wide(tmp_path / "a.mp4")
    data = (tmp_path / "a.mp4").read_bytes()
    at = data.index(b"pasp") + 4
    (tmp_path / "a.mp4").write_bytes(data[:at] + struct.pack(">II", 2, 1) + data[at + 8 :])
    assert shown_as(tmp_path / "a.mp4") == (64, 48, 2)
    assert shown_as(reencoded(tmp_path / "a.mp4", tmp_path)) == (64, 48, 2)
    cues = [(0.0, float("inf"), [{"class_id": 0, "label": "waving", "probability": 1.0}])]
    assert list(label_video(str(tmp_path / "a.mp4"), str(tmp_path / "labelled.mp4"), cues))
    assert shown_as(tmp_path / "labelled.mp4") == (320, 240, 2)


def test_square_pixels_stay_square(tmp_path):
    assert shown_as(reencoded(FIXTURES / "rotated_90.mp4", tmp_path)) == (48, 64, 1)


def test_a_mirrored_video_is_written_as_it_is_shown(tmp_path):
    mirrored = bytearray((FIXTURES / "rotated_180.mp4").read_bytes())
    at = mirrored.index((-(1 << 16)).to_bytes(4, "big", signed=True))  # a of the display matrix (a, b, u, c, d)
    mirrored[at : at + 4] = (1 << 16).to_bytes(4, "big")  # only upside down
    (tmp_path / "mirrored.mp4").write_bytes(mirrored)
    frames = read_frames(str(reencoded(tmp_path / "mirrored.mp4", tmp_path)), range)
    plain = read_frames(str(FIXTURES / "h264.mp4"), range)
    assert np.abs(frames.astype(int) - plain[:, ::-1]).mean() < 6
