"""When the pictures of a video are shown: by the times of its container, else counted as FFmpeg counts them."""

from bisect import bisect_left

import av
import numpy as np

from reader.integrity import VideoError
from reader.packets import Packets, all_packets, open_with_times, say_once, video_stream

# Frames a second of a video that does not say.
_RATE = 25
# Of streams without a container FFmpeg's own rate is its guess before it has read any header.
_RAW = {"h264", "hevc", "mpegvideo", "m4v"}


def frame_rate(path: str, container: av.container.InputContainer, stream: av.VideoStream) -> float:
    """Return the frames a second by what the file says; where nothing does, say once what is assumed."""
    by_codec = stream.codec_context.framerate
    rate = by_codec if container.format.name in _RAW else stream.average_rate or by_codec or stream.guessed_rate
    if not rate:
        say_once(path, f"{path}: says nothing about when its frames are shown; {_RATE} a second are assumed")
    return float(rate or _RATE)


class Clock:
    """When the frames of a video are shown, in seconds from the first one.

    timed: whether frames have times of their own; else they are counted: program streams have few, AVI has none, joined
    recordings have several of one time. first: the first frame's, in units of `base` seconds. rate: frames a second on
    average.
    """

    def __init__(self, packets: Packets, container: av.container.InputContainer, stream: av.VideoStream):
        """Raise VideoError for a video without frames."""
        times = [packets.times[position] for position in packets.shown]
        if not times:
            raise VideoError(packets.path, "no frame could be decoded")
        self.base = float(stream.time_base or 0)
        self.timed = _are_times(times) and not packets.joined and self.base > 0
        self._ticks: list[int] = []  # of the frames in the order of time, where they do not have their own
        self._place, self._asked, end = 0, False, packets.end
        if not self.timed and not packets.joined and self.base > 0:
            self._ticks, end = _made_up(packets)
        times = sorted(self._ticks or times) if self._ticks or self.timed else []
        self.first = times[0] if times else 0
        if len(times) > 1:
            interval = (times[-1] - self.first) * self.base / (len(times) - 1)
            # The last one is shown as long as the container says, else as long as is usual.
            end = end or times[-1] + float(np.median(np.diff(times)))
        else:
            interval = 1 / frame_rate(packets.path, container, stream)
        self.duration = (end - self.first) * self.base if times and end else len(packets.shown) * interval
        self.rate, self._interval = 1 / interval, interval
        self._last = -interval  # of the frame that was asked for last

    def shown(self, packets: Packets) -> np.ndarray:
        """Return float64 [N]: of frames that are certain."""
        return (np.array([packets.times[p] for p in packets.shown], np.int64) - self.first) * self.base

    def distrust(self, packets: Packets) -> None:
        """Take the times of packets for right, but not which frames they belong to.

        Such are those of a muxer that was never told about reordering. In broadcasts the two fields of a frame can be
        two packets, and its time is right.
        """
        if not packets.broadcast:
            self._ticks = [packets.times[position] for position in packets.shown]

    def next(self, frame: av.VideoFrame) -> float:
        """Return the time of the frame behind the one that was asked for last; it never goes back."""
        tick = None
        if self._ticks:
            if not self.timed and frame.pts is not None:  # one of the few: those before it may not have been decodable
                self._place = max(self._place, bisect_left(self._ticks, frame.pts))
            tick = self._ticks[self._place] if self._place < len(self._ticks) else None
            self._place += 1
        elif self.timed:
            tick = frame.pts
        if tick is not None and not self._asked:
            self.first = tick  # those before it may not have been decodable
        self._asked = True
        time = self._last + self._interval if tick is None else (tick - self.first) * self.base
        self._last = max(self._last, time, 0)
        return self._last


def _are_times(times: list[int | None]) -> bool:
    return None not in times and len(set(times)) == len(times)


def _made_up(packets: Packets) -> tuple[list[int], int | None]:
    """Return the times of the frames, ascending, and the end of the last one, by what FFmpeg makes of the container.

    The times are [] where that is nothing. Of AVI they are the numbers of its chunks, empty ones too, in each of which
    a frame could be. Else they follow from those that are there and how long each picture is to stay, as some of a film
    do for three fields of video.
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
    if stream.codec_context.framerate and all(lengths):  # else they are no lengths of this stream
        return [0, *np.cumsum(lengths[:-1]).tolist()], sum(lengths)
    return [], None
