"""Every kind of file, every decoder: which frame index n gives, and what an unusable file says."""

import random

import av
import numpy as np
import pytest
from make_fixtures import FIXTURES, read_number

from reader import decode
from reader.decode import VideoError, read_frames

WHOLE = list(range(60))
# The numbers painted in the frames that a player shows, in order; and whether decoding everything is needed to know.
SHOWN = {
    "h264.mp4": (WHOLE, "sparse"),
    "faststart.mp4": (WHOLE, "sparse"),
    "fragmented.mp4": (WHOLE, "sparse"),
    "open_gop.mp4": (WHOLE, "sparse"),
    "open_gop_cut.mkv": (WHOLE[20:], "all"),
    "vfr.mp4": (WHOLE, "sparse"),
    "edit_list.mp4": (WHOLE[8:], "sparse"),
    "odd_444.mp4": (WHOLE, "sparse"),
    "ten_bit.mp4": (WHOLE, "sparse"),
    "gray.mkv": (WHOLE, "sparse"),
    "interlaced.mp4": (WHOLE, "sparse"),
    "intra_refresh.mp4": (WHOLE, "either"),
    "h264.ts": (WHOLE, "sparse"),
    "mid_gop.ts": (WHOLE[20:], "sparse"),
    "h264.mkv": (WHOLE, "sparse"),
    "h264.avi": (WHOLE, "all"),
    "h264.flv": (WHOLE, "sparse"),
    "two_videos.mkv": (WHOLE, "sparse"),
    "cover.mp4": (WHOLE, "sparse"),
    "mpeg4.avi": (WHOLE, "all"),
    "mpeg4.mp4": (WHOLE, "all"),
    "mpeg2.ts": (WHOLE, "all"),
    "mjpeg.avi": (WHOLE, "all"),
    "hevc.mp4": (WHOLE, "sparse"),
    "hevc_open_gop.mkv": (WHOLE, "sparse"),
    "hevc_layers.mp4": (WHOLE, "sparse"),
    "vp9.webm": (WHOLE, "sparse"),
    "vp9_odd.webm": (WHOLE, "sparse"),
    "vp8.webm": (WHOLE, "all"),
    "av1.mp4": (WHOLE, "sparse"),
}


def decode_everything(name: str) -> np.ndarray:
    """All frames, uint8 [T, H, W, 3], without any of the code under test."""
    with av.open(str(FIXTURES / name)) as container:
        stream = next(s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic)
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(stream)])


@pytest.mark.parametrize("name", SHOWN)
def test_index_n_is_the_frame_shown_nth(name, monkeypatch):
    numbers, how = SHOWN[name]
    reference = decode_everything(name)
    assert [read_number(frame) for frame in reference] == numbers

    decoded_all = []
    decode_all = decode._decode_all
    monkeypatch.setattr(decode, "_decode_all", lambda *args: decoded_all.append(1) or decode_all(*args))
    assert np.array_equal(read_frames(str(FIXTURES / name), range), reference)
    rng = random.Random(name)
    for size in [1, 1, 1, 1, 2, 2, 3, 3, 8]:
        indices = rng.choices(range(len(numbers)), k=size)
        frames = read_frames(str(FIXTURES / name), lambda num_frames: indices)
        assert np.array_equal(frames, reference[indices]), indices
    assert how == "either" or bool(decoded_all) == (how == "all")


@pytest.mark.parametrize("name, turns", [("rotated_90.mp4", 1), ("rotated_180.mp4", 2), ("rotated_270.mp4", 3)])
def test_rotation_is_applied(name, turns):
    upright = np.rot90(decode_everything("h264.mp4"), turns, axes=(1, 2))
    assert np.array_equal(read_frames(str(FIXTURES / name), range), upright)


@pytest.mark.parametrize("indices", [[60], [-1], [0, 61]])
def test_an_index_out_of_range_is_a_defect_of_the_caller(indices):
    with pytest.raises(IndexError, match="which has 60"):
        read_frames(str(FIXTURES / "h264.mp4"), lambda num_frames: indices)


def test_audio_only():
    path = str(FIXTURES / "audio_only.mp4")
    with pytest.raises(VideoError) as caught:
        read_frames(path, range)
    assert (caught.value.path, caught.value.reason, str(caught.value)) == (path, "no video stream", f"{path}: no video stream")
