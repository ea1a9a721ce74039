"""The copy of the checked stream that the other decoders get in place of the video file.

Each decoder guesses the format by itself, and a file that is H.264 to one parser can be a playlist to the next, which
then shows frames of another file on the machine.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import av

from reader.integrity import VideoError
from reader.packets import all_packets, open_video, open_with_times, read_packets, video_stream
from utils.storage.copies import claimed_folder

# File's container -> copy's container: the same if its first bytes identify it beyond doubt.
_CONTAINERS = {
    "mov,mp4,m4a,3gp,3g2,mj2": "mov", "matroska,webm": "matroska", "avi": "avi", "mpegts": "mpegts", "flv": "flv",
    "asf": "asf", "ogg": "ogg", "ivf": "ivf", "gif": "gif", "mxf": "mxf", "mpeg": "mpeg",
}  # fmt: skip
_ANY = "avi"  # needs no timestamps


@contextlib.contextmanager
def checked_copy(path: str, folder: Path | None = None) -> Iterator[tuple[str, int]]:
    """Open a context with the path of the copy and the number of frames that the container promises.

    folder: holds the copy; unless it exists already, it is made and removed with the copy. None: a temporary one.

    Raises VideoError for a video that cannot be used or copied.
    """
    with open_video(path) as container:
        promised = len(read_packets(path, container, video_stream(path, container), kept_bytes=0).shown)
    if promised == 0:
        raise VideoError(path, "no frame could be decoded")
    there = folder is not None and folder.exists()
    with contextlib.nullcontext(folder) if there else claimed_folder(folder) as made:
        copy = made / "checked"
        try:
            _copy(path, str(copy))
            yield str(copy), promised
        finally:
            copy.unlink(missing_ok=True)


def _copy(path: str, target: str) -> None:
    try:
        with open_with_times(path) as source:
            stream = video_stream(path, source)
            kind = _CONTAINERS.get(source.format.name, _ANY)
            # Matroska has no decoding times, and those that FFmpeg invents may decrease.
            decoded_at = _decoding_times(path) if kind == "matroska" else {}
            with av.open(f"file:{target}", "w", format=kind) as out:
                new = out.add_stream_from_template(stream)
                for number, packet in enumerate(all_packets(source, stream)):
                    packet.dts = decoded_at.get(number, packet.dts)
                    if packet.dts is None and kind == _ANY:
                        packet.dts = number
                    packet.stream = new
                    out.mux(packet)
    except (av.FFmpegError, ValueError) as error:  # ValueError: PyAV does not know this kind of stream
        raise VideoError(path, f"its stream cannot be copied for another decoder: {error}") from error


def _decoding_times(path: str) -> dict[int, int]:
    """Return each packet's decoding time, never later than its presentation time; {} if any time is missing."""
    with open_with_times(path) as source:
        times = [packet.pts for packet in all_packets(source, video_stream(path, source))]
    if None in times:
        return {}
    ascending = sorted(times)
    delay = max((late - shown for late, shown in zip(ascending, times)), default=0)
    return {number: time - delay for number, time in enumerate(ascending)}
