"""Files whose frames are easily lost or shifted: any choice gives the frames that FFmpeg shows."""

import shutil
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from data.copies.encoding import Job, Settings, reencode
from h264_streams import broadcast_in_fields, reordered_untold
from make_fixtures import FIXTURES, HEIGHT, RATE, WIDTH, encode_numbers, read_number, remux
from reader import packets
from reader.dataset import ClipSpec
from reader.decode import VideoError, read_frames
from reader.windows import Frames, stream_windows

WHOLE = list(range(60))


def shown(path: Path) -> np.ndarray:
    """Return all frames, uint8 [T, H, W, 3], without any of the code under test."""
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def check(path: Path, numbers: list[int]) -> None:
    """Check that FFmpeg shows frames with these numbers, and that any choice gives the same frames."""
    reference = shown(path)
    assert [read_number(frame) for frame in reference] == numbers
    assert np.array_equal(read_frames(str(path), range), reference)
    for indices in ([0], [7, 2], [len(numbers) - 1], [30, 31, 5]):
        assert np.array_equal(read_frames(str(path), lambda n: indices), reference[indices])


def unmarked(path: Path, shift: int = 0) -> None:
    """Write hevc.mp4 without the mark of its first key frame; an edit list cuts off `shift` frames."""
    with av.open(str(FIXTURES / "hevc.mp4")) as source, av.open(str(path), "w") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for i, packet in enumerate(source.demux(video=0)):
            if packet.size:
                back = round(shift / RATE / packet.time_base)
                packet.is_keyframe = packet.is_keyframe and i > 0
                packet.pts, packet.dts, packet.stream = packet.pts - back, packet.dts - back, stream
                out.mux(packet)


def test_frames_before_the_first_marked_key_frame(tmp_path, monkeypatch):
    unmarked(path := tmp_path / "unmarked.mp4")
    with av.open(str(path)) as container:
        assert [i for i, packet in enumerate(container.demux(video=0)) if packet.is_keyframe][0] == 20
    check(path, WHOLE)
    monkeypatch.setattr(packets, "KEPT_BYTES", 1000)
    check(path, WHOLE)


def test_an_edit_list_that_begins_before_the_first_marked_key_frame(tmp_path):
    unmarked(path := tmp_path / "edited.mp4", shift=8)
    check(path, WHOLE[8:])


@pytest.mark.parametrize(
    "source, ending, shown_from", [("h264.mp4", "ts", 20), ("hevc.mp4", "ts", 20), ("mpeg4.mp4", "mp4", 21)]
)
def test_nothing_is_made_of_frames_whose_beginning_was_cut_off(source, ending, shown_from, tmp_path):
    shutil.copy(FIXTURES / source, tmp_path / source)
    path = tmp_path / f"cut.{ending}"
    remux(str(tmp_path / source), str(path), lambda i, _: i >= 7)
    assert [read_number(frame) for frame in read_frames(str(path), range)] == WHOLE[shown_from:]


def reordered(path: Path) -> None:
    """Write the video of `reordered_untold`, in AVI if the path says so."""
    raw = path.with_suffix(".264")
    reordered_untold(raw)
    if path != raw:
        with av.open(str(raw)) as source, av.open(str(path), "w") as out:
            stream = out.add_stream_from_template(source.streams.video[0])
            for i, packet in enumerate(packet for packet in source.demux(video=0) if packet.size):
                packet.stream, packet.time_base, packet.pts, packet.dts = stream, Fraction(1, RATE), i, i
                out.mux(packet)


@pytest.mark.parametrize("name", ["reordered.264", "reordered.avi"])
def test_reordering_of_which_the_header_says_nothing(name, tmp_path):
    reordered(path := tmp_path / name)
    check(path, WHOLE)
    job = Job(str(path), tmp_path / "out/a.mp4", Settings(48, 12, 23, "ultrafast"))
    reencode(job)
    assert [read_number(frame) for frame in read_frames(str(job.target), range)] == WHOLE
    spec = ClipSpec(num_segments=60, seglen=1, short_side=HEIGHT, crop_size=HEIGHT, keep_aspect_ratio=True)
    parts = [part for part in stream_windows(str(path), spec, 9, 9) if isinstance(part, Frames)]
    assert sorted(tuple(use) for part in parts for uses in part.uses for use in uses) == [(0, n) for n in WHOLE]


def low_delay(path: Path) -> None:
    """Write MPEG-4 with B-frames whose header says that it has none (ISO/IEC 14496-2, 6.2.3: a Simple object)."""
    with av.open(str(path), "w", format="m4v") as out:
        options = {"bf": "2", "b_strategy": "0", "qmin": "31"}
        stream = out.add_stream("mpeg4", rate=RATE, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        encode_numbers(out, stream, range(4))
    data = path.read_bytes()
    start = data.index(b"\0\0\1\x20") + 4
    end = data.index(b"\0\0\1", start)
    bits = "".join(f"{byte:08b}" for byte in data[start:end])
    control = 17 if bits[9] == "1" else 10  # behind the object's type, and its version where it has one
    control += 20 if bits[control : control + 4] == "1111" else 4  # behind the shape of its pixels
    assert bits[control] == "1"  # vol_control_parameters
    bits = bits[0] + f"{1:08b}" + bits[9:control] + "0" + bits[control + 5 :].rstrip("1")[:-1] + "0"
    bits += "1" * (-len(bits) % 8)
    path.write_bytes(data[:start] + int(bits, 2).to_bytes(len(bits) // 8, "big") + data[end:])


def test_a_header_that_denies_reordering(tmp_path):
    low_delay(path := tmp_path / "denied.m4v")
    reference = shown(path)
    assert len(reference) == 5  # of four: the decoder, and so every player, shows one too early, and once more
    assert np.array_equal(read_frames(str(path), range), reference)
    assert np.array_equal(read_frames(str(path), lambda n: [n - 1]), reference[-1:])


def test_a_broadcast_may_end_within_the_second_field_of_a_frame(tmp_path):
    path = tmp_path / "fields.ts"
    broadcast_in_fields(path, range(30, 230, 10))
    data = path.read_bytes()
    whole = read_frames(str(path), range)
    assert len(whole) == 20
    for cut in range(1, 12):
        path.write_bytes(data[: -188 * cut])
        frames = read_frames(str(path), range)
        assert len(frames) == len(shown(path)) == 20 - cut // 6 - (cut % 6 > 2)
        assert np.array_equal(frames[:-1], whole[: len(frames) - 1])
        assert np.array_equal(frames[-1, ::2][:8], whole[len(frames) - 1, ::2][:8])  # the first field
        assert len(read_frames(str(path), lambda n: [n - 1])) == 1


def test_damage_within_a_broadcast_of_fields_is_no_end(tmp_path):
    path = tmp_path / "fields.ts"
    broadcast_in_fields(path, range(30, 230, 10))
    data = path.read_bytes()
    lost = [range(-188 * n, -188 * (n - 1)) for n in (7, 10, 41)]  # in fields of the frames before the last one
    for part in lost:
        path.write_bytes(data[: part.start] + data[part.stop :])
        with pytest.raises(VideoError, match="damaged: frame [0-9]+ is not whole"):
            read_frames(str(path), range)


def encode(path: Path, codec: str, container: str, pixels: str = "yuv420p") -> None:
    with av.open(str(path), "w", format=container) as out:
        stream = out.add_stream(codec, rate=RATE)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pixels
        encode_numbers(out, stream)


CUT = {
    "gif": ("gif", "rgb8", "truncated or damaged: it has no end"),
    "asf": ("wmv2", "yuv420p", "truncated: it is shorter than its header says"),
    "flv": ("flv1", "yuv420p", "truncated"),
    "mxf": ("mpeg2video", "yuv420p", ("truncated or damaged: its parts are not whole", "not a readable video file")),
}


@pytest.mark.parametrize("container", CUT)
def test_a_file_that_was_cut_is_not_read_as_a_shorter_one(container, tmp_path):
    codec, pixels, reason = CUT[container]
    path = tmp_path / f"video.{container}"
    encode(path, codec, container, pixels)
    data = path.read_bytes()
    assert len(read_frames(str(path), range)) == 60
    for share in (0.3, 0.61, 0.8, 0.97, 0.99):
        path.write_bytes(data[: int(len(data) * share) | 1])
        with pytest.raises(VideoError) as caught:
            read_frames(str(path), lambda n: [0])
        assert caught.value.reason.startswith(reason)


def test_a_file_that_changes_while_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(packets, "KEPT_BYTES", 1000)
    path = tmp_path / "changing.mkv"
    shutil.copy(FIXTURES / "open_gop_cut.mkv", path)
    asked = []

    def choose(num_frames: int) -> list[int]:
        asked.append(num_frames)
        if len(asked) == 2:
            shutil.copy(FIXTURES / "h264.mkv", path)
        return [num_frames - 1]

    reason = "it changes while it is read: it had 40 frames, then 43"
    with pytest.raises(VideoError, match=reason):
        read_frames(str(path), choose)
