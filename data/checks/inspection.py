"""Read videos as training does, in reader processes, and describe them. The clips themselves are discarded."""

import base64
import hashlib
import os
import zlib
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from data.lists.similar import SMALL, grey, how_of, small_pictures
from reader.apart import Unanswered, VideoProcess
from reader.clock import Clock
from reader.dataset import ClipSpec, VideoError, VideoFacts, read_clip
from reader.frame_folder import frame_paths
from reader.packets import open_video, read_packets, video_stream
from utils.errors import os_errors
from utils.storage.copies import on_this_machine, temporary_folder
from utils.storage.objects import is_remote
from utils.storage.shelf import digest
from utils.storage.stamps import signature


def is_unchanged(record: dict) -> bool:
    """Return whether `inspect` would find the same again. A readable remote file counts as unchanged."""
    if is_remote(record["video"]):
        return record["error"] is None
    return not record["again"] and record["file"] == signature(record["video"])


class Inspector(VideoProcess):
    """A reader process with the same limits as in training. One thread at a time may call `inspect`."""

    def __init__(self, spec: ClipSpec, time_limit: float, num_classes: int, pictures: bool = False):
        folder = temporary_folder()
        super().__init__(partial(_read, spec, folder, pictures), time_limit, scratch=folder)
        self._num_classes = num_classes

    def inspect(self, video: tuple[str, int, int | None]) -> dict:
        """Return a record of a video, ready for JSON.

        video: (path, position in its list, which seeds what training draws, number of frames or None).

        "video": the path; "file": its signature (utils/storage/stamps.py); "error": why it cannot be read, or None;
        "again": whether the machine may be to blame. A readable video also has "bytes"; "end", a checksum of the last
        bytes; "frames"; "width" and "height" as shown; "seconds" and "fps", which pickles and folders of frames have
        not (None); "label", which only pickles have; on request "pictures", thumbnails in base64.

        Raises InputError and RunError for faults that are not the video's.
        """
        path = video[0]
        record = {"video": path, "file": signature(path), "error": None, "again": False}
        try:
            content = self.answer(*video)
        except VideoError as error:
            return record | {"error": error.reason, "again": isinstance(error, Unanswered)}
        label = content["label"]
        if label is not None and not 0 <= label < self._num_classes:
            return record | {"error": f"its label {label} is outside 0..{self._num_classes - 1}"}
        return record | content


def _read(spec: ClipSpec, folder: Path, pictures: bool, path: str, index: int, frames: int | None) -> dict:
    """Return the record of a readable video. folder: for the copy of a remote one."""
    with on_this_machine(path, folder) as local:
        seen = VideoFacts()
        _, label = read_clip(spec, local, 0, index, folder, seen, frames)
        seconds = _seconds(local) if spec.frame_format == "mp4" else None
        more = {}
        if pictures:
            small = grey(small_pictures(local, SMALL, how_of(spec), frames))
            more = {"pictures": base64.b64encode(small).decode()}
        size, part = 0, local
        for part in _parts(local, spec, frames):
            with os_errors(partial(VideoError, path), f"frame {os.path.basename(part)}"):
                size += os.path.getsize(part)
        return more | {
            "bytes": size,
            "end": _checksum_of_end(part),
            "frames": seen.num_frames,
            "width": seen.width,
            "height": seen.height,
            "seconds": seconds,
            "fps": seen.num_frames / seconds if seconds else None,
            "label": label,
        }


def _parts(path: str, spec: ClipSpec, frames: int | None) -> Iterable[str]:
    """Return the files that make up a video."""
    return frame_paths(path, spec.filename_tmpl, frames) if spec.frame_format == "frames" else [path]


def content_digest(record: dict, spec: ClipSpec) -> str:
    """Return the SHA-256 of a readable video's file, or of the digests of a folder's frames. Raises OSError."""
    with on_this_machine(record["video"]) as local:
        digests = [digest(Path(part)) for part in _parts(local, spec, record["frames"])]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def _checksum_of_end(path: str) -> int:
    """Return the CRC-32 of the last 64 KB: different files of equal size usually differ there."""
    with open(path, "rb") as file:
        file.seek(max(0, os.path.getsize(path) - 65536))
        return zlib.crc32(file.read(65536))


def _seconds(path: str) -> float:
    """Return the length of a readable video from the times of its frames, without decoding."""
    with open_video(path) as container:
        stream = video_stream(path, container)
        return Clock(read_packets(path, container, stream, kept_bytes=0), container, stream).duration
