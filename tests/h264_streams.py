"""H.264 that our encoders do not write, made bit by bit (ITU-T H.264, 7.3): untold reordering, and field pairs."""

import re
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av

from make_fixtures import HEIGHT, RATE, WIDTH, encode_numbers

START = b"\0\0\0\1"


def ue(number: int) -> str:
    """Return an unsigned number as the bits of an Exp-Golomb code (9.1)."""
    bits = f"{number + 1:b}"
    return "0" * (len(bits) - 1) + bits


def unit(kind: int, bits: str, payload: bytes = b"") -> bytes:
    """Return a NAL unit, escaped: its kind with reference bits, the bits filled up to a byte, the payload."""
    bits += "" if payload else "1"
    data = int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")
    data += payload + (b"\x80" if payload else b"")
    return START + bytes([kind]) + re.sub(rb"\0\0(?=[\0-\x03])", b"\0\0\x03", data)


def field_pairs(levels: Iterable[int]) -> list[bytes]:
    """Return grey pictures of 16x32 as two access units each, one for each field.

    Each field is one macroblock of plain samples (I_PCM); every picture is a key frame.
    """
    # Main profile, level 1, POC by lsb of 4 bits, one reference, one macroblock by one map unit, fields allowed.
    sps = unit(0x67, f"{77:08b}{0:08b}{10:08b}" + ue(0) * 4 + ue(1) + "0" + ue(0) * 2 + "000" + "00")
    # CAVLC, no groups, one reference, nothing else.
    pps = unit(0x68, ue(0) * 2 + "00" + ue(0) * 3 + "000" + ue(0) * 3 + "000")
    fields = []
    for number, level in enumerate(levels):
        for bottom in (0, 1):
            slice_header = ue(0) + ue(7) + ue(0) + "0000" + f"1{bottom}"  # I, frame_num 0, a field
            slice_header += "" if bottom else ue(number % 2)  # idr_pic_id
            slice_header += f"{bottom:04b}" + ("0" if bottom else "00") + ue(0)  # POC, marking, no change of QP
            picture = unit(0x61 if bottom else 0x65, slice_header + ue(25), bytes([level]) * 256 + b"\x80" * 128)
            fields.append((b"" if bottom else sps + pps) + picture)
    return fields


def without_vui(unit_of_sps: bytes) -> bytes:
    """Return the SPS (Main profile, without start code) without its VUI, which says how far pictures are reordered."""
    bits = "".join(f"{byte:08b}" for byte in re.sub(rb"\0\0\x03(?=[\0-\x03])", b"\0\0", unit_of_sps))
    at = 32  # behind header, profile, constraints, level

    def skip(number: int) -> None:
        nonlocal at
        for _ in range(number):
            at += 2 * (bits.index("1", at) - at) + 1

    skip(2)  # id, log2_max_frame_num
    skip(2)  # pic_order_cnt_type 0, log2 of its lsb
    skip(1)
    at += 1
    skip(2)
    at += 1 if bits[at] == "1" else 2  # frame_mbs_only_flag
    at += 1
    at += 1
    if bits[at - 1] == "1":
        skip(4)
    return unit(unit_of_sps[0], bits[8:at] + "0")


def reordered_untold(path: Path) -> None:
    """Write sixty numbered frames as raw H.264 with B-frames that refer to each other, and a header that hides it."""
    steady = "bframes=3:b-pyramid=normal:b-adapt=0:ref=3:keyint=100:scenecut=0:qp=35:threads=1"
    with av.open(str(path), "w", format="h264") as out:
        stream = out.add_stream("libx264", rate=RATE, options={"profile": "main", "x264-params": steady})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        encode_numbers(out, stream)
    units = re.split(rb"\0\0\0?\x01", path.read_bytes())[1:]
    path.write_bytes(b"".join(without_vui(data) if data[0] & 31 == 7 else START + data for data in units))


def broadcast_in_fields(path: Path, levels: Iterable[int]) -> None:
    """Write `field_pairs` as a transport stream in which each field has its own packet and time."""
    raw = path.with_suffix(".264")
    fields = field_pairs(levels)
    raw.write_bytes(b"".join(fields))
    with av.open(str(raw)) as source, av.open(str(path), "w", format="mpegts") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for number, field in enumerate(fields):
            packet = av.Packet(field)
            packet.stream, packet.time_base = stream, Fraction(1, 2 * RATE)
            packet.pts = packet.dts = number
            out.mux(packet)
    raw.unlink()
