"""Every kind of file with every decoder: the frame that index n gives."""

import random
import struct
import sys
from dataclasses import fields
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np
import pytest

from make_fixtures import FIXTURES, MAKERS, RATE, read_number
from reader import packets, sparse
from reader.decode import DECODERS, VideoError, read_frames
from utils.config.shared_keys import ModelConfig
from utils.errors import InputError

WHOLE = list(range(60))
# The numbers painted in the frames that a player shows, in order, and whether all frames must be decoded to know it.
# Then how decord 0.6 and OpenCV 5.0 read the file: "exact" to the bit; the right "frames" with colours that are rounded
# differently; "wrong" frames or a wrong number of them; "refused".
FILES = {
    "h264.mp4": (WHOLE, "sparse", "exact", "exact"),
    "faststart.mp4": (WHOLE, "sparse", "exact", "exact"),
    "fragmented.mp4": (WHOLE, "sparse", "exact", "exact"),
    "open_gop.mp4": (WHOLE, "sparse", "wrong", "exact"),
    "open_gop_cut.mkv": (WHOLE[20:], "all", "wrong", "exact"),
    "vfr.mp4": (WHOLE, "sparse", "exact", "exact"),
    "edit_list.mp4": (WHOLE[8:], "sparse", "wrong", "exact"),
    "rotated_90.mp4": (WHOLE, "turned", "refused", "exact"),
    "rotated_180.mp4": (WHOLE, "turned", "exact", "exact"),
    "rotated_270.mp4": (WHOLE, "turned", "refused", "exact"),
    "odd_444.mp4": (WHOLE, "sparse", "exact", "exact"),
    "ten_bit.mp4": (WHOLE, "sparse", "frames", "frames"),
    "gray.mkv": (WHOLE, "sparse", "exact", "exact"),
    "interlaced.mp4": (WHOLE, "sparse", "frames", "wrong"),
    "intra_refresh.mp4": (WHOLE, "either", "wrong", "exact"),
    "h264.ts": (WHOLE, "sparse", "wrong", "exact"),
    "mid_gop.ts": (WHOLE[20:], "sparse", "wrong", "exact"),
    "h264.mkv": (WHOLE, "sparse", "exact", "exact"),
    "h264.avi": (WHOLE, "all", "wrong", "exact"),
    "h264.flv": (WHOLE, "sparse", "exact", "exact"),
    "two_videos.mkv": (WHOLE, "sparse", "exact", "exact"),
    "cover.mp4": (WHOLE, "sparse", "exact", "exact"),
    "mpeg4.avi": (WHOLE, "all", "wrong", "exact"),
    "mpeg4.mp4": (WHOLE, "all", "wrong", "exact"),
    "mpeg2.ts": (WHOLE, "all", "wrong", "exact"),
    "mjpeg.avi": (WHOLE, "all", "exact", "exact"),
    "hevc.mp4": (WHOLE, "sparse", "exact", "exact"),
    "hevc_open_gop.mkv": (WHOLE, "sparse", "wrong", "exact"),
    "hevc_layers.mp4": (WHOLE, "sparse", "wrong", "exact"),
    "vp9.webm": (WHOLE, "sparse", "exact", "exact"),
    "vp9_odd.webm": (WHOLE, "sparse", "frames", "frames"),
    "vp8.webm": (WHOLE, "all", "exact", "exact"),
    "av1.mp4": (WHOLE, "sparse", "refused", "refused"),
}


@cache
def decode_everything(name: str) -> np.ndarray:
    """Return all frames, uint8 [T, H, W, 3], without any of the code under test."""
    with av.open(str(FIXTURES / name)) as container:
        stream = next(s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic)
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(stream)])


@pytest.mark.parametrize("name", [name for name in FILES if not name.startswith("rotated")])
def test_index_n_is_the_frame_shown_nth(name, monkeypatch):
    numbers, how, _, _ = FILES[name]
    reference = decode_everything(name)
    assert [read_number(frame) for frame in reference] == numbers

    decoded_all = []
    all_frames = sparse.all_frames
    monkeypatch.setattr(sparse, "all_frames", lambda *args: decoded_all.append(1) or all_frames(*args))
    assert np.array_equal(read_frames(str(FIXTURES / name), range), reference)
    rng = random.Random(name)
    for size in [1, 1, 2, 3, 8]:
        indices = rng.choices(range(len(numbers)), k=size)
        frames = read_frames(str(FIXTURES / name), lambda num_frames: indices)
        assert np.array_equal(frames, reference[indices]), indices
    assert how == "either" or bool(decoded_all) == (how == "all")


@pytest.mark.parametrize("name, turns", [("rotated_90.mp4", 1), ("rotated_180.mp4", 2), ("rotated_270.mp4", 3)])
def test_rotation_is_applied(name, turns):
    upright = np.rot90(decode_everything("h264.mp4"), turns, axes=(1, 2))
    assert np.array_equal(read_frames(str(FIXTURES / name), range), upright)


# Display matrices (a, b, c, d) and the filters by which ffmpeg shows a video that has them (its ffmpeg_filter.c).
SHOWN_AS = {
    (1, 0, 0, -1): ["vflip"],
    (-1, 0, 0, 1): ["hflip"],
    (-1, 0, 0, -1): ["hflip", "vflip"],
    (0, 1, -1, 0): ["transpose=clock"],
    (0, -1, 1, 0): ["transpose=cclock"],
    (0, 1, 1, 0): ["transpose=cclock_flip"],
    (0, -1, -1, 0): ["transpose=clock_flip"],
}


def with_matrix(name: str, matrix: tuple[int, int, int, int]) -> bytes:
    """Return a fixture that is turned by 180 degrees with another display matrix (a, b, c, d)."""
    data = bytearray((FIXTURES / name).read_bytes())
    a, b, c, d = (number << 16 for number in matrix)
    at = data.index(struct.pack(">ii", -(1 << 16), 0))
    data[at : at + 20] = struct.pack(">5i", a, b, 0, c, d)
    return bytes(data)


def filtered(frames: np.ndarray, names: list[str]) -> np.ndarray:
    """Return the frames, uint8 [T, H, W, 3], through FFmpeg's filters."""
    graph = av.filter.Graph()
    height, width = frames.shape[1:3]
    last = graph.add_buffer(width=width, height=height, format="rgb24", time_base=Fraction(1, RATE))
    for name in [*names, "buffersink"]:
        node = graph.add(*name.split("=", 1))
        last.link_to(node)
        last = node
    graph.configure()
    shown = []
    for number, frame in enumerate(frames):
        frame = av.VideoFrame.from_ndarray(frame, format="rgb24")
        frame.pts = number
        graph.push(frame)
        shown.append(graph.pull().to_ndarray(format="rgb24"))
    return np.stack(shown)


@pytest.mark.parametrize("matrix", SHOWN_AS)
def test_turned_and_mirrored_as_by_ffmpeg(matrix, tmp_path):
    path = tmp_path / "turned.mp4"
    path.write_bytes(with_matrix("rotated_180.mp4", matrix))
    expected = filtered(decode_everything("h264.mp4"), SHOWN_AS[matrix])
    assert np.array_equal(read_frames(str(path), range), expected)


def turning_on_the_way(path: Path) -> None:
    """Write h264.ts as raw H.264 in which each packet from the 31st on asks for a quarter turn to the left."""
    # Display orientation (ITU-T H.264, D.1.27): not cancelled, no flips, a quarter of 0x10000, for one picture alone.
    message = int(f"000{0x4000:016b}10100", 2).to_bytes(3, "big")
    unit = b"\0\0\1\x06\x2f" + bytes([len(message)]) + message + b"\x80"
    with av.open(str(FIXTURES / "h264.ts")) as source:
        packets = [bytes(packet) for packet in source.demux(video=0) if packet.size]
    path.write_bytes(b"".join(data[:6] + unit * (i >= 30) + data[6:] for i, data in enumerate(packets)))
    assert all(data[:5] == b"\0\0\0\1\x09" for data in packets)  # six bytes: an access unit delimiter


def test_a_video_that_turns_on_the_way_has_frames_of_one_size(tmp_path):
    path = tmp_path / "turning.264"
    turning_on_the_way(path)
    with av.open(str(path)) as container:
        turns = [frame.rotation for frame in container.decode(video=0)]
    assert set(turns) == {0, 90}
    frames = read_frames(str(path), range)
    assert frames.shape == (60, 48, 64, 3)
    stored = decode_everything(str(path))
    assert np.array_equal(frames[0], stored[0]) and not np.array_equal(frames[-1], stored[-1])


def test_timestamps_that_ignore_reordering(tmp_path):
    """If the muxer did not know of B-frames, only the decoder knows the order."""
    data = (FIXTURES / "h264.mp4").read_bytes().replace(b"ctts", b"free").replace(b"edts", b"free")
    path = tmp_path / "no_ctts.mp4"
    path.write_bytes(data)
    reference = decode_everything(path)
    assert len(reference) > 50
    for n in range(0, len(reference), 7):
        assert np.array_equal(read_frames(str(path), lambda _: [n])[0], reference[n])


@pytest.mark.parametrize("name", ["h264.mp4", "open_gop.mp4", "mid_gop.ts", "mpeg4.avi"])
def test_large_files_are_read_twice_instead_of_kept(name, monkeypatch):
    whole = read_frames(str(FIXTURES / name), range)
    monkeypatch.setattr(packets, "KEPT_BYTES", 1000)
    for indices in ([0], [39, 1, 20], [25, 26], [38, 38]):
        assert np.array_equal(read_frames(str(FIXTURES / name), lambda _: indices), whole[indices])


def test_frames_of_another_size_are_scaled_to_the_first(tmp_path):
    path = tmp_path / "joined.ts"
    path.write_bytes((FIXTURES / "h264.ts").read_bytes() + (FIXTURES / "large.ts").read_bytes())
    frames = read_frames(str(path), range)
    assert frames.shape == (120, 48, 64, 3)
    assert [read_number(frame) for frame in frames] == WHOLE + WHOLE


def test_recordings_may_end_within_a_frame(tmp_path):
    data = (FIXTURES / "h264.ts").read_bytes()
    for num_packets in range(60, 110, 7):
        path = tmp_path / f"{num_packets}.ts"
        path.write_bytes(data[: num_packets * 188])
        assert len(read_frames(str(path), range)) > 20
        assert len(read_frames(str(path), lambda n: [n - 1])) == 1


def test_choose_is_asked_again_when_the_promise_was_wrong():
    asked = []
    frames = read_frames(str(FIXTURES / "open_gop_cut.mkv"), lambda n: asked.append(n) or [n - 1])
    assert asked == [43, 40]
    assert read_number(frames[0]) == 59


@pytest.mark.parametrize("indices", [[60], [-1], [0, 61]])
def test_an_index_out_of_range_is_a_defect_of_the_caller(indices):
    with pytest.raises(IndexError, match="which has 60"):
        read_frames(str(FIXTURES / "h264.mp4"), lambda num_frames: indices)


def judge(name: str, decoder: str) -> str:
    """Return how `decoder` reads a fixture: the whole file, and 24 frames in any order."""
    path = str(FIXTURES / name)
    reference = read_frames(path, range)
    choices = list(range(len(reference))), random.Random(0).choices(range(len(reference)), k=24)
    verdict = "exact"
    for indices in choices:
        try:
            frames = read_frames(path, lambda n: range(n) if indices is choices[0] else indices, decoder)
        except VideoError:
            return "refused"
        expected = reference[indices]
        if frames.shape != expected.shape or list(map(read_number, frames)) != list(map(read_number, expected)):
            return "wrong"
        if not np.array_equal(frames, expected):
            assert np.abs(frames.astype(int) - expected).mean() < 3
            verdict = "frames"
    return verdict


@pytest.mark.parametrize("column, decoder, module", [(2, "decord", "decord"), (3, "opencv", "cv2")])
@pytest.mark.parametrize("name", FILES)
def test_what_the_other_decoders_make_of_it(name, column, decoder, module):
    pytest.importorskip(module)
    assert judge(name, decoder) == FILES[name][column]


@pytest.mark.parametrize(
    "decoder, module, message",
    [
        ("decord", "decord", "decoder decord needs the package decord, which is not installed: pip "),
        ("opencv", "cv2", "decoder opencv needs the package opencv-python-headless, which is not installed: "),
        ("ffmpeg", None, "unknown decoder 'ffmpeg': expected one of auto, pyav, decord, opencv"),
    ],
)
def test_a_decoder_that_is_not_there(decoder, module, message, monkeypatch):
    monkeypatch.setitem(sys.modules, module or "none", None)
    with pytest.raises(InputError) as caught:
        read_frames(str(FIXTURES / "h264.mp4"), range, decoder)
    assert str(caught.value).startswith(message)


def test_the_configuration_knows_every_decoder():
    [kind] = [field.metadata["kind"] for field in fields(ModelConfig) if field.name == "decoder"]
    assert kind.options == tuple(DECODERS)


def test_every_fixture_is_in_the_table():
    names = set(FILES) | {"audio_only.mp4", "large.ts"}
    assert {path.name for path in FIXTURES.iterdir() if path.is_file()} == names == set(MAKERS)
