"""Declarations of samples in an MP4 file, and text that only looks like one."""

import struct
from pathlib import Path

import av
import pytest

from fuzz.hostile_videos import BILLION, FTYP, box, compressed, fixture, full, moov, track, u32
from make_fixtures import FIXTURES, copy_packets
from reader.boxes import declares_too_many_samples
from reader.decode import read_frames

WORDS = "stsz trun stz2 cmvd moov and what else a title may say: stszstszstszstsz trun\xff\xff\xff\xff cmvdcmvdcmvd"


def titled(path: Path, title: str) -> None:
    """Write h264.mp4 with a title."""
    with av.open(str(FIXTURES / "h264.mp4")) as source, av.open(str(path), "w") as out:
        out.metadata["title"] = title
        copy_packets(source, out, out.add_stream_from_template(source.streams.video[0]))


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.3gp"])
def test_a_title_may_say_anything(name, tmp_path):
    path = tmp_path / name
    for title in (WORDS, *WORDS.split()):
        titled(path, title)
        assert title.split()[0].encode() in path.read_bytes() or name == "a.3gp"
        assert len(read_frames(str(path), range)) == 60


def test_words_in_other_boxes(tmp_path):
    """The names of boxes in padding, in a vendor's box, in an encoder's name, and in or behind the samples."""
    data = fixture("h264.mp4")
    path = tmp_path / "a.mp4"
    words = b"stsz" + b"\xff" * 20 + b"trun" + b"\xff" * 20 + b"cmvd" + b"\xff" * 20
    name = data.index(b"avc1", data.index(b"stsd")) + 4 + 42  # 31 bytes of a compressor's name
    named = (
        data[:name]
        + b"\x1fstsz\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfftrun\xff\xff\xff\xff\xff\xff\xff\xff\xff"
    )
    named += data[len(named) :]
    assert len(named) == len(data)
    for content in (
        data + box(b"free", words), data + box(b"uuid", words), data + box(b"mdat", words), data + box(b"xxxx", words),
        data + box(b"skip", words), named,
    ):  # fmt: skip
        path.write_bytes(content)
        assert len(read_frames(str(path), range)) == 60


HEADER = track(b"", stsz=u32(1, BILLION))
STSZ = full(b"stsz", u32(1, BILLION))
LARGE = {
    "in a track": moov(HEADER),
    "in half bytes": moov(track(b"").replace(b"stsz", b"xxxx") + box(b"stbl", full(b"stz2", u32(4, BILLION)))),
    "in padding": box(b"free", moov(HEADER)[8:]),
    "in what users write": moov(box(b"udta", STSZ)),
    "in metadata": moov(box(b"meta", u32(0) + full(b"hdlr", bytes(20)) + STSZ)),
    "in QuickTime's metadata": moov(box(b"meta", full(b"hdlr", bytes(20)) + STSZ)),
    "in the description of a codec": moov(full(b"stsd", u32(1) + box(b"avc1", bytes(78) + STSZ))),
    "in the description of sound": moov(full(b"stsd", u32(1) + box(b"mp4a", bytes(28) + STSZ))),
    "of 64 bits": moov(u32(1) + b"trak" + struct.pack(">Q", 16 + len(STSZ)) + STSZ),
    "to the end": u32(0) + b"moov" + HEADER,
    "longer than the file": u32(1 << 30) + b"moov" + HEADER,
    "compressed": compressed(moov(HEADER))[len(FTYP) :],
    "compressed twice": compressed(compressed(moov(HEADER))[len(FTYP) :])[len(FTYP) :],
    "in a fragment": box(b"moof", box(b"traf", full(b"trun", u32(BILLION)))),
}


@pytest.mark.parametrize("where", LARGE)
def test_a_declaration_is_found(where, tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(FTYP + LARGE[where])
    assert declares_too_many_samples(str(path))
