"""How long a video is, by the times of its compressed frames; what its header says need not be true."""

import av

from reader.clock import frame_rate
from reader.integrity import VideoError
from reader.packets import MAX_PACKETS, open_video, video_stream


def check_length(path: str, max_seconds: float) -> None:
    """Raise VideoError for a video that lasts longer; nothing is decoded, and what comes behind the limit not read.

    Damage is left to be found by whoever reads the frames.
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
