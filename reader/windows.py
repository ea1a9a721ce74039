"""A long video cut into windows of time, and the frames that they need: each decoded once, in one go forward."""

from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import av
import numpy as np

from reader import sparse
from reader.dataset import ClipSpec, arranged, cropped
from reader.integrity import VideoError
from reader.packets import Packets, open_video, read_packets, video_stream
from reader.sampling import segment_indices

MOST_WINDOWS = 100_000
# Frames a second of a video that does not say.
_RATE = 25
# Crops that are handed over at a time: as many as the network computes in one call (inference/engine.py).
_CROPS_AT_ONCE = 8


class Windows(NamedTuple):
    """The windows of a video: what a stream of their frames begins with, and begins anew with where it must."""

    spans: list[tuple[float, float]]  # (start, end) in seconds from the first frame


class Frames(NamedTuple):
    """Some frames in the order of time."""

    crops: np.ndarray  # uint8 [B, V, H, W, 3]
    uses: list[list[tuple[int, int]]]  # of each frame, the (window, segment) pairs it serves


def window_spans(duration: float, window: float, stride: float, slack: float = 0.0) -> list[tuple[float, float]]:
    """(start, end) of each window in seconds: they start every `stride`, until one reaches the end of the video.

    The last one is as long as what is left. Were that shorter than half of `window`, there is none of its own: the
    window before reaches to the end, unless `stride` leaves a gap between them. The first one is always there.

    slack: what may be left over at the end, the length of a frame.
    """
    spans = [(0.0, min(window, duration))]
    while spans[-1][1] < duration - slack:
        start = len(spans) * stride
        if start + window / 2 > duration:
            break
        spans.append((start, min(start + window, duration)))
    start, end = spans[-1]
    if stride <= window or end >= duration - slack:
        spans[-1] = (start, duration)
    return spans


def moments(start: float, end: float, rate: float, spec: ClipSpec) -> list[float]:
    """The time in seconds of each segment's frame: as the protocol chooses it of as many frames as the span has.

    rate: frames a second on average. Each is the middle of the time in which a frame of constant rate is shown.
    """
    number = max(1, round((end - start) * rate))
    indices = segment_indices(number, spec.num_segments, frame_format=spec.frame_format, sampling=spec.sampling)
    return [start + (i + 0.5) * (end - start) / number for i in indices]


def stream_windows(path: str, spec: ClipSpec, window: float, stride: float) -> Iterator[Windows | Frames | None]:
    """The windows, then the frames that they need, some at a time; None now and then in between.

    Where the container proves wrong about its frames, all begins anew. Raises VideoError.
    """
    with open_video(path) as container:
        stream = video_stream(path, container)
        packets = read_packets(path, container, stream, kept_bytes=0)
        clock = Clock(packets, stream)
        if clock.duration / stride > MOST_WINDOWS:
            raise VideoError(
                path, f"a window every {stride:g} s makes more than {MOST_WINDOWS} of its {clock.duration:g} s"
            )
        windows = Windows(window_spans(clock.duration, window, stride, 1 / clock.rate))
        asked = sorted(
            (moment, place, segment)
            for place, span in enumerate(windows.spans)
            for segment, moment in enumerate(moments(*span, clock.rate, spec))
        )
        one = replace(spec, num_segments=1)
        convert = sparse.converter(path, lambda frame: arranged(cropped(frame, one)[None], one))  # [V, H, W, 3]
        context = stream.codec_context
        yield windows
        if packets.exact:
            try:
                yield from _gathered(_sparse(context, packets, clock, asked), convert)
                return
            except sparse.Untrue:
                clock.distrust(packets)
                packets.exact = False
                context.flush_buffers()
                context.skip_frame = "DEFAULT"
                yield windows
        yield from _gathered(_all(context, packets, clock, asked, windows), convert)


class Clock:
    """When the frames of a video are shown, in seconds from the first one."""

    def __init__(self, packets: Packets, stream: av.VideoStream):
        times = [packets.times[position] for position in packets.shown]
        if not times:
            raise VideoError(packets.path, "no frame could be decoded")
        self.base = float(stream.time_base or 0)
        # Else frames are counted: those of AVI have no times, joined recordings have several of one time.
        self.timed = None not in times and not packets.joined and len(set(times)) == len(times) and self.base > 0
        nominal = float(stream.average_rate or stream.guessed_rate or _RATE)
        self.first, self._interval, self._last = 0, 1 / nominal, -1 / nominal
        self.duration = len(times) / nominal
        if self.timed and len(times) > 1:
            self.first = min(times)
            length = (max(times) - self.first) * self.base
            self._interval = length / (len(times) - 1)
            self.duration = length + self._interval
        elif self.timed:
            self.first = times[0]
        self.rate = 1 / self._interval
        self._sorted: Iterator[float] = iter(())

    def shown(self, packets: Packets) -> np.ndarray:
        """float64 [N]: of frames that are certain."""
        return (np.array([packets.times[p] for p in packets.shown], np.int64) - self.first) * self.base

    def distrust(self, packets: Packets) -> None:
        """Takes the times of packets for right, but not which frames they belong to: those of a muxer that was never
        told about reordering. In broadcasts the two fields of a frame can be two packets, and its time is right."""
        if not packets.broadcast:
            self._sorted = iter(self.shown(packets))

    def next(self, frame: av.VideoFrame) -> float:
        """The time of the frame behind the one that was asked for last; it never goes back."""
        time = next(self._sorted, None)
        if time is None and self.timed and frame.pts is not None:
            if self._last < 0:
                self.first = frame.pts  # those before it may not have been decodable
            time = (frame.pts - self.first) * self.base
        self._last = self._last + self._interval if time is None else max(self._last, time, 0)
        return self._last


Asked = list[tuple[float, int, int]]  # (moment, window, segment), ascending
Uses = list[tuple[int, int]]


def _sparse(
    context: av.VideoCodecContext, packets: Packets, clock: Clock, asked: Asked
) -> Iterator[tuple[Uses, av.VideoFrame]]:
    """(uses, frame) of all frames that are decoded, with no more of the file than it takes."""
    shown = clock.shown(packets)
    uses: dict[int, Uses] = defaultdict(list)
    for moment, *use in asked:
        uses[max(0, int(np.searchsorted(shown, moment, "right")) - 1)].append(tuple(use))
    for number, frame in sparse.frames_for(context, packets, uses.keys()):
        yield ([] if number is None else uses[number]), frame


def _all(
    context: av.VideoCodecContext, packets: Packets, clock: Clock, asked: Asked, windows: Windows
) -> Iterator[tuple[Uses, av.VideoFrame]]:
    """(uses, frame) of all frames: that one was shown at a moment is known when the next one is decoded."""
    waiting = deque(asked)
    previous = None
    for frame in sparse.all_frames(context, packets):
        time = clock.next(frame)
        if previous is not None:
            uses = []
            while waiting and waiting[0][0] < time:
                uses.append(waiting.popleft()[1:])
            yield uses, previous
        previous = frame
    if previous is None:
        raise VideoError(packets.path, "no frame could be decoded")
    # Windows that begin behind the last frame are those of a container that promised more.
    yield [use for _, *use in waiting if windows.spans[use[0]][0] <= time], previous


def _gathered(found: Iterator[tuple[Uses, av.VideoFrame]], convert: sparse.Convert) -> Iterator[Frames | None]:
    """The frames that have uses, converted, some at a time; None for each of the others."""
    crops, uses = [], []
    for using, frame in found:
        if not using:
            yield None
            continue
        crops.append(convert(frame))
        uses.append(using)
        if len(crops) * len(crops[0]) >= _CROPS_AT_ONCE:
            yield Frames(np.stack(crops), uses)
            crops, uses = [], []
    if crops:
        yield Frames(np.stack(crops), uses)
