"""One video re-encoded: H.264 in MP4, upright, a key frame every few frames, frame n still frame n."""

import hashlib
import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from reader import sparse
from reader.clock import frame_rate
from reader.decode import VideoError
from reader.packets import Packets, open_video, read_packets, video_stream
from utils.errors import RunError
from utils.storage.files import write_atomic

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
    """file: what tells the source from another one under its path, from before it is read (utils/storage/stamps.py)."""

    source: str
    target: Path
    settings: Settings
    file: list[int] | None = None


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
        rate = Fraction(frame_rate(job.source, container, stream)).limit_denominator(1001)
        rate = rate if 1 <= rate <= 240 else Fraction(25)

        def write(path: Path) -> None:
            num_frames = encode(path, packets, rate, job.settings)
            if num_frames == 0:
                raise VideoError(job.source, "no frame could be decoded")
            with open_video(str(path)) as written:
                promised = len(read_packets(str(path), written, video_stream(str(path), written)).shown)
            if promised != num_frames:
                raise RunError(f"{job.target}: {promised} of {num_frames} frames were written")

        job.target.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(job.target, write)


def encode(path: Path, packets: Packets, rate: Fraction, settings: Settings) -> int:
    """The number of frames of the packets, which it writes as H.264 in MP4, upright, with even sides."""
    options = {"crf": str(settings.crf), "preset": settings.preset, "g": str(settings.keyint)}
    num_frames = 0
    with av.open(f"file:{path}", "w", format="mp4") as out:  # "a:b.mp4" would name a protocol
        stream = out.add_stream("libx264", rate=rate, options=options)
        stream.codec_context.thread_count = 1  # videos are encoded in parallel
        for num_frames, frame in enumerate(sparse.all_frames(packets), start=1):
            if num_frames == 1:
                shown = sparse.shown_size(frame)
                scale = min(1, settings.short_side / min(shown))
                stream.width, stream.height = width, height = [max(2, 2 * round(side * scale / 2)) for side in shown]
                stream.pix_fmt = "yuv420p"
                stream.codec_context.sample_aspect_ratio = sparse.pixel_shape(packets, frame)
            image = sparse.as_shown(frame, width, height, "BICUBIC")
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            picture.pts, picture.time_base = num_frames - 1, 1 / rate
            out.mux(stream.encode(picture))
        if num_frames:
            out.mux(stream.encode(None))
    return num_frames
