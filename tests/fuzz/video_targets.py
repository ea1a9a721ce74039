"""Targets that read videos: broken fixtures, other kinds of files made from them, and hand-made files."""

import io
import pickle
import random
from pathlib import Path

import av
import numpy as np
from PIL import Image

from fuzz.hostile_videos import CASES
from fuzz.mutations import mutated
from fuzz.target import Target
from make_fixtures import FIXTURES, copy_packets
from reader import packets
from reader.dataset import ClipSpec, VideoError, read_clip


def videos(decoder: str = "auto", seeds: dict[str, bytes] | None = None) -> Target:
    """Break each of `seeds` in turn (default: all fixtures), and read clips of several kinds."""
    packets.say_once = lambda *_: None  # it writes to stderr on purpose; anything else there is a finding
    seeds = seeds or {path.name: path.read_bytes() for path in sorted(FIXTURES.iterdir()) if path.is_file()}

    def write(folder: Path, rng: random.Random, number: int) -> Path:
        name = list(seeds)[number % len(seeds)]
        path = folder / name
        path.write_bytes(mutated(seeds[name], rng, list(seeds.values())))
        return path

    def read(path: Path, rng: random.Random) -> None:
        segments, seglen = rng.choice(((1, 1), (3, 1), (7, 1), (3, 2)))
        how = {"augment_seed": rng.choice((None, 1)), "keep_aspect_ratio": rng.random() < 0.3}
        how |= {"resize": rng.choice(("pillow", "opencv")), "multi_scale_crop": rng.choice(("none", 5, 13))}
        how["crops"] = 1 if how["augment_seed"] else rng.choice((1, 3, 10))
        spec = ClipSpec(segments, seglen, 256, 256 if how["crops"] == 3 else 224, decoder=decoder, **how)
        clip, label = read_clip(spec, str(path))
        assert clip.shape == spec.shape and clip.dtype == np.uint8 and label is None

    return Target(write, read, (VideoError,), memory=1000)


# Kinds of files that the fixtures lack -> the fixture that their packets come from.
_REMUXED = {
    "a.h264": "h264.ts", "a.hevc": "hevc.mp4", "a.ivf": "vp9.webm", "a.asf": "mpeg4.avi", "a.ogg": "vp8.webm",
    "a.mxf": "mpeg2.ts", "a.mpeg": "mpeg2.ts", "a.m4v": "mpeg4.avi", "a.mpegts": "hevc.mp4", "b.mp4": "vp9.webm",
}  # fmt: skip
# Name, encoder, pixel format.
_ENCODED = (
    ("a.gif", "gif", "rgb8"), ("a.mov", "prores_ks", "yuv422p10le"), ("b.mov", "png", "rgb24"),
    ("c.mov", "qtrle", "rgb24"), ("d.mov", "rawvideo", "rgb24"), ("a.avi", "huffyuv", "yuv422p"),
    ("b.avi", "cinepak", "rgb24"), ("c.avi", "rawvideo", "yuv420p"), ("d.avi", "msmpeg4", "yuv420p"),
    ("b.asf", "wmv2", "yuv420p"), ("a.flv", "flv", "yuv420p"),
)  # fmt: skip


def more_videos() -> Target:
    """Break kinds of files that the fixtures lack and this build of FFmpeg can write."""
    seeds = {}
    for make, kinds in ((_remuxed, _REMUXED.items()), (_encoded, _ENCODED)):
        for name, *how in kinds:
            try:
                seeds[name] = make(name, *how)
            except (av.FFmpegError, ValueError, LookupError):  # this build of FFmpeg has no such writer
                continue
    return videos(seeds=seeds)


def _remuxed(name: str, fixture: str) -> bytes:
    file = io.BytesIO()
    with av.open(str(FIXTURES / fixture)) as source, av.open(file, "w", format=name.split(".")[1]) as out:
        out.flags |= av.container.core.Flags.bitexact.value
        copy_packets(source, out, out.add_stream_from_template(source.streams.video[0]))
    return file.getvalue()


def _encoded(name: str, codec: str, pixels: str) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=name.split(".")[1]) as out:
        out.flags |= av.container.core.Flags.bitexact.value
        stream = out.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixels
        for number in range(8):
            image = np.full((48, 64, 3), 30 * number, np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        out.mux(stream.encode(None))
    return file.getvalue()


def hostile_videos() -> Target:
    """Return the hand-made cases, in their order."""

    def write(folder: Path, rng: random.Random, number: int) -> Path:
        name, make, _ = list(CASES.values())[number % len(CASES)]
        (folder / name).write_bytes(make())
        return folder / name

    def read(path: Path, rng: random.Random) -> None:
        read_clip(ClipSpec(7, 1, 256, 224), str(path))

    return Target(write, read, (VideoError,), memory=1000)


def frame_pickles() -> Target:
    """Break frame pickles anywhere: in the pickle or in its JPEGs."""
    file = io.BytesIO()
    Image.new("RGB", (44, 36), (200, 0, 0)).save(file, "JPEG")
    seeds = [pickle.dumps(("video", 1, [file.getvalue()] * 4), protocol) for protocol in (0, 1, 2, 4)]

    def write(folder: Path, rng: random.Random, number: int) -> Path:
        path = folder / "video.pkl"
        path.write_bytes(mutated(rng.choice(seeds), rng, seeds))
        return path

    def read(path: Path, rng: random.Random) -> None:
        spec = ClipSpec(2, rng.choice((1, 2)), 36, 32, frame_format="pkl")
        clip, label = read_clip(spec, str(path))
        assert clip.shape == spec.shape and clip.dtype == np.uint8 and isinstance(label, int)

    return Target(write, read, (VideoError,), memory=700)


def frame_folders() -> Target:
    """Break the second frame, PNG or JPEG, of folders of four frames."""
    files = [io.BytesIO(), io.BytesIO()]
    for file, kind in zip(files, ("JPEG", "PNG")):
        Image.new("RGB", (44, 36), (200, 0, 0)).save(file, kind)
    seeds = [file.getvalue() for file in files]

    def write(folder: Path, rng: random.Random, number: int) -> Path:
        broken = mutated(rng.choice(seeds), rng, seeds)
        for i, content in enumerate((seeds[0], broken, *seeds), start=1):
            (folder / f"img_{i:05}.jpg").write_bytes(content)
        return folder

    def read(path: Path, rng: random.Random) -> None:
        spec = ClipSpec(4, 1, 36, 32, frame_format="frames")
        clip, label = read_clip(spec, str(path), frames=4)
        assert clip.shape == spec.shape and clip.dtype == np.uint8 and label is None

    return Target(write, read, (VideoError,), memory=700)
