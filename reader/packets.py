"""The compressed side of a video file: opening it as a plain file, its packets, their display order, and where to begin."""

import os
from bisect import bisect_right
from dataclasses import dataclass

import av

# What may be opened. FFmpeg guesses the format from the content, and a text file can pose as a playlist (hls, concat,
# dash, image sequences) that names other files or hosts: those formats are not on this list.
FORMATS = ("mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,h264,hevc,m4v,ivf,obu,mjpeg,gif,"
           "dv,mxf,nut,rm,wtv,swf,yuv4mpegpipe")
# Larger pictures are refused: 16384 x 16384 is beyond the largest level of H.264 and HEVC.
MAX_PIXELS = 16384 * 16384
# Codecs of which every packet with its own timestamp becomes exactly one shown frame. Others can hide frames (VP8's
# alternate references), pack several into one packet (MPEG-4 in AVI) or need two packets for one (MPEG-2 fields).
ONE_FRAME_PER_PACKET = {"h264", "hevc", "vp9", "av1", "libdav1d", "mjpeg", "prores", "ffv1", "huffyuv", "ffvhuff", "dnxhd"}
# Containers that store decoding times only.
NO_DISPLAY_TIMES = {"avi"}


class VideoError(Exception):
    """A video that cannot be used: which one (`path`) and why (`reason`), in one line."""

    def __init__(self, path: str, reason: str):
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True)
class Packets:
    """The packets of a video stream in decoding order, and what is known about them.

    shown: positions of the packets that become frames to show, in display order.
    exact: whether `shown` can be relied on; if not, only decoding everything tells which frame is the n-th.
    """

    packets: list[av.Packet]
    shown: list[int]
    exact: bool

    def starts(self) -> list[int]:
        """Positions of the key frames."""
        return [i for i, packet in enumerate(self.packets) if packet.is_keyframe]


def open_video(path: str) -> av.container.InputContainer:
    """The opened container; close it. Raises VideoError for what is no readable video file."""
    check_file(path)
    try:
        # The prefix keeps names like "http://..." or "concat:..." names of files.
        container = av.open(f"file:{path}", metadata_errors="replace", options={"max_pixels": str(MAX_PIXELS)},
                            container_options={"format_whitelist": FORMATS})
    except av.FFmpegError as error:
        raise VideoError(path, f"not a readable video file ({error.strerror})") from error
    return container


def check_file(path: str) -> None:
    """Raises VideoError unless `path` is an existing, readable, non-empty file."""
    if not os.path.exists(path):
        raise VideoError(path, "no such file")
    if not os.path.isfile(path):
        raise VideoError(path, "not a file")
    if not os.access(path, os.R_OK):
        raise VideoError(path, "no permission to read it")
    if os.path.getsize(path) == 0:
        raise VideoError(path, "the file is empty")


def video_stream(path: str, container: av.container.InputContainer) -> av.VideoStream:
    """The first video stream that is not a cover picture. Raises VideoError where there is none that can be decoded."""
    cover = av.stream.Disposition.attached_pic
    streams = [stream for stream in container.streams.video if not stream.disposition & cover]
    if not streams:
        raise VideoError(path, "no video stream")
    stream = streams[0]
    if stream.codec_context is None:
        raise VideoError(path, "no decoder for its video stream")
    width, height = stream.codec_context.width, stream.codec_context.height
    if width * height > MAX_PIXELS:
        raise VideoError(path, f"its pictures are declared as {width}x{height}")
    return stream


def read_packets(path: str, container: av.container.InputContainer, stream: av.VideoStream) -> Packets:
    """All packets of `stream`. Raises VideoError where the container shows that some are missing or damaged."""
    try:
        packets = [packet for packet in container.demux(stream) if packet.size]
        expected = len(stream.index_entries) if "mp4" in container.format.name else 0
    except av.FFmpegError as error:
        raise VideoError(path, f"damaged: {error.strerror}") from error
    if len(packets) < expected or any(packet.is_corrupt for packet in packets):
        raise VideoError(path, "truncated or damaged: not all of its packets can be read")
    first_key = next((i for i, packet in enumerate(packets) if packet.is_keyframe), 0)
    del packets[:first_key]  # a recording joined in the middle of a group of pictures: nothing can be made of these
    shown = [i for i, packet in enumerate(packets) if not packet.is_discard]
    times = [packets[i].pts for i in shown]
    exact = (
        stream.codec_context.name in ONE_FRAME_PER_PACKET
        and container.format.name not in NO_DISPLAY_TIMES
        and all(packet.pts is not None for packet in packets)
        and len(set(times)) == len(times)
        # Pictures that come before the first key frame but are stored after it may or may not be decodable.
        and (not times or min(times) >= packets[0].pts)
    )
    if exact:
        shown.sort(key=lambda i: packets[i].pts)
    return Packets(packets, shown, exact)


def key_frame_of(packets: list[av.Packet], keys: list[int], position: int) -> int:
    """Position of the key frame from which the packet at `position` can be decoded.

    Leading pictures of an open group of pictures are stored after a key frame, shown before it, and refer to the
    group before.
    """
    k = bisect_right(keys, position) - 1
    while k > 0 and packets[keys[k]].pts > packets[position].pts:
        k -= 1
    return keys[k]
