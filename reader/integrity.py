"""What files say about themselves being whole, checked without decoding them."""

import mmap
import os
import re
import zlib
from collections.abc import Callable, Iterator

import av

from utils.storage import StorageError, file_size, is_remote


class VideoError(Exception):
    """A video that cannot be used: which one (`path`) and why (`reason`), in one line."""

    def __init__(self, path: str, reason: str):
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def check_file(path: str) -> None:
    """Raises VideoError unless `path` is an existing, readable, non-empty file whose index fits into memory.

    Of a remote file the index is not looked at: its copy is, when it is read.
    """
    if is_remote(path):
        try:
            size = file_size(path)
        except StorageError as error:
            raise VideoError(path, error.strerror) from None
        if size == 0:
            raise VideoError(path, "the file is empty")
        return
    if not os.path.exists(path):
        raise VideoError(path, "no such file")
    if not os.path.isfile(path):
        raise VideoError(path, "not a file")
    if not os.access(path, os.R_OK):
        raise VideoError(path, "no permission to read it")
    if os.path.getsize(path) == 0:
        raise VideoError(path, "the file is empty")
    if declares_too_many_samples(path):
        raise VideoError(path, "it declares more frames or audio samples than it has bytes")


def check_container(
    path: str, container: av.container.InputContainer, stream: av.VideoStream, num_packets: int
) -> None:
    """Raises VideoError where the container promises more than the `num_packets` that the stream gave."""
    name = container.format.name
    if name == "mpegts" and not transport_stream_is_whole(path):
        raise VideoError(path, "truncated or damaged: its transport packets are not whole")
    if "mp4" in name and num_packets < len(stream.index_entries):
        promised = sum(entry.size > 0 for entry in stream.index_entries)
        if num_packets < promised:
            raise VideoError(path, f"truncated: it has {num_packets} of {promised} frames")
    if "matroska" in name and not matroska_is_whole(path):
        raise VideoError(path, "truncated or damaged: its clusters are not whole")
    if name == "avi" and not riff_is_whole(path):
        raise VideoError(path, "truncated: it is shorter than its header says")


def packet_check(stream: av.VideoStream) -> Callable[[av.Packet], bool]:
    """A function that tells whether a packet is whole as far as its structure shows.

    H.264 and HEVC in MP4 and Matroska are units of data, each after its length, in which three zero bytes cannot occur
    (they are escaped). A damaged span that covers one length or was zeroed is found without decoding.
    """
    context = stream.codec_context
    setup = context.extradata or b""
    if context.name == "h264" and setup[:1] == b"\1" and len(setup) > 6:
        prefix = (setup[4] & 3) + 1  # ISO/IEC 14496-15, 5.3.3.1: lengthSizeMinusOne
    elif context.name == "hevc" and setup[:1] == b"\1" and len(setup) > 22:
        prefix = (setup[21] & 3) + 1  # 8.3.3.1
    else:
        return lambda packet: True
    return lambda packet: _units_are_whole(bytes(packet), prefix)


_ZEROS = re.compile(rb"\0\0\0+[^\0]")  # followed by something: zeros that pad the end do no harm


def _units_are_whole(data: bytes, prefix: int) -> bool:
    suspect = b"\0\0\0" in data[::32]  # a glance that no zeroed sector escapes; it may also be chance, so look closely
    start = 0
    while start < len(data):
        body = start + prefix
        end = body + int.from_bytes(data[start:body], "big")
        if end == body or end > len(data) or (suspect and _ZEROS.search(data, body, end)):
            return False
        start = end
    return True


# Offset of the number of samples from the name of the box it stands in (ISO/IEC 14496-12, 8.7.3 and 8.8.8).
_SAMPLE_COUNTS = {b"stsz": 12, b"trun": 8}
# Boxes by which FFmpeg knows a file as MP4 (mov_probe), and those in which it looks for no others.
_MP4 = {
    b"ftyp",
    b"moov",
    b"mdat",
    b"free",
    b"skip",
    b"wide",
    b"uuid",
    b"pnot",
    b"udta",
    b"junk",
    b"pict",
    b"ediw",
    b"prfl",
}
_PAYLOAD = {b"mdat", b"skip", b"wide"}
# Bytes that a compressed header (QuickTime's cmov) may have. Those of an hour of video have a tenth of it.
_MAX_HEADER = 1 << 25


def declares_too_many_samples(path: str) -> bool:
    """Whether an MP4 file declares more samples, all tracks and fragments together, than it has bytes.

    A box of 20 bytes can declare two billion samples of one byte each, and opening the file builds their index.
    """
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if not any(name in _MP4 for name, _, _ in _boxes(data)):
            return False
        headers = ((start, stop) for name, start, stop in _boxes(data) if name not in _PAYLOAD)
        return sum(_declared_samples(data, start, stop) for start, stop in headers) > len(data)


def _boxes(data: mmap.mmap) -> Iterator[tuple[bytes, int, int]]:
    """(name, start, stop) of the boxes at the top of an MP4 file; of another file whatever its bytes give."""
    start, end = 0, len(data)
    while start + 8 <= end:
        size = int.from_bytes(data[start : start + 4], "big")
        if size == 1:
            size = int.from_bytes(data[start + 8 : start + 16], "big")
        if 0 < size < 8:
            return
        stop = min(start + size, end) if size else end
        yield data[start + 4 : start + 8], start, stop
        start = stop


def _declared_samples(data: mmap.mmap | bytes, start: int, stop: int) -> int:
    """How many samples the boxes between the offsets declare, those in compressed headers included."""
    count = 0
    for box, offset in _SAMPLE_COUNTS.items():
        for at in _places(data, box, start, stop):
            count += int.from_bytes(data[at + offset : at + offset + 4], "big")
    for at in _places(data, b"cmvd", start, stop):
        try:
            with memoryview(data) as view, view[at + 8 : stop] as compressed:
                header = zlib.decompressobj().decompress(compressed, _MAX_HEADER)
        except zlib.error:
            continue
        if len(header) == _MAX_HEADER or b"cmvd" in header:
            return 1 << 62  # a bomb
        count += _declared_samples(header, 0, len(header))
    return count


def _places(data: mmap.mmap | bytes, name: bytes, start: int, stop: int) -> Iterator[int]:
    while (start := data.find(name, start, stop)) >= 0:
        yield start
        start += len(name)


def riff_is_whole(path: str) -> bool:
    """Whether an AVI file is as long as its header says, give or take padding."""
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8)[4:], "little")
    return size == 0xFFFFFFFF or size <= os.path.getsize(path)  # a recorder that never came back leaves 0 or this


# Bytes from one packet of a transport stream to the next: plain, with times (Blu-ray), with error correction (DVB).
_TRANSPORT_STEPS = (188, 192, 204)


def transport_stream_is_whole(path: str) -> bool:
    """Whether every transport packet of a file begins with the sync byte, 0x47, and the last one is complete."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for step in _TRANSPORT_STEPS:
            for first in range(step):
                if data[first : first + 8 * step : step].strip(b"\x47") == b"":
                    complete = (len(data) - first) % step in (0, 188)
                    return complete and data[first::step].strip(b"\x47") == b""
    return False


_SEGMENT, _CLUSTER = b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75"


def matroska_is_whole(path: str) -> bool:
    """Whether the elements of a Matroska file fill it exactly, down to the blocks of its clusters.

    Recordings of live streams leave lengths unknown: from there on nothing is checked.
    """
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return _elements_are_whole(data, 0, len(data), (_SEGMENT, _CLUSTER))


def _elements_are_whole(data: mmap.mmap, start: int, end: int, entered: tuple[bytes, ...]) -> bool:
    """Whether the EBML elements (RFC 8794) between the offsets fill them exactly.

    entered: the kind of elements to enter, then that within them, and so on; elsewhere they are data.
    """
    while start < end:
        size_at = start + _number_length(data[start])
        if size_at > start + 4 or size_at >= end:
            return False
        element = data[start:size_at]
        body = size_at + _number_length(data[size_at])
        if body > size_at + 8 or body > end:
            return False
        largest = (1 << 7 * (body - size_at)) - 1
        size = int.from_bytes(data[size_at:body], "big") & largest
        if size == largest and element in entered:
            return True  # unknown
        if body + size > end:
            return False
        if element in entered[:1] and not _elements_are_whole(data, body, body + size, entered[1:]):
            return False
        if element == _SEGMENT:
            return True  # whatever follows is no part of the video
        start = body + size
    return True


def _number_length(first: int) -> int:
    """Length in bytes of the EBML number that begins with the byte `first`; 9, too long, where none does."""
    return 9 - first.bit_length()
