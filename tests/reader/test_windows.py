"""Windows of long videos: their times, their frames, and that each frame is decoded once."""

import gc

import av
import numpy as np
import pytest

from make_fixtures import FIXTURES, read_number
from reader import packets, sparse, windows
from reader.dataset import ClipSpec
from reader.integrity import VideoError
from reader.windows import Frames, stream_windows, window_spans

WHOLE = ClipSpec(5, 1, 48, 48, crops=3)  # its crops together show a fixture's whole frame, 64x48


@pytest.mark.parametrize(
    "duration, window, stride, spans",
    [
        (4, 10, 5, [(0, 4)]),
        (10, 10, 5, [(0, 10)]),
        (15, 10, 5, [(0, 10), (5, 15)]),
        (15.03, 10, 5, [(0, 10), (5, 15.03)]),  # one frame is left over
        (17, 10, 5, [(0, 10), (5, 15), (10, 17)]),
        (24, 10, 10, [(0, 10), (10, 24)]),  # the rest is shorter than half: part of the one before
        (26, 10, 10, [(0, 10), (10, 20), (20, 26)]),
        (26, 10, 20, [(0, 10), (20, 26)]),
        (24, 10, 20, [(0, 10)]),  # not part of the one before, because of the gap
        (30, 10, 20, [(0, 10), (20, 30)]),
    ],
)
def test_where_windows_lie(duration, window, stride, spans):
    assert window_spans(duration, window, stride, slack=0.04) == spans


def read(name: str, *how: float, spec: ClipSpec = WHOLE) -> tuple[list[tuple], list[list[int]], list[int]]:
    """Return the spans, the numbers of each window's frames, and the numbers of all frames in the order of reading."""
    for part in stream_windows(str(name), spec, *how):
        if isinstance(part, list):
            spans, came = part, []
            numbers = [[-1] * spec.num_segments for _ in spans]
        elif isinstance(part, Frames):
            for crops, uses in zip(part.crops, part.uses):
                came.append(read_number(np.concatenate([crops[0], crops[1][:, -16:]], axis=1)))
                for window, segment in uses:
                    numbers[window][segment] = came[-1]
    return spans, numbers, came


# Number of frames, 25 a second -> the frames that segment_indices chooses of a clip cut out for each window.
SECOND = [2, 7, 12, 17, 22]
CHOSEN = {
    60: [SECOND, [28, 35, 42, 49, 56]],
    52: [SECOND, [27, 32, 37, 42, 47]],
    40: [SECOND, [26, 29, 32, 35, 38]],
}


# The first number shown, where it is not 0.
CUT = {"mid_gop.ts": 20, "edit_list.mp4": 8}
NAMES = """h264.mp4 fragmented.mp4 open_gop.mp4 edit_list.mp4 interlaced.mp4 intra_refresh.mp4 h264.ts
mid_gop.ts h264.mkv h264.avi h264.flv cover.mp4 mpeg4.avi mpeg4.mp4 mpeg2.ts mjpeg.avi hevc.mp4 hevc_open_gop.mkv
hevc_layers.mp4 vp9.webm vp8.webm av1.mp4""".split()


@pytest.mark.parametrize("name", NAMES)
def test_frames_are_those_of_a_clip_cut_out(name):
    shown = range(CUT.get(name, 0), 60)
    spans, numbers, _ = read(FIXTURES / name, 1, 1)
    assert spans == [(0, 1), (1, pytest.approx(len(shown) / 25))]
    assert numbers == [[shown[i] for i in chosen] for chosen in CHOSEN[len(shown)]]


def test_frames_are_chosen_by_time_where_the_rate_varies():
    spans, numbers, _ = read(FIXTURES / "vfr.mp4", 2, 2, spec=ClipSpec(3, 1, 48, 48, crops=3))
    assert numbers[0] == [5, 14, 24]  # shown at 0.3, 0.967 and 1.633 s: by number it would be 4, 14, 24
    assert spans == [(0, 2), (2, 3.92)]  # the end that its container states


@pytest.mark.parametrize("name", ["h264.mp4", "mpeg2.ts"])
def test_a_frame_comes_once_however_many_windows_use_it(name):
    _, numbers, came = read(FIXTURES / name, 1, 0.2)
    assert numbers[1] == [n + 5 for n in SECOND] and len(numbers) == 8
    assert came == sorted({number for window in numbers for number in window})


def test_one_frame_serves_all_segments_of_a_short_window():
    _, numbers, came = read(FIXTURES / "h264.mp4", 0.1, 0.1)
    assert (numbers[0], numbers[1], len(came)) == ([0, 1, 0, 1, 0], [3, 4, 3, 4, 3], len(set(came)))


def test_all_begins_anew_where_the_container_proves_wrong(tmp_path):
    path = tmp_path / "no_ctts.mp4"  # as if its muxer did not know of B-frames
    path.write_bytes((FIXTURES / "h264.mp4").read_bytes().replace(b"ctts", b"free").replace(b"edts", b"free"))
    parts = [part for part in stream_windows(str(path), WHOLE, 1, 1) if isinstance(part, list)]
    assert len(parts) == 2 and parts[0] == parts[1]
    _, numbers, _ = read(path, 1, 1)
    assert numbers[0] == SECOND


def test_packets_are_not_kept(monkeypatch):
    asked = []
    read_packets = packets.read_packets
    monkeypatch.setattr(
        windows, "read_packets", lambda *args, **how: asked.append(read_packets(*args, **how)) or asked[0]
    )
    read(FIXTURES / "h264.mp4", 1, 1)
    assert asked[0].kept is None


def test_too_many_windows(monkeypatch):
    monkeypatch.setattr(windows, "MOST_WINDOWS", 20)
    with pytest.raises(VideoError) as error:
        read(FIXTURES / "h264.mp4", 1, 0.1)
    assert error.value.reason == "a window every 0.1 s makes more than 20 of its 2.4 s"


def test_damage_is_an_error(tmp_path):
    path = tmp_path / "cut.mp4"
    path.write_bytes((FIXTURES / "faststart.mp4").read_bytes()[:-3000])
    with pytest.raises(VideoError, match="truncated"):
        read(path, 1, 1)


def test_of_long_videos_no_frames_stay_behind():
    """A frame and its side data reference each other, and Python's collector counts objects, not megabytes."""
    gc.collect()
    gc.freeze()  # what is there already need not be looked at each time
    gc.disable()
    try:
        for _ in range(40):
            sparse.as_shown(av.VideoFrame(1920, 1080, "yuv420p"), 96, 54)
        alive = sum(type(thing) is av.VideoFrame for thing in gc.get_objects())
    finally:
        gc.enable()
        gc.unfreeze()
    assert alive < 20
