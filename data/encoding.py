"""One video re-encoded: H.264 in MP4, upright, a key frame every few frames, frame n still frame n."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from reader import sparse
from reader.decode import VideoError
from reader.packets import open_video, read_packets, video_stream
from utils.errors import RunError
from utils.files import write_atomic

PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow")


@dataclass(frozen=True)
class Settings:
    """How videos are encoded: the short side is made no larger than `short_side`, x264's crf and preset as they are."""

    short_side: int
    keyint: int
    crf: int
    preset: str


@dataclass(frozen=True)
class Job:
    source: str
    target: Path
    settings: Settings


def target_of(out: Path, source: str) -> Path:
    """Where the re-encoded video goes: out/folder/name-DIGEST.mp4, the digest that of the whole path.

    Files of one name in different folders keep apart, whatever else is in the list.
    """
    path = os.path.abspath(source)
    # Of 8 digits, two of a million videos of one name would share theirs more than a hundred times.
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    folder, name = os.path.split(path)
    stem = os.path.splitext(name)[0][:50]  # names must not be longer than 255 bytes
    return Path(os.path.join(out, os.path.basename(folder), f"{stem}-{digest}.mp4"))


def reencode(job: Job) -> None:
    """Writes job.target, whole or not at all. Raises VideoError for an unreadable source, RunError for a full disk."""
    with open_video(job.source) as container:
        stream = video_stream(job.source, container)
        packets = read_packets(job.source, container, stream)
        rate = (stream.average_rate or Fraction(25)).limit_denominator(1001)
        rate = rate if 1 <= rate <= 240 else Fraction(25)
        frames = sparse.all_frames(stream.codec_context, packets)

        def write(path: Path) -> None:
            num_frames = encode(path, frames, rate, job.settings)
            if num_frames == 0:
                raise VideoError(job.source, "no frame could be decoded")
            with open_video(str(path)) as written:
                promised = len(read_packets(str(path), written, video_stream(str(path), written)).shown)
            if promised != num_frames:
                raise RunError(f"{job.target}: {promised} of {num_frames} frames were written")

        job.target.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(job.target, write)


def encode(path: Path, frames: Iterator[av.VideoFrame], rate: Fraction, settings: Settings) -> int:
    """The number of frames, which it writes as H.264 in MP4, upright, with even sides."""
    options = {"crf": str(settings.crf), "preset": settings.preset, "g": str(settings.keyint)}
    num_frames = 0
    with av.open(str(path), "w", format="mp4") as out:
        stream = out.add_stream("libx264", rate=rate, options=options)
        stream.codec_context.thread_count = 1  # videos are encoded in parallel
        for num_frames, frame in enumerate(frames, start=1):
            if num_frames == 1:
                scale = min(1, settings.short_side / min(frame.width, frame.height))
                width, height = (max(2, 2 * round(side * scale / 2)) for side in (frame.width, frame.height))
            image = sparse.upright(sparse.to_rgb(frame, width, height, "BICUBIC"), frame)
            if num_frames == 1:
                stream.height, stream.width, stream.pix_fmt = *image.shape[:2], "yuv420p"
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            picture.pts, picture.time_base = num_frames - 1, 1 / rate
            out.mux(stream.encode(picture))
        if num_frames:
            out.mux(stream.encode(None))
    return num_frames
