"""Check that files are as long as their structure says, by a walk through the container to its end."""

import mmap
from collections.abc import Callable

import av

from reader.integrity import VideoError


def check_container(
    path: str, container: av.container.InputContainer, stream: av.VideoStream, num_packets: int
) -> None:
    """Raise VideoError if the container promises more than the `num_packets` that the stream gave."""
    name = container.format.name
    if "mp4" in name and num_packets < len(stream.index_entries):
        promised = sum(entry.size > 0 for entry in stream.index_entries)
        if num_packets < promised:
            raise VideoError(path, f"truncated: it has {num_packets} of {promised} frames")
    if name in _STRUCTURES:
        is_whole, problem = _STRUCTURES[name]
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            if not is_whole(data):
                raise VideoError(path, problem)


def riff_is_whole(data: mmap.mmap) -> bool:
    """Return whether an AVI file is at least as long as its header says."""
    size = int.from_bytes(data[4:8], "little")
    return size == 0xFFFFFFFF or size <= len(data)  # an interrupted recorder leaves 0 or this


_SEGMENT, _CLUSTER = b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75"


def matroska_is_whole(data: mmap.mmap) -> bool:
    """Return whether the elements of a Matroska file fill it exactly, down to the blocks of its clusters.

    Recordings of live streams leave lengths unknown: from an unknown length on nothing is checked.
    """
    return _elements_are_whole(data, 0, len(data), (_SEGMENT, _CLUSTER))


def _elements_are_whole(data: mmap.mmap, start: int, end: int, entered: tuple[bytes, ...]) -> bool:
    """Return whether the EBML elements (RFC 8794) between the offsets fill the space exactly.

    entered: the kind of element to enter, then the kind to enter inside it, and so on; all others count as data.
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
            return True  # the length is unknown
        if body + size > end:
            return False
        if element in entered[:1] and not _elements_are_whole(data, body, body + size, entered[1:]):
            return False
        if element == _SEGMENT:
            return True  # what follows is not part of the video
        start = body + size
    return True


def _number_length(first: int) -> int:
    """Return the length in bytes of the EBML number that begins with the byte `first`; 9, too long, if none does."""
    return 9 - first.bit_length()


def gif_is_whole(data: mmap.mmap) -> bool:
    """Return whether the blocks of a GIF file lead to its trailer (GIF89a, 17 to 27)."""
    start = 13 + _colours(data[10]) if len(data) > 13 else len(data)
    while start < len(data) and data[start] != 0x3B:
        if data[start] == 0:  # one terminator too many
            start += 1
            continue
        if data[start] == 0x21:  # an extension
            start += 2
        elif data[start] == 0x2C and start + 9 < len(data):  # an image
            start += 11 + _colours(data[start + 9])
        else:
            return False
        while start < len(data) and data[start]:
            start += 1 + data[start]
        start += 1
    return start < len(data)


def _colours(flags: int) -> int:
    """Return the length in bytes of the colour table that the flags of a GIF's screen or image announce."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def flv_is_whole(data: mmap.mmap) -> bool:
    """Return whether the tags of a Flash file fill it exactly; the last tag's length may be missing after it."""
    start, end = int.from_bytes(data[5:9], "big"), len(data)
    while start + 4 < end:
        start += 4 + 11 + int.from_bytes(data[start + 5 : start + 8], "big")
    return start in (end - 4, end)


def mxf_is_whole(data: mmap.mmap) -> bool:
    """Return whether the KLV triplets of an MXF file (SMPTE 336M) fill it exactly."""
    start, end = max(0, data.find(_MXF_KEY)), len(data)  # there may be a run-in
    while start + 16 < end:
        if data[start : start + 4] != _MXF_KEY:
            return True  # not even padding; FFmpeg searches for the next key
        length, body = data[start + 16], start + 17
        if length & 0x80:
            body += length & 0x7F
            length = int.from_bytes(data[start + 17 : body], "big")
        start = body + length
    return start == end


_MXF_KEY = b"\x06\x0e\x2b\x34"
_ASF_DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")


def asf_is_whole(data: mmap.mmap) -> bool:
    """Return whether all packets of a Windows Media file are there; for a live recording this cannot be known."""
    start = int.from_bytes(data[16:24], "little")
    if data[start : start + 16] != _ASF_DATA:
        return True
    size = int.from_bytes(data[start + 16 : start + 24], "little")
    return start + size <= len(data)


_SHORT = "truncated: it is shorter than its header says"
_STRUCTURES: dict[str, tuple[Callable[[mmap.mmap], bool], str]] = {
    "matroska,webm": (matroska_is_whole, "truncated or damaged: its clusters are not whole"),
    "avi": (riff_is_whole, _SHORT),
    "asf": (asf_is_whole, _SHORT),
    "gif": (gif_is_whole, "truncated or damaged: it has no end"),
    "flv": (flv_is_whole, "truncated or damaged: its tags are not whole"),
    "mxf": (mxf_is_whole, "truncated or damaged: its parts are not whole"),
}
