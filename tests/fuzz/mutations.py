"""Make broken files from whole ones: the result depends only on the bytes and a seeded generator."""

import random
import re
import struct
from collections.abc import Callable, Sequence

Mutation = Callable[[bytearray, random.Random], None]

# Sizes and counts at which arithmetic goes wrong.
EXTREMES = (
    0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 10**6, 10**8, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF, 2**62,
    2**64 - 1,
)  # fmt: skip
# Names of MP4 boxes and AVI chunks, IDs of Matroska, start codes: important fields are near them.
_LANDMARK = re.compile(
    rb"[a-zA-Z][a-zA-Z0-9 ]{3}|\x1a\x45\xdf\xa3|\x18\x53\x80\x67|\x1f\x43\xb6\x75|\x15\x49\xa9\x66|\x16\x54\xae\x6b"
    rb"|\x00\x00\x01"
)
_TRANSPORT_PACKET = 188


def _position(data: bytearray, rng: random.Random) -> int:
    """Return an offset: anywhere, near the ends, where headers are, or a few bytes around a landmark."""
    kind = rng.randrange(4)
    if kind == 0 or len(data) < 64:
        return rng.randrange(len(data))
    if kind == 1:
        near = rng.randrange(min(len(data), 1500))
        return near if rng.random() < 0.5 else len(data) - 1 - near
    start = rng.randrange(len(data))
    landmark = _LANDMARK.search(data, start, start + 4096) or _LANDMARK.search(data)
    at = (landmark.start() if landmark else start) + rng.randrange(-8, 40)
    return min(max(at, 0), len(data) - 1)


def _length(data: bytearray, rng: random.Random) -> int:
    return min(rng.choice((1, 2, 4, 8, 16, 100, 188, 500, 2000)), len(data))


def flip_bits(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 1, 3, 10, 50))):
        data[_position(data, rng)] ^= 1 << rng.randrange(8)


def set_bytes(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 3, 10))):
        data[_position(data, rng)] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))


def set_number(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 1, 2, 4))):
        size = rng.choice((2, 4, 4, 4, 8))
        number = rng.choice((*EXTREMES, rng.randrange(2**16), len(data))) & (1 << 8 * size) - 1
        at = _position(data, rng)
        data[at : at + size] = number.to_bytes(size, rng.choice(("big", "little")))


def truncate(data: bytearray, rng: random.Random) -> None:
    del data[_position(data, rng) or 1 :]


def cut_out(data: bytearray, rng: random.Random) -> None:
    at = _position(data, rng)
    del data[at : at + _length(data, rng)]


def insert(data: bytearray, rng: random.Random) -> None:
    at, size = _position(data, rng), _length(data, rng)
    source = rng.randrange(len(data))
    data[at:at] = rng.choice((bytes(size), rng.randbytes(size), data[source : source + size]))


def overwrite(data: bytearray, rng: random.Random) -> None:
    at, size = _position(data, rng), _length(data, rng)
    size = len(data[at : at + size])
    data[at : at + size] = rng.choice((bytes(size), b"\xff" * size, rng.randbytes(size)))


def exchange(data: bytearray, rng: random.Random) -> None:
    (a, b), size = sorted((_position(data, rng), _position(data, rng))), _length(data, rng)
    size = min(size, b - a, len(data) - b)
    data[a : a + size], data[b : b + size] = data[b : b + size], data[a : a + size]


def repeat(data: bytearray, rng: random.Random) -> None:
    at, size = _position(data, rng), _length(data, rng)
    data[at:at] = data[at : at + size] * rng.choice((2, 10, 100))


def resize_boxes(data: bytearray, rng: random.Random) -> None:
    """Change the sizes beside some names: MP4 boxes have them before the name, AVI chunks after it."""
    names = [match.start() for match in re.finditer(rb"[a-z][a-zA-Z0-9]{3}", data)]
    for at in rng.sample(names, min(len(names), rng.choice((1, 2, 5)))):
        size = rng.choice((*EXTREMES[:14], 8, 16, len(data)))
        if rng.random() < 0.6 and at >= 4:
            data[at - 4 : at] = struct.pack(">I", size)
        else:
            data[at + 4 : at + 8] = struct.pack("<I", size)


def move_transport_packets(data: bytearray, rng: random.Random) -> None:
    count = len(data) // _TRANSPORT_PACKET
    for _ in range(rng.choice((1, 3, 10)) if count > 2 else 0):
        a, b = (_TRANSPORT_PACKET * rng.randrange(count) for _ in "ab")
        packet = data[a : a + _TRANSPORT_PACKET]
        if rng.random() < 0.5:
            del data[a : a + _TRANSPORT_PACKET]
        data[b:b] = packet


MUTATIONS: tuple[Mutation, ...] = (
    flip_bits, flip_bits, set_bytes, set_number, set_number, truncate, cut_out, insert, overwrite, exchange, repeat,
    resize_boxes, move_transport_packets,
)  # fmt: skip


def mutated(data: bytes, rng: random.Random, others: Sequence[bytes] = ()) -> bytes:
    """Return `data` after one to four mutations, at times with the end of another file."""
    result = bytearray(data)
    if others and rng.random() < 0.08:
        other = rng.choice(others)
        result[rng.randrange(len(result)) :] = other[rng.randrange(len(other)) :]
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        if not result:
            break
        rng.choice(MUTATIONS)(result, rng)
    return bytes(result[: 4 * len(data) + 65536])
