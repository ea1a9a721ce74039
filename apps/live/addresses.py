"""Check --source, a camera, an address or a file, and open it with FFmpeg.

Only the command line names addresses. Playlists are refused, so a stream cannot make it open another address.
"""

import os
import re

import av

from reader.packets import FORMATS, MAX_PIXELS, WITH_HEADER, open_video, video_stream
from utils.config.strict_yaml import one_line
from utils.errors import InputError

# Seconds without a sign of life, for an address that is being opened or is open.
SILENCE = 10.0
# The protocols that FFmpeg may use for an address, by its scheme: never a file of this machine.
_PROTOCOLS = {
    "rtsp": "rtsp,rtp,udp,tcp,tls",
    "rtsps": "rtsp,rtp,udp,tcp,tls",
    "http": "http,https,httpproxy,tcp,tls",
    "https": "http,https,httpproxy,tcp,tls",
    "udp": "udp",
}
# The formats besides those of files; web cameras send mpjpeg. Playlists (hls, dash) are not among them.
_FORMATS = f"{FORMATS},rtsp,rtp,sdp,mjpeg,mpjpeg"
_OPTIONS = {
    "format_whitelist": _FORMATS,
    # Find out about the packets within a second.
    "analyzeduration": "1000000",
    # TCP, because UDP's losses look like damage. A burst of UDP that is read too late is lost without an error.
    "rtsp_transport": "tcp",
    "overrun_nonfatal": "1",
    "fifo_size": "65536",  # packets of 188 bytes: 12 MB
}
_EXPECTED = "a camera's number, /dev/videoN, rtsp://, http://, https:// or udp://, or a video file"


def check_source(source: str | None) -> None:
    """Raise InputError if --source cannot be valid. Opening it later shows whether anything is there."""
    if not source:
        raise InputError(f"--source is missing: expected {_EXPECTED}")
    scheme = _scheme(source)
    if scheme and scheme not in _PROTOCOLS:
        raise InputError(f"--source={one_line(shown(source))}: {scheme}:// cannot be read: expected {_EXPECTED}")
    path = _camera(source) or source
    if not scheme and not os.path.exists(path):
        what = "no such camera" if _camera(source) else f"no such file: expected {_EXPECTED}"
        raise InputError(f"--source={one_line(source)}: {what}")


def shown(source: str) -> str:
    """Return the source without its user name and password."""
    return re.sub(r"(?<=://)[^/?#]*@", "***@", source)


def open_source(source: str) -> tuple[av.container.InputContainer, av.VideoStream, bool]:
    """Return the opened source, its video stream, and whether it waits for its reader, as a file does.

    Raises VideoError or av.FFmpegError.
    """
    if not _scheme(source) and not _camera(source):
        container = open_video(source)
        return container, video_stream(source, container), True
    camera, scheme = _camera(source), _scheme(source)
    how = {"format": "v4l2"} if camera else {"format": "mpegts"} if scheme == "udp" else {}
    options = {"protocol_whitelist": _PROTOCOLS[scheme]} | _OPTIONS if scheme else {}
    container = av.open(
        camera or source,
        options={"max_pixels": str(MAX_PIXELS)},
        container_options=options,
        metadata_errors="replace",
        timeout=(SILENCE, SILENCE),
        **how,
    )
    waits = container.format.name in WITH_HEADER and bool(container.duration)  # the address leads to a file
    return container, video_stream(shown(source), container), waits


def _scheme(source: str) -> str:
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", source)
    return found[1].lower() if found else ""


def _camera(source: str) -> str | None:
    """Return the device of a camera, or None for other sources."""
    if re.fullmatch(r"\d{1,3}", source):
        return f"/dev/video{source}"
    return source if re.fullmatch(r"/dev/video\d+", source) else None
