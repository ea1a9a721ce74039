"""Of several video streams the one that players show, as av_find_best_stream of FFmpeg names it; never a cover."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from make_fixtures import FIXTURES, paint, read_number
from reader import packets
from reader.decode import read_frames

Disposition = av.stream.Disposition


def add_still(out: av.container.OutputContainer, codec: str = "mjpeg", disposition: Disposition | None = None):
    """Add a stream for one picture of 32x24."""
    stream = out.add_stream(codec, rate=1)
    stream.width, stream.height, stream.pix_fmt = 32, 24, {"mjpeg": "yuvj420p"}.get(codec, "yuv420p")
    if disposition is not None:
        stream.disposition = disposition
    return stream


def picture(number: int) -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(paint(number, 32, 24), format="rgb24")
    frame.pts, frame.time_base = 0, Fraction(1)
    return frame


def still_first(path: Path) -> None:
    """Write a thumbnail as the first track, then the video, which is the default."""
    with av.open(str(FIXTURES / "h264.mp4")) as source, av.open(str(path), "w") as out:
        still = add_still(out)
        video = out.add_stream_from_template(source.streams.video[0])
        video.disposition = Disposition.default
        out.mux(still.encode(picture(200)))
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = video
                out.mux(packet)


def no_default(path: Path) -> None:
    """Write the same in Matroska, and mark none of them as the default."""
    with av.open(str(FIXTURES / "h264.mp4")) as source:
        options = {"default_mode": "passthrough"}
        with av.open(str(path), "w", container_options=options) as out:
            still = add_still(out)
            video = out.add_stream_from_template(source.streams.video[0])
            still.disposition = video.disposition = Disposition(0)
            out.mux(still.encode(picture(200)))
            for packet in source.demux(video=0):
                if packet.size:
                    packet.stream = video
                    out.mux(packet)


def empty_first(path: Path) -> None:
    """Windows Media with a video stream of which no packet was ever written before the one that has them."""
    with av.open(str(path), "w", format="asf") as out:
        add_still(out, "msmpeg4")
        video = out.add_stream("wmv2", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        for number in range(60):
            frame = av.VideoFrame.from_ndarray(paint(number), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))


def second_is_default(path: Path) -> None:
    """two_videos.mkv the other way round: both are whole videos, and the second one is the default."""
    with (
        av.open(str(FIXTURES / "large.ts")) as first,
        av.open(str(FIXTURES / "h264.mp4")) as second,
        av.open(str(path), "w", container_options={"default_mode": "passthrough"}) as out,
    ):
        streams = [out.add_stream_from_template(source.streams.video[0]) for source in (first, second)]
        streams[0].disposition, streams[1].disposition = Disposition(0), Disposition.default
        for source, stream in zip((first, second), streams):
            for packet in source.demux(video=0):
                if packet.size:
                    packet.stream = stream
                    out.mux(packet)


CHOICES: dict[str, tuple[Callable[[Path], None], str]] = {
    "a thumbnail first": (still_first, "still.mp4"),
    "a still first, nothing marked": (no_default, "still.mkv"),
    "an empty stream first": (empty_first, "empty.wmv"),
    "the second is the default": (second_is_default, "second.mkv"),
}


@pytest.mark.parametrize("kind", CHOICES)
def test_the_video_is_read_that_players_show(kind, tmp_path):
    make, name = CHOICES[kind]
    make(path := tmp_path / name)
    with av.open(str(path)) as container:
        assert len(container.streams.video) == 2
        best = container.streams.best("video")
        assert best.index == 1
        reference = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(best)])
    assert [read_number(frame) for frame in reference] == list(range(60))
    assert np.array_equal(read_frames(str(path), range), reference)
    assert np.array_equal(read_frames(str(path), lambda n: [n - 1, 3]), reference[[59, 3]])


def test_an_animated_picture_is_read_whole(tmp_path):
    """AVIF has its first picture as an item, which FFmpeg lists as the first stream, and all of them as a track."""
    path = tmp_path / "animated.avif"
    with av.open(str(path), "w", format="avif") as out:
        stream = out.add_stream("libsvtav1", rate=5, options={"crf": "45", "preset": "8"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for number in range(5):
            frame = av.VideoFrame.from_ndarray(paint(number, 64, 64), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 5)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    with av.open(str(path)) as container:
        assert len(container.streams.video) == 2
    assert [read_number(frame) for frame in read_frames(str(path), range)] == list(range(5))


def test_a_large_file_is_read_again_from_the_same_stream(tmp_path, monkeypatch):
    still_first(path := tmp_path / "still.mp4")
    whole = read_frames(str(path), range)
    monkeypatch.setattr(packets, "KEPT_BYTES", 1000)
    assert np.array_equal(read_frames(str(path), lambda _: [39, 1, 20]), whole[[39, 1, 20]])


def test_one_stream_costs_no_second_look(monkeypatch):
    opened = []
    plain = av.open
    monkeypatch.setattr(av, "open", lambda *args, **kwargs: opened.append(args[0]) or plain(*args, **kwargs))
    for name in ("h264.mp4", "cover.mp4", "h264.mkv"):
        opened.clear()
        read_frames(str(FIXTURES / name), lambda n: [0])
        assert len(opened) == 1
