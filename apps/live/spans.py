"""The windows of a stream while it runs: which frame each needs, and when one has all of them."""

import heapq
from collections.abc import Callable, Iterator
from typing import NamedTuple

import av
import numpy as np

from reader.clip import ClipSpec
from reader.windows import moments

# Seconds by which the time of a frame may lie behind that of the one before, or ahead of it: more is another recording.
MOST_BACK, MOST_AHEAD = 0.5, 10.0


class Span(NamedTuple):
    """A window whose frames are all there."""

    start: float  # seconds of stream
    end: float
    clip: np.ndarray  # uint8 [V * T, H, W, C]


class Spans:
    """Windows of `window` seconds, one every `stride`; of the frames only those that one needs are converted."""

    def __init__(
        self, spec: ClipSpec, window: float, stride: float, rate: float, convert: Callable[[av.VideoFrame], np.ndarray]
    ):
        """convert: makes crops uint8 [V, H, W, C] of a frame. rate: frames a second."""
        self._spec, self._window, self._stride, self._rate, self._convert = spec, window, stride, rate, convert
        self.time = -1 / rate  # of the latest frame, in seconds of stream
        self._shift = 0.0  # from the times of frames to seconds of stream
        self._begin(0.0)

    def _begin(self, time: float) -> None:
        self._base, self._number = time, 0  # of the windows: where they begin, and how many have begun
        self._asked: list[tuple[float, int, int]] = []  # (moment, window, segment)
        self._open: dict[int, dict[int, np.ndarray]] = {}  # window -> segment -> crops
        self._previous: av.VideoFrame | None = None

    def add(self, frame: av.VideoFrame, time: float | None) -> Iterator[Span]:
        """Give the windows that this frame ends. time: in seconds; None: right behind the frame before."""
        follows = self.time + 1 / self._rate
        time = follows if time is None else time + self._shift
        if not -MOST_BACK <= time - self.time <= MOST_AHEAD:  # a clock that was set, or another recording
            self._shift += follows - time
            time = follows
            self._begin(time)
        self.time = max(time, self.time)
        yield from self._complete()
        while (start := self._base + self._number * self._stride) <= self.time:
            for segment, moment in enumerate(moments(start, start + self._window, self._rate, self._spec)):
                heapq.heappush(self._asked, (moment, self._number, segment))
            self._open[self._number] = {}
            self._number += 1
        self._previous = frame

    def end(self) -> Iterator[Span]:
        """Give the window that ends with the latest frame, which is shown for as long as any other."""
        self.time += 1 / self._rate
        yield from self._complete()

    def _complete(self) -> Iterator[Span]:
        """Hand the frame before, which was shown until now, to those that need it; give what is whole."""
        crops = None
        while self._asked and self._asked[0][0] < self.time:
            _, number, segment = heapq.heappop(self._asked)
            if crops is None:
                crops = self._convert(self._previous)
            self._open[number][segment] = crops
        for number in list(self._open):
            start = self._base + number * self._stride
            if start + self._window > self.time + 0.5 / self._rate:
                break
            frames = self._open.pop(number)
            views = np.stack([frames[segment] for segment in range(len(frames))], axis=1)  # [V, T, H, W, C]
            yield Span(start, start + self._window, views.reshape(-1, *views.shape[2:]))
