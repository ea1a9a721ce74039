"""What the other decoders are given of a video: a copy of the checked stream, as they would read a file in their way.

Each guesses the format of a file by itself, and a file that is H.264 to one parser can be a playlist to the next, which
shows frames of another file of the machine.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import av

from reader.integrity import VideoError
from reader.packets import all_packets, open_video, open_with_times, read_packets, video_stream
from utils.storage.copies import claimed_folder

# The container of the copy by that of the file: the same where its beginning gives it away beyond doubt.
_CONTAINERS = {
    "mov,mp4,m4a,3gp,3g2,mj2": "mov", "matroska,webm": "matroska", "avi": "avi", "mpegts": "mpegts", "flv": "flv",
    "asf": "asf", "ogg": "ogg", "ivf": "ivf", "gif": "gif", "mxf": "mxf", "mpeg": "mpeg",
}  # fmt: skip
_ANY = "avi"  # which needs no times


@contextlib.contextmanager
def checked_copy(path: str, folder: Path | None = None) -> Iterator[tuple[str, int]]:
    """Open a context with the path of the copy, and how many frames the container promises.

    folder: made for the copy and gone with it, or there already; None: any.

    Raises VideoError for a video that cannot be used or cannot be copied.
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
            # Matroska has no decoding times, and those that FFmpeg makes up need not rise.
            decoded_at = _decoding_times(path) if kind == "matroska" else {}
            with av.open(f"file:{target}", "w", format=kind) as out:
                new = out.add_stream_from_template(stream)
                for number, packet in enumerate(all_packets(source, stream)):
                    packet.dts = decoded_at.get(number, packet.dts)
                    if packet.dts is None and kind == _ANY:
                        packet.dts = number
                    packet.stream = new
                    out.mux(packet)
    except (av.FFmpegError, ValueError) as error:  # ValueError: PyAV knows no such stream
        raise VideoError(path, f"its stream cannot be copied for another decoder: {error}") from error


def _decoding_times(path: str) -> dict[int, int]:
    """Return when each packet is decoded, none later than it is shown; nothing where times are missing."""
    with open_with_times(path) as source:
        times = [packet.pts for packet in all_packets(source, video_stream(path, source))]
    if None in times:
        return {}
    ascending = sorted(times)
    delay = max((late - shown for late, shown in zip(ascending, times)), default=0)
    return {number: time - delay for number, time in enumerate(ascending)}
