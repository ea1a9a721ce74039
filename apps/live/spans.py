"""Cut a running stream into windows: choose the frames of each, and find out when it is complete."""

import heapq
from collections.abc import Callable, Iterator
from typing import NamedTuple

import av
import numpy as np

from reader.clip import ClipSpec
from reader.windows import moments

# A frame's time may be this many seconds before or after the previous one's; otherwise it is another recording.
MOST_BACK, MOST_AHEAD = 0.5, 10.0


class Span(NamedTuple):
    """A window with all its frames."""

    start: float  # seconds of stream
    end: float
    clip: np.ndarray  # uint8 [V * T, H, W, C]


class Spans:
    """Windows of `window` seconds, one every `stride` seconds. Only the frames that a window uses are converted."""

    def __init__(
        self, spec: ClipSpec, window: float, stride: float, rate: float, convert: Callable[[av.VideoFrame], np.ndarray]
    ):
        """convert: makes crops uint8 [V, H, W, C] from a frame. rate: frames a second."""
        self._spec, self._window, self._stride, self._rate, self._convert = spec, window, stride, rate, convert
        self.time = -1 / rate  # the latest frame's time, in seconds of stream
        self._shift = 0.0  # added to a frame's time, it gives seconds of stream
        self._begin(0.0)

    def _begin(self, time: float) -> None:
        self._base, self._number = time, 0  # the start of the windows, and how many have begun
        self._asked: list[tuple[float, int, int]] = []  # (moment, window, segment)
        self._open: dict[int, dict[int, np.ndarray]] = {}  # window -> segment -> crops
        self._previous: av.VideoFrame | None = None

    def add(self, frame: av.VideoFrame, time: float | None) -> Iterator[Span]:
        """Yield the windows that this frame ends. time: in seconds; None: directly after the previous frame."""
        follows = self.time + 1 / self._rate
        time = follows if time is None else time + self._shift
        if not -MOST_BACK <= time - self.time <= MOST_AHEAD:  # the clock was set, or it is another recording
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
        """Yield the window that ends with the latest frame, which is shown for as long as any other."""
        self.time += 1 / self._rate
        yield from self._complete()

    def _complete(self) -> Iterator[Span]:
        """Give the previous frame, shown until now, to the windows that use it. Yield complete windows."""
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
