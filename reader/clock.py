"""The times at which a video's frames are shown: the container's, else counted as FFmpeg counts them."""

from bisect import bisect_left

import av
import numpy as np

from reader.integrity import VideoError
from reader.packets import Packets, all_packets, open_with_times, say_once, video_stream

# Frames a second, if a video does not say.
_RATE = 25
# For streams without a container, FFmpeg's own rate is a guess that it makes before it has read any header.
_RAW = {"h264", "hevc", "mpegvideo", "m4v"}


def frame_rate(path: str, container: av.container.InputContainer, stream: av.VideoStream) -> float:
    """Return the frames a second that the file states; if it states none, assume _RATE and say so once."""
    by_codec = stream.codec_context.framerate
    rate = by_codec if container.format.name in _RAW else stream.average_rate or by_codec or stream.guessed_rate
    if not rate:
        say_once(path, f"{path}: states neither times nor a rate of its frames: {_RATE} a second are assumed")
    return float(rate or _RATE)


class Clock:
    """The times at which a video's frames are shown, in seconds from the first frame.

    timed: whether frames have times of their own; if not, frames are counted. Program streams have few times, AVI has
    none, joined recordings repeat times. first: the first frame's time, in units of `base` seconds. rate: frames a
    second on average.
    """

    def __init__(self, packets: Packets, container: av.container.InputContainer, stream: av.VideoStream):
        """Raise VideoError for a video without frames."""
        times = [packets.times[position] for position in packets.shown]
        if not times:
            raise VideoError(packets.path, "no frame could be decoded")
        self.base = float(stream.time_base or 0)
        self.timed = _are_times(times) and not packets.joined and self.base > 0
        self._ticks: list[int] = []  # times of the frames, ascending, if the frames have none of their own
        self._place, self._asked, end = 0, False, packets.end
        if not self.timed and not packets.joined and self.base > 0:
            self._ticks, end = _made_up(packets)
        times = sorted(self._ticks or times) if self._ticks or self.timed else []
        self.first = times[0] if times else 0
        if len(times) > 1:
            interval = (times[-1] - self.first) * self.base / (len(times) - 1)
            # The last frame is shown as long as the container says, else as long as the median frame.
            end = end or times[-1] + float(np.median(np.diff(times)))
        else:
            interval = 1 / frame_rate(packets.path, container, stream)
        self.duration = (end - self.first) * self.base if times and end else len(packets.shown) * interval
        self.rate, self._interval = 1 / interval, interval
        self._last = -interval  # the time that `next` returned last

    def shown(self, packets: Packets) -> np.ndarray:
        """Return the times float64 [N] of all frames, in seconds; `packets` must be exact."""
        return (np.array([packets.times[p] for p in packets.shown], np.int64) - self.first) * self.base

    def distrust(self, packets: Packets) -> None:
        """Keep the packets' times, but no longer trust which frame each belongs to.

        A muxer that did not know of reordering leaves such times. In broadcasts nothing changes: there the two fields
        of a frame can be two packets, and the frame's time is right.
        """
        if not packets.broadcast:
            self._ticks = [packets.times[position] for position in packets.shown]

    def next(self, frame: av.VideoFrame) -> float:
        """Return the time of the next frame, in seconds; it never decreases."""
        tick = None
        if self._ticks:
            if not self.timed and frame.pts is not None:  # frames before this one may not have been decodable
                self._place = max(self._place, bisect_left(self._ticks, frame.pts))
            tick = self._ticks[self._place] if self._place < len(self._ticks) else None
            self._place += 1
        elif self.timed:
            tick = frame.pts
        if tick is not None and not self._asked:
            self.first = tick  # frames before this one may not have been decodable
        self._asked = True
        time = self._last + self._interval if tick is None else (tick - self.first) * self.base
        self._last = max(self._last, time, 0)
        return self._last


def _are_times(times: list[int | None]) -> bool:
    return None not in times and len(set(times)) == len(times)


def _made_up(packets: Packets) -> tuple[list[int], int | None]:
    """Return the frames' times, ascending, and the last frame's end, as FFmpeg derives them from the container.

    The times are [] if FFmpeg finds none. For AVI they are the numbers of its chunks, including empty ones: each chunk
    could hold a frame. Otherwise they follow from the times that exist and from how long each frame stays; in film on
    video some frames stay for three fields.
    """
    with open_with_times(packets.path) as container:
        stream = video_stream(packets.path, container)
        found = [(p.pts, p.dts, p.duration or 0) for p in all_packets(container, stream)][packets.skipped :]
        chunks = container.format.name == "avi"
    found = [found[position] for position in packets.shown if position < len(found)]
    shown, decoded, lengths = zip(*found) if found else ((), (), ())
    for times in (decoded,) if chunks else (shown, decoded):
        if _are_times(times):
            ordered = sorted(zip(times, lengths))
            return [time for time, _ in ordered], sum(ordered[-1]) if ordered[-1][1] else None
    if stream.codec_context.framerate and all(lengths):  # else the lengths are not this stream's
        return [0, *np.cumsum(lengths[:-1]).tolist()], sum(lengths)
    return [], None
