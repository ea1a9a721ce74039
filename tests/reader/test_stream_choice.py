"""The choice among several video streams: the one that players show (FFmpeg's av_find_best_stream), never a cover."""

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from make_fixtures import FIXTURES, copy_packets, encode_numbers, paint, read_number, still_first
from reader import packets
from reader.decode import read_frames

Disposition = av.stream.Disposition


def no_default(path: Path) -> None:
    """Write a thumbnail and the video to Matroska, neither marked as the default."""
    with av.open(str(FIXTURES / "h264.mp4")) as source:
        options = {"default_mode": "passthrough"}
        with av.open(str(path), "w", container_options=options) as out:
            still = out.add_stream("mjpeg", rate=1)
            still.width, still.height, still.pix_fmt = 32, 24, "yuvj420p"
            video = out.add_stream_from_template(source.streams.video[0])
            still.disposition = video.disposition = Disposition(0)
            out.mux(still.encode(av.VideoFrame.from_ndarray(paint(200, 32, 24), format="rgb24")))
            copy_packets(source, out, video)


def empty_first(path: Path) -> None:
    """Write Windows Media whose first video stream has no packets."""
    with av.open(str(path), "w", format="asf") as out:
        empty = out.add_stream("msmpeg4", rate=1)
        empty.width, empty.height, empty.pix_fmt = 32, 24, "yuv420p"
        video = out.add_stream("wmv2", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        encode_numbers(out, video)


def second_is_default(path: Path) -> None:
    """Write two whole videos, of which the second is the default."""
    with (
        av.open(str(FIXTURES / "large.ts")) as first,
        av.open(str(FIXTURES / "h264.mp4")) as second,
        av.open(str(path), "w", container_options={"default_mode": "passthrough"}) as out,
    ):
        streams = [out.add_stream_from_template(source.streams.video[0]) for source in (first, second)]
        streams[0].disposition, streams[1].disposition = Disposition(0), Disposition.default
        for source, stream in zip((first, second), streams):
            copy_packets(source, out, stream)


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
    """In AVIF, FFmpeg lists the first picture as the first stream, and the track of all pictures as the second."""
    path = tmp_path / "animated.avif"
    with av.open(str(path), "w", format="avif") as out:
        stream = out.add_stream("libsvtav1", rate=5, options={"crf": "45", "preset": "8"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        encode_numbers(out, stream, range(5), rate=5)
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
