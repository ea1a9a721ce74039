"""Captured transport streams: find their whole packets, and present these alone as a file.

A capture begins and ends anywhere, and junk can stand between its packets. FFmpeg finds the next packet by its first
byte, which also occurs in junk, and can then lose a whole packet. So FFmpeg gets only the whole packets.
"""

import functools
import io
import mmap
import os
from collections.abc import Iterator

# Bytes from one packet to the next: plain, with a time before it (Blu-ray), with error correction after it (DVB);
# and how many of these bytes come before the sync byte.
_STEPS = {188: 0, 192: 4, 204: 0}
_SYNC = 0x47
_PACKET = 188
# So many packets in a row do not begin with the sync byte by chance.
_CERTAIN = 6
# Bytes before the first packet, or between two packets, at most: FFmpeg looks no further.
_FURTHEST = 1 << 16
# So many packets before and after junk have their counters compared.
_NEAR = 1000
_PADDING = (0x00, 0xFF)
# Stream numbers below the first are tables; the second marks packets without content.
_OWN, _NULL = 0x20, 0x1FFF

Spans = tuple[tuple[int, int], ...]  # (start, end) in the file, ascending


@functools.lru_cache(maxsize=1)
def _spans_of(path: str, size: int, modified: int) -> Spans | None:
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        found = _first_packet(data)
        return None if found is None else _whole_spans(data, *found)


def whole_spans(path: str) -> Spans | None:
    """Return the spans of whole packets; None if packets in between are damaged or lost. The last result is cached."""
    status = os.stat(path)
    return _spans_of(path, status.st_size, status.st_mtime_ns)


def _first_packet(data: mmap.mmap) -> tuple[int, int] | None:
    """Return (place of the first packet's sync byte, step)."""
    for first in range(min(len(data), _FURTHEST)):
        if data[first] == _SYNC:
            for step in _STEPS:
                if _is_row(data, first, step):
                    return first, step
    return None


def _is_row(data: mmap.mmap, at: int, step: int) -> bool:
    """Return whether packets begin at `at` and at the next steps; in a file of a few packets, at all of them."""
    row = data[at : at + _CERTAIN * step : step]
    certain = len(row) == _CERTAIN or at < step
    return certain and row.strip(b"\x47") == b"" and (at <= _STEPS[step] or _is_packet(data, at, step))


def _is_packet(data: mmap.mmap, at: int, step: int) -> bool:
    """Return whether a sync byte after junk begins a packet: if so, its stream continues where its counter says.

    Junk can contain a sync byte, exactly one step before the first packet.
    """
    error, scrambled_or_empty = data[at + 1] & 0x80, data[at + 3] & 0xF0
    stream = (data[at + 1] & 0x1F) << 8 | data[at + 2]
    if error or scrambled_or_empty not in (0x10, 0x20, 0x30):
        return False
    if stream < _OWN or stream == _NULL:
        return True  # a table: it need not come twice
    for later in range(at + step, min(len(data) - _PACKET + 1, at + _NEAR * step), step):
        if data[later + 1] & 0x1F == stream >> 8 and data[later + 2] == stream & 0xFF:
            carries = bool(data[later + 3] & 0x10)
            return (data[later + 3] - data[at + 3]) & 0x0F in ((0, 1) if carries else (0,))
    return False


def _whole_spans(data: mmap.mmap, at: int, step: int) -> Spans | None:
    before = _STEPS[step]
    spans: list[tuple[int, int]] = []
    while True:
        start = at
        while row := data[at : at + (step << 16) : step]:
            packets = len(row) - len(row.lstrip(b"\x47"))
            at += packets * step
            if packets < len(row):
                break
        if at >= len(data):  # the last packet may be cut off, or only its error correction, which does no harm
            last = at - step
            end = at if last + _PACKET <= len(data) else last
            spans.append((max(0, start - before), min(end - before, len(data))))
            return tuple(span for span in spans if span[0] < span[1])
        spans.append((max(0, start - before), at - before))
        rest = data[at - before : at + _FURTHEST]
        following = next((place for place in range(at - step + 1, min(len(data), at + _FURTHEST))
                          if data[place] == _SYNC and _is_row(data, place, step)), None)  # fmt: skip
        if following is None:
            # No packet follows: a recorder padded the end, or the file ends within a packet.
            only_padding = any(rest.strip(bytes([padding])) == b"" for padding in _PADDING)
            return tuple(spans) if only_padding and at - before + len(rest) >= len(data) else None
        # If the next packet comes too early, one lacks bytes. If it comes in step, packets were overwritten.
        if following < at or (following - at) % step == 0 or not _continue(data, at, following, step):
            return None
        at = following


def _continue(data: mmap.mmap, end: int, start: int, step: int) -> bool:
    """Return whether, by the counters, no packet is missing between those before `end` and those from `start` on."""
    last: dict[int, int] = {}
    for at in range(max(end % step, end - _NEAR * step), end, step):
        last.update(_counter(data, at))
    for at in range(start, min(len(data) - _PACKET + 1, start + _NEAR * step), step):
        for stream, counter in _counter(data, at):
            if stream in last and (counter - last.pop(stream)) % 16 > 1:  # a packet may come twice
                return False
    return True


def _counter(data: mmap.mmap, at: int) -> Iterator[tuple[int, int]]:
    """Yield (stream, its counter) of the packet at `at`, if the packet has content."""
    if data[at] == _SYNC and data[at + 3] & 0x10:
        stream = (data[at + 1] & 0x1F) << 8 | data[at + 2]
        if stream != _NULL:
            yield stream, data[at + 3] & 0x0F


class WholePackets(io.RawIOBase):
    """A readable file that consists of some spans of another file."""

    def __init__(self, path: str, spans: Spans):
        self._path, self._spans = path, spans
        self._size = sum(end - start for start, end in spans)
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: memoryview) -> int:
        """Return the number of bytes read, 0 at the end."""
        skipped = self._at
        for start, end in self._spans:
            if skipped < end - start:
                # Opened for each 32 KB, because PyAV does not close a file that it was given.
                with open(self._path, "rb") as file:
                    file.seek(start + skipped)
                    content = file.read(min(len(buffer), end - start - skipped))
                buffer[: len(content)] = content
                self._at += len(content)
                return len(content)
            skipped -= end - start
        return 0


def left_out(path: str, spans: Spans) -> str:
    """Return a line that says how much of the file is not in whole packets."""
    size = os.path.getsize(path)
    left = size - sum(end - start for start, end in spans)
    return f"{path}: {left} of its {size} bytes are outside of whole transport packets and are not read"
