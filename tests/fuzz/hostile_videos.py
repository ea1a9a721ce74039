"""Videos made by hand to do harm: a few bytes, in boxes and elements, that declare too much."""

import io
import re
import struct
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image

from make_fixtures import FIXTURES

BILLION = 1_000_000_000
ALL = 0xFFFFFFFF
TOO_MANY = "it declares more frames or audio samples than it has bytes"
NO_VIDEO = "not a readable video file"
NO_MEMORY = "not a readable video file (Cannot allocate memory)"


def fixture(name: str) -> bytes:
    return (FIXTURES / name).read_bytes()


# ---- MP4


def u32(*values: int) -> bytes:
    return struct.pack(f">{len(values)}I", *values)


def box(name: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return u32(8 + len(body)) + name + body


def full(name: bytes, *parts: bytes) -> bytes:
    """Return a box with version and flags of 0."""
    return box(name, bytes(4), *parts)


def box_of(data: bytes, name: bytes) -> bytes:
    """Return the first box of that name, whole."""
    at = data.index(name) - 4
    return data[at : at + int.from_bytes(data[at : at + 4], "big")]


MATRIX = u32(0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
REFERENCE = box(b"dinf", full(b"dref", u32(1), box(b"url ", u32(1))))


def track(
    stsd: bytes,
    *,
    kind: bytes = b"vide",
    timescale: int = 12800,
    duration: int = 60,
    edits: bytes = b"",
    matrix: bytes = MATRIX,
    more: bytes = b"",
    **tables: bytes,
) -> bytes:
    """Return a track of sixty frames of ten bytes; `tables` replaces its tables of samples."""
    defaults = {"stts": u32(1, 60, 512), "stsc": u32(1, 1, 60, 1), "stsz": u32(10, 60), "stco": u32(1, 40)}
    stbl = box(b"stbl", stsd, *(full(name.encode(), table) for name, table in (defaults | tables).items()), more)
    media = full(b"vmhd", bytes(8)) if kind == b"vide" else full(b"smhd", bytes(4))
    header = full(b"tkhd", u32(0, 0, 1, 0, duration), bytes(16), matrix, u32(64 << 16, 48 << 16))
    mdia = box(
        b"mdia", full(b"mdhd", u32(0, 0, timescale, duration), bytes(4)), full(b"hdlr", bytes(4), kind, bytes(13)),
        box(b"minf", media, REFERENCE, stbl),
    )  # fmt: skip
    return box(b"trak", header, box(b"edts", full(b"elst", edits)) if edits else b"", mdia)


FTYP = box_of(fixture("h264.mp4"), b"ftyp")
H264, MPEG4 = (box_of(fixture(name), b"stsd") for name in ("h264.mp4", "mpeg4.mp4"))
_PCM = struct.pack(">HHHHI", 2, 16, 0, 0, 8000 << 16)
SOUND = full(b"stsd", u32(1), box(b"sowt", bytes(6), struct.pack(">H", 1), bytes(8), _PCM))


def moov(*tracks: bytes, duration: int = 60) -> bytes:
    header = full(b"mvhd", u32(0, 0, 1000, duration, 0x10000, 0x01000000), bytes(8), MATRIX, bytes(24), u32(2))
    return box(b"moov", header, *tracks)


def mp4(stsd: bytes = MPEG4, payload: int = 1000, **how: bytes | int) -> bytes:
    """Return a file of one track with `payload` bytes of zeros as its data."""
    return FTYP + box(b"mdat", bytes(payload)) + moov(track(stsd, **how))


def many_samples(count: int, **how: int) -> bytes:
    """Return `count` samples of one byte."""
    return mp4(stts=u32(1, count, 1), stsc=u32(1, 1, count, 1), stsz=u32(1, count), **how)


def compressed(header: bytes) -> bytes:
    """Return the file whose moov is compressed: QuickTime's cmov."""
    packed = box(b"cmov", box(b"dcom", b"zlib"), box(b"cmvd", u32(len(header)), zlib.compress(header, 9)))
    return FTYP + box(b"mdat", bytes(100)) + box(b"moov", packed)


def fragments(count: int) -> bytes:
    """Return a file of fragments, each of which declares about as many samples as the file has bytes."""
    empty = track(MPEG4, stts=u32(0), stsc=u32(0), stsz=u32(0, 0), stco=u32(0))
    header = moov(empty, box(b"mvex", full(b"trex", u32(1, 1, 1, 1, 0))))
    run = full(b"trun", u32(70 * count))
    moof = box(b"moof", full(b"mfhd", u32(1)), box(b"traf", box(b"tfhd", u32(0x020000, 1)), run))
    return FTYP + header + (moof + box(b"mdat", b"0")) * count


def beside_a_video(*boxes: bytes) -> bytes:
    """Return h264.mp4 with more boxes in its moov, which comes after the data, so that the samples do not move."""
    data = fixture("h264.mp4")
    header = box_of(data, b"moov")
    return data.replace(header, box(b"moov", header[8:], *boxes))


def sound_of(chunks: int) -> bytes:
    """Return a sound track of chunks of two billion samples; FFmpeg makes an index entry of each thousand of them."""
    return track(
        SOUND, kind=b"soun", timescale=8000, stts=u32(1, 0x7FFFFFFF, 1), stsc=u32(1, 1, 0x7FFFFFFF, 1),
        stsz=u32(1, 1000), stco=u32(chunks, *range(40, 40 + chunks)),
    )  # fmt: skip


def patched(name: str, marker: bytes, offset: int, new: bytes) -> bytes:
    """Return a fixture with bytes written at an offset from the first place of a marker."""
    data = bytearray(fixture(name))
    at = data.index(marker) + offset
    data[at : at + len(new)] = new
    return bytes(data)


# ---- other containers


def element(name: str, *parts: bytes) -> bytes:
    """Return an EBML element with a length of eight bytes."""
    body = b"".join(parts)
    return bytes.fromhex(name) + (1 << 56 | len(body)).to_bytes(8, "big") + body


SEGMENT, CLUSTER, TRACKS, BLOCK = "18538067", "1f43b675", "1654ae6b", "a3"


def matroska(after: bytes = b"", tracks: int = 1) -> bytes:
    """Return h264.mkv with its tracks listed several times, and `after` behind its last element."""
    data = fixture("h264.mkv")
    start = data.index(bytes.fromhex(SEGMENT)) + 12
    first = data.rindex(bytes.fromhex(TRACKS))  # the table of contents before it names it, too
    last = data.rindex(bytes.fromhex("1254c367"))  # tags
    header = 4 + (1 if data[first + 4] & 0x80 else 8)
    listed = element(TRACKS, data[first + header : last] * tracks)
    return data[: start - 12] + element(SEGMENT, data[start:first], listed, data[last:], after)


def nested(name: str, depth: int) -> bytes:
    data = b""
    for _ in range(depth):
        data = element(name, data)
    return data


def chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)


def avi(codec: bytes, width: int, height: int, frames: list[bytes]) -> bytes:
    stream = b"vids" + codec + struct.pack("<IHHIIIIIIII", 0, 0, 0, 0, 1, 25, 0, len(frames), 0, 0, 0) + bytes(8)
    pixels = struct.pack("<IiiHH", 40, width, height, 1, 24) + codec + bytes(20)
    header = struct.pack("<14I", 40000, 0, 0, 16, len(frames), 0, 1, 0, max(width, 0), abs(height), 0, 0, 0, 0)
    streams = b"strl" + chunk(b"strh", stream) + chunk(b"strf", pixels)
    headers = chunk(b"LIST", b"hdrl" + chunk(b"avih", header) + chunk(b"LIST", streams))
    movie = chunk(b"LIST", b"movi" + b"".join(chunk(b"00dc", frame) for frame in frames))
    return chunk(b"RIFF", b"AVI " + headers + movie)


def gif(width: int, height: int, count: int = 10) -> bytes:
    """Return pictures of 16x16 whose header declares a canvas of another size."""
    images = [Image.fromarray(np.full((16, 16), 9 * number, np.uint8)) for number in range(count)]
    file = io.BytesIO()
    images[0].save(file, "GIF", save_all=True, append_images=images[1:], duration=40)
    data = bytearray(file.getvalue())
    data[6:10] = struct.pack("<HH", width, height)
    return bytes(data)


def jpeg_sizes(width: int, height: int, first: int = 0) -> bytes:
    """Return mjpeg.avi with another declared size for its pictures from number `first` on."""
    data = bytearray(fixture("mjpeg.avi"))
    for match in list(re.finditer(rb"\xff\xc0\x00\x11", data))[first:]:
        data[match.start() + 5 : match.start() + 9] = struct.pack(">HH", height, width)
    return bytes(data)


# ---- the cases

# Name of the file, its content, and the reason why it is refused ("" if it is read).
Case = tuple[str, Callable[[], bytes], str]
NOT_WHOLE = "damaged: frame 0 or one near it cannot be decoded"
CASES: dict[str, Case] = {
    "the skeleton of the MP4 files below": ("a.mp4", lambda: mp4(), NOT_WHOLE),
    "a billion samples of one byte": ("a.mp4", lambda: many_samples(BILLION), TOO_MANY),
    "a billion samples of given sizes": ("a.mp4", lambda: mp4(stsz=u32(0, BILLION)), TOO_MANY),
    "half of the bytes' number in each of three tracks": (
        "a.mp4", lambda: FTYP + box(b"mdat", bytes(9000)) + moov(*[track(MPEG4, stsz=u32(1, 5000))] * 3), TOO_MANY,
    ),
    "samples in every fragment": ("a.mp4", lambda: fragments(1000), TOO_MANY),
    "behind a box of no known name": ("a.mp4", lambda: box(b"\xa9 \0-") + many_samples(BILLION), TOO_MANY),
    "in a free box": ("a.mp4", lambda: FTYP + box(b"free", moov(track(MPEG4, stsz=u32(1, BILLION)))[8:]), TOO_MANY),
    "in a compressed header": ("a.mp4", lambda: compressed(moov(track(MPEG4, stsz=u32(1, BILLION)))), TOO_MANY),
    "a compressed header that is a bomb": ("a.mp4", lambda: compressed(bytes(1 << 27)), TOO_MANY),
    "a compressed header in a compressed header": (
        "a.mp4", lambda: compressed(box_of(compressed(moov(track(MPEG4))), b"moov")), TOO_MANY,
    ),
    "a hundred thousand samples of one byte": ("a.mp4", lambda: many_samples(10**5, payload=10**5), NOT_WHOLE),
    "three million samples of one byte": (
        "a.mp4", lambda: many_samples(3 * 10**6, payload=3 * 10**6), "it has more than 2000000 frames",
    ),
    "times of four billion samples": ("a.mp4", lambda: mp4(stts=u32(1, ALL, 512)), NOT_WHOLE),
    "a table of four billion times": ("a.mp4", lambda: mp4(stts=u32(ALL, 60, 512)), NO_MEMORY),
    "all at the same time": ("a.mp4", lambda: mp4(stts=u32(1, 60, 0)), NOT_WHOLE),
    "years between frames": ("a.mp4", lambda: mp4(stts=u32(1, 60, ALL)), NOT_WHOLE),
    "a table of four billion offsets": ("a.mp4", lambda: mp4(more=full(b"ctts", u32(ALL, 60, 0))), NO_VIDEO),
    "offsets of four billion samples": ("a.mp4", lambda: mp4(more=full(b"ctts", u32(1, ALL, ALL))), NOT_WHOLE),
    "four billion samples in a chunk": ("a.mp4", lambda: mp4(stsc=u32(1, 1, ALL, 1)), NOT_WHOLE),
    "a table of four billion chunks": ("a.mp4", lambda: mp4(stco=u32(ALL, 40)), NOT_WHOLE),
    "chunks behind the end": ("a.mp4", lambda: mp4(stco=u32(1, ALL - 15)), "truncated: it has 0 of 60 frames"),
    "a table of four billion key frames": ("a.mp4", lambda: mp4(more=full(b"stss", u32(ALL, 1))), NO_VIDEO),
    "a table of four billion edits": ("a.mp4", lambda: mp4(edits=u32(ALL, 1, 0, 0x10000)), NOT_WHOLE),
    "fifty thousand edits": ("a.mp4", lambda: mp4(edits=u32(50_000) + u32(60, 0, 0x10000) * 50_000), NOT_WHOLE),
    "edits of negative times": (
        "a.mp4", lambda: mp4(edits=u32(2, ALL, ALL, 0x10000, ALL, 0x7FFFFFFF, 0)), "no frame could be decoded",
    ),
    "a clock that stands still": ("a.mp4", lambda: mp4(timescale=0), NOT_WHOLE),
    "a clock of four billion ticks": ("a.mp4", lambda: mp4(timescale=ALL, duration=ALL), NOT_WHOLE),
    "a thousand tracks": ("a.mp4", lambda: FTYP + moov(*[track(H264)] * 1100), NO_MEMORY),
    "sound of two billion samples a chunk": (
        "a.mp4", lambda: beside_a_video(sound_of(3)), "truncated: it has 34 of 60 frames",
    ),
    "frames at one time": ("a.mp4", lambda: patched("h264.mp4", b"stts", 8, u32(1, 60, 0)), ""),
    "frames that are years apart": ("a.mp4", lambda: patched("h264.mp4", b"stts", 8, u32(1, 60, 0x7FFFFFFF)), ""),
    "frames shown before the beginning of time": (
        "a.mp4", lambda: patched("h264.mp4", b"ctts", 8, u32(1, 60, 0x80000000)), "no frame could be decoded",
    ),
    "a zero matrix": ("a.mp4", lambda: patched("rotated_90.mp4", b"tkhd", 44, bytes(36)), ""),
    "a matrix of the lowest numbers": (
        "a.mp4", lambda: patched("rotated_90.mp4", b"tkhd", 44, u32(0x80000000) * 9), "",
    ),
    "a matrix of minus one": ("a.mp4", lambda: patched("rotated_90.mp4", b"tkhd", 44, b"\xff" * 36), ""),
    "units of no length": ("a.mp4", lambda: mp4(H264), "damaged: packet 0 of the video is not whole"),
    "a frame rate of zero": ("a.mp4", lambda: patched("h264.mp4", b"mdhd", 16, bytes(4)), ""),
    "clusters in clusters": ("a.mkv", lambda: matroska(nested(CLUSTER, 3000)), ""),
    "segments in segments": ("a.mkv", lambda: matroska(nested(SEGMENT, 3000)), ""),
    "a hundred thousand clusters": ("a.mkv", lambda: matroska(element(CLUSTER) * 10**5), ""),
    "two hundred tracks": ("a.mkv", lambda: matroska(tracks=200), ""),
    "a block of two billion bytes": (
        "a.mkv", lambda: matroska(element(CLUSTER, bytes.fromhex(BLOCK) + (1 << 56 | 1 << 31).to_bytes(8, "big"))),
        "truncated or damaged: its clusters are not whole",
    ),
    "GIF of 60000x60000": ("a.gif", lambda: gif(60000, 60000), NOT_WHOLE),
    "GIF of 8000x4000": ("a.gif", lambda: gif(8000, 4000, 2), ""),
    "JPEG of 65500x65500": ("a.avi", lambda: jpeg_sizes(65500, 65500), NOT_WHOLE),
    "JPEG of 16000x1": ("a.avi", lambda: jpeg_sizes(16000, 1), ""),
    "JPEG that grows": (
        "a.avi", lambda: jpeg_sizes(65500, 65500, first=20), "damaged: frame 20 or one near it cannot be decoded",
    ),
    "VP8 of 16383x16383": (
        "a.webm", lambda: patched("vp8.webm", b"\x9d\x01\x2a", 3, struct.pack("<HH", 16383, 16383)), NOT_WHOLE,
    ),
    "bare pixels": ("a.avi", lambda: avi(bytes(4), 64, 48, [bytes(64 * 48 * 3)] * 5), ""),
    "bare pixels upside down": ("a.avi", lambda: avi(bytes(4), 64, -48, [bytes(64 * 48 * 3)] * 5), ""),
    "bare pixels that are not there": ("a.avi", lambda: avi(bytes(4), 8000, 4000, [bytes(64)] * 5), NOT_WHOLE),
    "AVI of 0x0": ("a.avi", lambda: avi(b"MJPG", 0, 0, [bytes(64)] * 5), NOT_WHOLE),
    "AVI of negative size": ("a.avi", lambda: avi(b"MJPG", -5, -(1 << 31), [bytes(64)] * 5), NO_VIDEO),
    "a recording of a hundred recordings": ("a.ts", lambda: fixture("h264.ts") * 100, ""),
    "HLS of another host": ("a.mp4", lambda: b"#EXTM3U\n#EXTINF:3,\nhttp://127.0.0.1:9/a.ts\n", NO_VIDEO),
    "a picture list": ("a.mp4", lambda: b"%s/%%03d.png\n" % str(FIXTURES).encode(), NO_VIDEO),
    "subtitles": ("a.mp4", lambda: b"WEBVTT\n\n00:00.000 --> 00:01.000\nhello\n", NO_VIDEO),
}  # fmt: skip
