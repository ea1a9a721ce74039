"""Re-encode one video as H.264 in MP4: upright, with frequent key frames, and with the same frame numbers."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np

from reader import sparse
from reader.clock import frame_rate
from reader.decode import VideoError
from reader.frame_folder import frame_paths, read_picture
from reader.packets import open_video, read_packets, video_stream
from utils.errors import RunError
from utils.storage.files import write_atomic

PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow")


@dataclass(frozen=True)
class Settings:
    """How videos are encoded. crf and preset are x264's."""

    short_side: int  # pixels, at most
    keyint: int
    crf: int
    preset: str
    fps: float | None = None  # for folders of frames; None if the sources are videos
    filename_tmpl: str | None = None  # for folders of frames, see reader/frame_folder.py

    def given(self) -> dict[str, object]:
        """Return the settings by name. All copies in a folder share one set."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class Job:
    """A source and its target. file: the source's signature before it is read (utils/storage/stamps.py)."""

    source: str
    target: Path
    settings: Settings
    file: list[int] | None = None
    frames: int | None = None  # the number in the list, for folders of frames

    def parts(self) -> Iterable[str]:
        """Return the files that make up the source. Raises VideoError if an expected folder is none."""
        template = self.settings.filename_tmpl
        return [self.source] if template is None else frame_paths(self.source, template, self.frames)


def target_of(out: Path, source: str) -> Path:
    """Return the path of the re-encoded video: out/folder/name-DIGEST.mp4.

    The digest of the whole path keeps files of the same name apart.
    """
    path = os.path.abspath(source)
    # With 8 digits, a million videos of the same name would collide more than a hundred times.
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    folder, name = os.path.split(path)
    stem = os.path.splitext(name)[0][:50]  # names must not be longer than 255 bytes
    return Path(os.path.join(out, os.path.basename(folder), f"{stem}-{digest}.mp4"))


def reencode(job: Job) -> None:
    """Write job.target whole or not at all. Raises VideoError for an unreadable source, RunError for a full disk."""
    if job.settings.fps is not None:
        _write(job, _pictures(job), Fraction(job.settings.fps).limit_denominator(1001), lambda frame: Fraction(1))
        return
    with open_video(job.source) as container:
        stream = video_stream(job.source, container)
        packets = read_packets(job.source, container, stream)
        rate = Fraction(frame_rate(job.source, container, stream)).limit_denominator(1001)
        rate = rate if 1 <= rate <= 240 else Fraction(25)
        _write(job, sparse.all_frames(packets), rate, partial(sparse.pixel_shape, packets))


def _pictures(job: Job) -> Iterator[av.VideoFrame]:
    """Yield the frames of a folder. Raises VideoError."""
    size = None
    for path in job.parts():
        image = read_picture(*os.path.split(path))
        if image.shape != (size := size or image.shape):
            raise VideoError(job.source, "its frames differ in size")
        yield av.VideoFrame.from_ndarray(image, format="rgb24")


def _write(
    job: Job, frames: Iterator[av.VideoFrame], rate: Fraction, pixel_shape: Callable[[av.VideoFrame], Fraction]
) -> None:
    def write(path: Path) -> None:
        num_frames = encode(path, frames, rate, job.settings, pixel_shape)
        if num_frames == 0:
            raise VideoError(job.source, "no frame could be decoded")
        with open_video(str(path)) as written:
            promised = len(read_packets(str(path), written, video_stream(str(path), written)).shown)
        if promised != num_frames:
            raise RunError(f"{job.target}: {promised} of {num_frames} frames were written")

    job.target.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(job.target, write)


def encode(
    path: Path,
    frames: Iterator[av.VideoFrame],
    rate: Fraction,
    settings: Settings,
    pixel_shape: Callable[[av.VideoFrame], Fraction],
) -> int:
    """Write the frames as H.264 in MP4, upright, with even sides, and return their number.

    pixel_shape: takes the first frame, and returns width / height of its pixels.
    """
    options = {"crf": str(settings.crf), "preset": settings.preset, "g": str(settings.keyint)}
    num_frames = 0
    with av.open(f"file:{path}", "w", format="mp4") as out:  # "a:b.mp4" would name a protocol
        stream = out.add_stream("libx264", rate=rate, options=options)
        stream.codec_context.thread_count = 1  # videos are encoded in parallel
        for num_frames, frame in enumerate(frames, start=1):
            if num_frames == 1:
                shown = sparse.shown_size(frame)
                scale = min(1, settings.short_side / min(shown))
                stream.width, stream.height = width, height = [max(2, 2 * round(side * scale / 2)) for side in shown]
                stream.pix_fmt = "yuv420p"
                stream.codec_context.sample_aspect_ratio = pixel_shape(frame)
            image = sparse.as_shown(frame, width, height, "BICUBIC")
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            picture.pts, picture.time_base = num_frames - 1, 1 / rate
            out.mux(stream.encode(picture))
        if num_frames:
            out.mux(stream.encode(None))
    return num_frames
