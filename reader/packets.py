"""The compressed side of a video: opening it as a plain file, reading its packets, finding their display order."""

import itertools
import os
import sys
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

import av

from reader import integrity, transport, whole
from reader.integrity import VideoError
from utils.cli import harmless

# The formats that may be opened. FFmpeg guesses the format from the content, and a text file can pose as a playlist
# (hls, concat, dash, ...) that makes FFmpeg read other files or hosts. Such formats are not on this list.
FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,h264,hevc,ivf,flv,asf,ogg,mxf,dv,gif"
# The largest 8K format, in whole blocks of 64. Larger frames are refused before memory is allocated for them.
MAX_PIXELS = 8192 * 4352
# Codecs in which every packet becomes exactly one frame. In others a packet may be hidden (VP8), hold several frames
# (MPEG-4) or half a frame (MPEG-2), and only decoding everything tells which frame is the n-th.
ONE_FRAME_PER_PACKET = {"h264", "hevc", "vp9", "libdav1d", "av1", "mjpeg", "prores", "ffv1", "dnxhd"}
# Up to this many bytes of compressed data stay in memory between choosing the frames and decoding them.
KEPT_BYTES = 128 << 20
# Bytes that a kept packet takes in addition to its data (measured: 870).
PACKET_BYTES = 1000
# Nine hours at 60 frames a second. The notes on each packet take about 150 bytes.
MAX_PACKETS = 2_000_000

_said: set[tuple[str, str]] = set()
_LIMITS = {"max_pixels": str(MAX_PIXELS)}
_OPTIONS = _LIMITS | {
    # FFmpeg decodes the beginning of each stream to learn about it; nothing of that is used here.
    "skip_frame": "all",
}
_CONTAINER_OPTIONS = {
    "format_whitelist": FORMATS,
    # Use only the file's own timestamps: those that FFmpeg invents (AVI, streams without any) put frames out of order.
    "fflags": "+nofillin-genpts",
}
# Containers that list their streams at the beginning. In others FFmpeg searches some seconds of video for streams.
WITH_HEADER = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"}


@dataclass
class Packets:
    """The packets of a video stream by position, i.e. in decoding order.

    broadcast: whether the container is a transport stream.
    times: presentation times, None where the file has none.
    keys: positions of the key frames.
    shown: positions of the packets that become visible frames, in display order.
    exact: whether `shown` is certain; if not, only decoding everything tells which frame is the n-th.
    skipped: the number of packets before the first key frame that cannot be decoded, e.g. because the recording began
        in the middle of a group of pictures. They have no position.
    kept: the packets; None if they are too large to keep and must be read again.
    joined: whether the packet counters of a transport stream have a gap, e.g. where two recordings were joined.
    end: the time at which the last frame ends; None if the container does not say.
    """

    path: str
    broadcast: bool
    skipped: int
    times: list[int | None]
    keys: list[int]
    shown: list[int]
    exact: bool
    kept: list[av.Packet] | None
    joined: bool = False
    end: int | None = None

    def __len__(self) -> int:
        return len(self.times)

    def may_lack_references(self, position: int | None) -> bool:
        """Return whether the frame at `position` may need data that was cut off before the first packet."""
        if position is None or not self.keys:
            return not self.keys
        if position < self.keys[0]:
            return True
        first = self.keys[0]
        times = self.times[position], self.times[first]
        return position > first and None not in times and times[0] < times[1]

    def key_frame_of(self, position: int) -> int:
        """Return the position of the key frame from which the packet at `position` can be decoded.

        Leading pictures of an open group of pictures are stored after a key frame but shown before it, and refer to
        the previous group.
        """
        k = bisect_right(self.keys, position) - 1
        while k > 0 and self.times[self.keys[k]] > self.times[position]:
            k -= 1
        return self.keys[k]

    def read(self, ranges: list[tuple[int, int]]) -> Iterator[tuple[int, av.Packet]]:
        """Yield (position, packet) for ascending, disjoint ranges (first, last)."""
        if self.kept is not None:
            yield from ((i, self.kept[i]) for first, last in ranges for i in range(first, last + 1))
            return
        with open_video(self.path) as container:
            packets = enumerate(all_packets(container, video_stream(self.path, container)), start=-self.skipped)
            for first, last in ranges:
                for i, packet in packets:
                    if i >= first:
                        yield i, packet
                    if i == last:
                        break

    def new_decoder(self) -> av.VideoCodecContext:
        """Return a decoder that has seen only what FFmpeg itself reads of the stream before it decodes.

        A decoder remembers what it has seen, even after a flush. If the headers do not say how far H.264 reorders its
        frames, FFmpeg learns it from the first frames: otherwise it drops a frame whenever reordering goes further.
        """
        with _open(self.path, {}, _LIMITS) as container:
            return video_stream(self.path, container).codec_context

    def pixel_shape(self) -> Fraction:
        """Return width / height of the stored pixels, from the container or else the stream; 1 means square."""
        with _open(self.path, {}, _LIMITS) as container:
            return video_stream(self.path, container).sample_aspect_ratio or Fraction(1)


def open_video(path: str) -> av.container.InputContainer:
    """Return the opened container, which the caller closes. Raises VideoError if it is not a readable video."""
    integrity.check_file(path)
    container = _open(path, {"analyzeduration": "1"})
    # To choose between several streams, FFmpeg must have read the beginning of each.
    if container.format.name not in WITH_HEADER or len(_pictures(container)) > 1:
        container.close()
        container = _open(path, {})
    return container


def open_with_times(path: str) -> av.container.InputContainer:
    """Return the container opened anew; FFmpeg invents presentation and decoding times where the file has none."""
    return _open(path, {"fflags": "+genpts"}, _LIMITS)


def say_once(path: str, line: str) -> None:
    """Print a line about the file at `path` to stderr, once in each process."""
    if (path, line) not in _said:
        _said.add((path, line))
        print(harmless(line), file=sys.stderr, flush=True)


def _open(path: str, options: dict[str, str], of_streams: dict[str, str] = _OPTIONS) -> av.container.InputContainer:
    try:
        # With the prefix, FFmpeg takes names like "http://..." or "concat:..." for file names.
        container = _open_as_it_is(f"file:{path}", options, of_streams)
        if container.format.name != "mpegts":
            return container
        spans = transport.whole_spans(path)
        if spans == ((0, os.path.getsize(path)),):
            return container
        container.close()
        if spans is None:
            raise VideoError(path, "truncated or damaged: its transport packets are not whole")
        say_once(path, transport.left_out(path, spans))
        return _open_as_it_is(transport.WholePackets(path, spans), options, of_streams)
    except (av.error.InvalidDataError, av.error.ArgumentError, av.error.EOFError) as error:
        raise VideoError(path, "not a readable video file") from error
    except av.FFmpegError as error:
        raise VideoError(path, f"not a readable video file ({error.strerror})") from error


def _open_as_it_is(
    file: str | transport.WholePackets, options: dict[str, str], of_streams: dict[str, str]
) -> av.container.InputContainer:
    container_options = _CONTAINER_OPTIONS | options
    return av.open(file, options=of_streams, container_options=container_options, metadata_errors="replace")


def video_stream(path: str, container: av.container.InputContainer) -> av.VideoStream:
    """Return the stream that a player shows, never a cover picture. Raises VideoError if none can be decoded.

    Of several streams FFmpeg picks the best: the one marked as default, else one that is more than a single picture.
    """
    streams = _pictures(container)
    if not streams:
        raise VideoError(path, "no video stream")
    best = container.streams.best("video")
    stream = next((stream for stream in streams if stream.index == best.index), streams[0])
    context = stream.codec_context
    if context is None:
        raise VideoError(path, "no decoder for its video stream")
    if context.width * context.height > MAX_PIXELS:
        raise VideoError(path, f"it declares frames of {context.width}x{context.height}, more than {MAX_PIXELS} pixels")
    if len(stream.index_entries) > MAX_PACKETS:
        raise VideoError(path, f"it has more than {MAX_PACKETS} frames")
    context.thread_count = 1  # videos are read in parallel, by processes
    context.options = _LIMITS
    return stream


def _pictures(container: av.container.InputContainer) -> list[av.VideoStream]:
    """Return the video streams without cover pictures."""
    return [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]


def all_packets(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.Packet]:
    """Yield the packets of the stream that have content."""
    for packet in container.demux(stream):
        if packet.size:
            yield packet
        elif packet.pts is None and packet.dts is None:
            return  # the end; beyond it PyAV would fail on streams that appeared on the way


def read_packets(
    path: str, container: av.container.InputContainer, stream: av.VideoStream, kept_bytes: int | None = None
) -> Packets:
    """Return all packets of `stream`; they stay in memory if they have at most `kept_bytes` (None: KEPT_BYTES) bytes.

    Raises VideoError if the container shows that some are missing or damaged.
    """
    kept_bytes = KEPT_BYTES if kept_bytes is None else kept_bytes
    is_whole = integrity.packet_check(stream)
    broadcast = container.format.name == "mpegts"
    packets = Packets(path, broadcast, skipped=0, times=[], keys=[], shown=[], exact=False, kept=[])
    num_bytes, joined, last = 0, False, (-1, 0)
    try:
        for packet in all_packets(container, stream):
            if packet.is_corrupt and not broadcast:
                raise VideoError(path, f"truncated: packet {packets.skipped + len(packets)} of the video is cut off")
            if not is_whole(packet):
                raise VideoError(path, f"damaged: packet {packets.skipped + len(packets)} of the video is not whole")
            joined = joined or packet.is_corrupt
            if packet.is_keyframe:
                packets.keys.append(len(packets))
            if not packet.is_discard:
                packets.shown.append(len(packets))
                if packet.pts is not None:
                    last = max(last, (packet.pts, packet.duration or 0))
            packets.times.append(packet.pts)
            if len(packets) > MAX_PACKETS:
                raise VideoError(path, f"it has more than {MAX_PACKETS} frames")
            num_bytes += packet.size + PACKET_BYTES
            if packets.kept is not None:
                packets.kept.append(packet)
                if num_bytes > kept_bytes:
                    packets.kept = None
    except av.FFmpegError as error:
        raise VideoError(path, f"damaged: {error.strerror}") from error
    whole.check_container(path, container, stream, packets.skipped + len(packets))
    packets.joined, packets.end = joined, sum(last) if last[1] else None
    if packets.keys and packets.keys[0] > 0 and not _leading_are_shown(packets, stream.codec_context.name):
        packets = _from_first_key(packets)
    _put_in_display_order(packets, stream.codec_context.name)
    return packets


def _leading_are_shown(packets: Packets, codec: str) -> bool:
    """Return whether packets before the first marked key frame decode to frames: a mark can be missing."""
    decoder = packets.new_decoder()
    for _, packet in itertools.chain(packets.read([(0, packets.keys[0] - 1)]), [(None, None)]):
        try:
            frames = [frame for frame in decoder.decode(packet) if not frame.is_corrupt]
        except av.FFmpegError:
            continue  # its reference frames were cut off
        if frames:
            # Other decoders, such as MPEG-4's, make grey frames from differences to frames that were cut off.
            return codec in ONE_FRAME_PER_PACKET or frames[0].pict_type == av.video.frame.PictureType.I
    return False


def _from_first_key(packets: Packets) -> Packets:
    """Return the packets without those before the first key frame."""
    first = packets.keys[0]
    return replace(
        packets,
        skipped=first,
        times=packets.times[first:],
        keys=[key - first for key in packets.keys],
        shown=[position - first for position in packets.shown if position >= first],
        kept=packets.kept and packets.kept[first:],
    )


def _put_in_display_order(packets: Packets, codec: str) -> None:
    """Sort `packets.shown` and set `packets.exact` if the timestamps and the codec allow it."""
    times = packets.times
    shown_times = {times[i] for i in packets.shown}
    packets.exact = (
        codec in ONE_FRAME_PER_PACKET
        and not packets.joined
        and bool(packets.keys)
        and None not in times
        and len(shown_times) == len(packets.shown)
        # Frames stored after the first key frame but shown before it may or may not be decodable.
        and min(shown_times, default=times[0]) >= times[0]
    )
    if packets.exact:
        packets.shown.sort(key=times.__getitem__)
