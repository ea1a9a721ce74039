"""Checks that a file is whole by its own account, without decoding it."""

import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from reader.boxes import declares_too_many_samples
from reader.formats import refused
from utils.storage.objects import StorageError, file_size, is_remote

if TYPE_CHECKING:  # checking whether a file exists must not wait for this import
    import av


class VideoError(Exception):
    """A video cannot be used: `path` says which, `reason` says why, in one line."""

    def __init__(self, path: str, reason: str):
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def check_file(path: str) -> None:
    """Raise VideoError unless `path` is an existing, readable, non-empty file whose index fits into memory.

    The index of a remote file is not checked here, but when its local copy is read.
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
    if (kind := refused(path)) is not None:
        raise VideoError(path, kind)
    if declares_too_many_samples(path):
        raise VideoError(path, "it declares more frames or audio samples than it has bytes")


def packet_check(stream: "av.VideoStream") -> "Callable[[av.Packet], bool]":
    """Return a function that tells whether a packet is whole as far as its structure shows.

    In MP4 and Matroska, H.264 and HEVC are stored as units of data, each preceded by its length. Three zero bytes
    cannot occur in a unit: they are escaped. So damage to a length, or a zeroed span, is found without decoding.
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


_ZEROS = re.compile(rb"\0\0\0+[^\0]")  # followed by another byte: zeros that pad the end are harmless


def _units_are_whole(data: bytes, prefix: int) -> bool:
    suspect = b"\0\0\0" in data[::32]  # finds every zeroed sector fast; a hit may be chance, so look closely then
    start = 0
    while start < len(data):
        body = start + prefix
        end = body + int.from_bytes(data[start:body], "big")
        if end == body or end > len(data) or (suspect and _ZEROS.search(data, body, end)):
            return False
        start = end
    return True
