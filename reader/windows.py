"""The windows of a long video, and the frames that they need: each frame is decoded once, in one pass forward."""

from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

from reader import sparse
from reader.clock import Clock
from reader.dataset import ClipSpec, arranged, chosen_frames, read_clip
from reader.integrity import VideoError
from reader.packets import Packets, open_video, read_packets, video_stream
from reader.transforms import crop_frame

MOST_WINDOWS = 100_000
# Crops handed over at a time: as many as the network computes in one call (inference/engine.py).
_CROPS_AT_ONCE = 8


# (start, end) of each window in seconds from the first frame. A stream begins with these, and so does each new start.
WindowSpans = list[tuple[float, float]]


class Frames(NamedTuple):
    """Some frames in order of time."""

    crops: np.ndarray  # uint8 [B, V, H, W, 3]
    uses: list[list[tuple[int, int]]]  # for each frame, the (window, segment) pairs that it serves


def window_spans(duration: float, window: float, stride: float, slack: float = 0.0) -> WindowSpans:
    """Return (start, end) of each window in seconds: one starts every `stride`, until one reaches the video's end.

    The last window gets the rest of the video. If the rest is shorter than half of `window`, it gets no window of its
    own: the window before it extends to the end, unless `stride` leaves a gap between them. There is always a first
    window.

    slack: the seconds that may be left over at the end, one frame.
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
    """Return the time in seconds of each segment's frame, as the protocol chooses it among the frames of the span.

    rate: frames a second on average. Each time is the middle of a frame's display time at that constant rate.
    """
    number = max(1, round((end - start) * rate))
    return [start + (i + 0.5) * (end - start) / number for i in chosen_frames(number, spec)]


def stream_windows(path: str, spec: ClipSpec, window: float, stride: float) -> Iterator[WindowSpans | Frames | None]:
    """Yield the windows, then the frames that they need, some at a time, with None now and then as a sign of life.

    If the container proves wrong about its frames, everything starts again, with the windows. Raises VideoError.
    """
    with open_video(path) as container:
        stream = video_stream(path, container)
        packets = read_packets(path, container, stream, kept_bytes=0)
        clock = Clock(packets, container, stream)
        if clock.duration / stride > MOST_WINDOWS:
            raise VideoError(
                path, f"a window every {stride:g} s makes more than {MOST_WINDOWS} of its {clock.duration:g} s"
            )
        spans = window_spans(clock.duration, window, stride, 1 / clock.rate)
        asked = sorted(
            (moment, place, segment)
            for place, span in enumerate(spans)
            for segment, moment in enumerate(moments(*span, clock.rate, spec))
        )
        one = replace(spec, num_segments=1)
        convert = sparse.converter(path, lambda frame: arranged(crop_frame(frame, one)[None], one))  # [V, H, W, 3]
        context = stream.codec_context
        yield spans
        if packets.exact:
            try:
                yield from _gathered(_sparse(context, packets, clock, asked), convert)
                return
            except sparse.Untrue:
                clock.distrust(packets)
                packets.exact = False
                yield spans
        yield from _gathered(_all(packets, clock, asked, spans), convert)


def stream_clip(path: str, spec: ClipSpec, folder: Path, frames: int | None = None) -> Iterator[np.ndarray]:
    """Yield the clip of the whole video, see `read_clip`. Raises VideoError."""
    yield read_clip(spec, path, folder=folder, frames=frames)[0]


Asked = list[tuple[float, int, int]]  # (moment, window, segment), ascending
Uses = list[tuple[int, int]]


def _sparse(
    context: av.VideoCodecContext, packets: Packets, clock: Clock, asked: Asked
) -> Iterator[tuple[Uses, av.VideoFrame]]:
    """Yield (uses, frame) for all decoded frames; only the necessary parts of the file are decoded."""
    shown = clock.shown(packets)
    uses: dict[int, Uses] = defaultdict(list)
    for moment, *use in asked:
        uses[max(0, int(np.searchsorted(shown, moment, "right")) - 1)].append(tuple(use))
    for number, frame in sparse.frames_for(context, packets, uses.keys()):
        yield ([] if number is None else uses[number]), frame


def _all(packets: Packets, clock: Clock, asked: Asked, spans: WindowSpans) -> Iterator[tuple[Uses, av.VideoFrame]]:
    """Yield (uses, frame) for all frames. How long a frame is shown is known once the next one is decoded."""
    waiting = deque(asked)
    previous = None
    for frame in sparse.all_frames(packets):
        time = clock.next(frame)
        if previous is not None:
            uses = []
            while waiting and waiting[0][0] < time:
                uses.append(waiting.popleft()[1:])
            yield uses, previous
        previous = frame
    if previous is None:
        raise VideoError(packets.path, "no frame could be decoded")
    # If windows begin after the last frame, the container promised more than it holds: they get no frame.
    yield [use for _, *use in waiting if spans[use[0]][0] <= time], previous


def _gathered(found: Iterator[tuple[Uses, av.VideoFrame]], convert: sparse.Convert) -> Iterator[Frames | None]:
    """Yield the frames that have uses, converted, some at a time, and None for each other frame."""
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
