"""The length of a video, from the times of its packets, because its header may be wrong."""

import av

from reader.clock import frame_rate
from reader.integrity import VideoError
from reader.packets import MAX_PACKETS, open_video, video_stream


def check_length(path: str, max_seconds: float) -> None:
    """Raise VideoError if the video lasts longer than `max_seconds`.

    Nothing is decoded, and nothing after the limit is read. Damage is not reported here but when frames are read.
    """
    with open_video(path) as container:
        stream = video_stream(path, container)
        first, last, number, untimed = None, None, 0, 0
        try:
            for packet in container.demux(stream):
                if packet.size:
                    number += 1
                    if (time := packet.pts if packet.pts is not None else packet.dts) is not None:
                        first = time if first is None else min(first, time)
                        last = max(last or time, time + (packet.duration or 0))
                    else:
                        untimed += 1
                    known = first is not None and number <= MAX_PACKETS
                    seconds = float((last - first) * stream.time_base) if known else 0
                    if untimed or not known:
                        seconds = max(seconds, number / frame_rate(path, container, stream))
                    if seconds > max_seconds:
                        raise VideoError(path, f"it lasts longer than {max_seconds:g} s")
        except av.FFmpegError:
            return
