"""The boxes of an MP4 file: how many samples they declare, by the walk that FFmpeg makes (mov_read_default)."""

import mmap
import zlib
from collections.abc import Iterator

# Boxes by which FFmpeg recognises an MP4 file (mov_probe).
_MP4 = {
    b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"uuid", b"pnot", b"udta", b"junk", b"pict", b"ediw", b"prfl",
}  # fmt: skip
# Boxes in which FFmpeg looks for other boxes; the content of any other box is data, e.g. the words of a title.
_HOLDERS = {
    b"moov", b"trak", b"mdia", b"minf", b"stbl", b"dinf", b"edts", b"mvex", b"moof", b"traf", b"udta", b"wave", b"tref",
    b"ilst", b"mfra", b"strk", b"sinf", b"schi", b"iprp", b"ipco",
}  # fmt: skip
# Box -> offset in its content of a number of samples (ISO/IEC 14496-12, 8.7.3 and 8.8.8).
_SAMPLE_COUNTS = {b"stsz": 8, b"stz2": 8, b"trun": 4}
_MOST_LEVELS = 10  # FFmpeg goes no deeper
# Bytes that a compressed header (QuickTime's cmov) may have: ten times the header of an hour of video.
_MAX_HEADER = 1 << 25
_BOMB = 1 << 62


def declares_too_many_samples(path: str) -> bool:
    """Return whether an MP4 file declares more samples, in all tracks and fragments together, than it has bytes.

    A box of 20 bytes can declare two billion samples of one byte each, and opening the file builds an index of them.
    """
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if not any(name in _MP4 for name, _, _ in _boxes(data, 0, len(data))):
            return False
        return _declared_samples(data, 0, len(data)) > len(data)


def holds_text(path: str, text: bytes) -> bool:
    """Return whether the tags of an MP4 file contain the text; False for other files.

    Raises OSError, and ValueError if the file is empty.
    """
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for name, body, stop in _boxes(data, 0, len(data)):
            if name not in _MP4:
                return False
            if name == b"moov":
                return any(text in data[at:end] for tag, at, end in _boxes(data, body, stop) if tag == b"udta")
    return False


def _boxes(data: mmap.mmap | bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield (name, start and end of the content) of the boxes between the offsets; arbitrary if it is no MP4 file."""
    while start + 8 <= end:
        size, name, body = int.from_bytes(data[start : start + 4], "big"), data[start + 4 : start + 8], start + 8
        if size == 1:
            size, body = int.from_bytes(data[start + 8 : start + 16], "big"), start + 16
        stop = min(start + size, end) if size else end
        if stop < body:
            return
        yield name, body, stop
        start = stop


def _declared_samples(data: mmap.mmap | bytes, start: int, end: int, level: int = 0) -> int:
    """Return how many samples the boxes between the offsets declare, including compressed headers."""
    if level > _MOST_LEVELS:
        return 0
    count = 0
    for name, body, stop in _boxes(data, start, end):
        if name in _SAMPLE_COUNTS:
            at = body + _SAMPLE_COUNTS[name]
            count += int.from_bytes(data[at : min(at + 4, stop)], "big")
        elif name == b"cmov":
            count += _declared_in_compressed(data, body, stop)
        elif name == b"stsd":
            count += sum(_declared_samples(data, *entry, level + 1) for entry in _descriptions(data, body, stop))
        elif name in _HOLDERS or _is_hidden_header(data, name, body, stop):
            count += _declared_samples(data, body, stop, level + 1)
        elif name == b"meta":
            # Version and flags may come first. FFmpeg searches for the handler, which is the first box.
            for handler in range(body + 4, min(stop, body + 64), 4):
                if data[handler : handler + 4] == b"hdlr":
                    count += _declared_samples(data, handler - 4, stop, level + 1)
                    break
    return count


def _is_hidden_header(data: mmap.mmap | bytes, name: bytes, body: int, stop: int) -> bool:
    """Return whether a padding box contains what FFmpeg takes for the header of the file."""
    return name in (b"free", b"hoov") and body + 8 <= stop and data[body + 4 : body + 8] in (b"mvhd", b"cmov")


def _descriptions(data: mmap.mmap | bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of the possible boxes after the fixed fields of each sample description."""
    for _, body, stop in _boxes(data, start + 8, end):
        for fields in (78, 28, 44, 64):  # bytes: of video, of sound in QuickTime's three versions
            yield body + fields, stop


def _declared_in_compressed(data: mmap.mmap | bytes, body: int, stop: int) -> int:
    """Return how many samples the header in a `cmov` box declares. FFmpeg expects its parts at fixed places."""
    if data[body + 16 : body + 20] != b"cmvd":
        return 0
    try:
        with memoryview(data) as view, view[body + 24 : stop] as compressed:
            header = zlib.decompressobj().decompress(compressed, _MAX_HEADER)
    except zlib.error:
        return 0
    if len(header) == _MAX_HEADER or b"cmvd" in header:
        return _BOMB
    return _declared_samples(header, 0, len(header))
