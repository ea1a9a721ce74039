"""Reads videos as training does, in reader processes, and says what they are; the clips themselves are let go."""

import os
import zlib
from collections.abc import Iterable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from reader.dataset import ClipSpec, Seen, VideoError, read_clip
from reader.packets import open_video, video_stream
from reader.workers import describe_failure, limit_memory
from utils.copies import on_this_machine, temporary_folder
from utils.errors import InputError, RunError
from utils.processes.child import Child, NoAnswer
from utils.processes.pool import ask_all
from utils.storage import is_remote


class Video(NamedTuple):
    """A video to be read; `index`, its position in its list, is what training draws its frames from."""

    path: str
    index: int


def signature(path: str) -> list[int] | None:
    """[bytes, time of the last change in ns] of a local file; None for a remote one, and where there is no file."""
    try:
        status = None if is_remote(path) else os.stat(path)
    except (OSError, ValueError):
        status = None
    return [status.st_size, status.st_mtime_ns] if status else None


def is_unchanged(record: dict) -> bool:
    """Whether what `inspect` found would be found again. Of remote files only the readable ones are taken for that."""
    if is_remote(record["video"]):
        return record["error"] is None
    return not record["again"] and record["file"] == signature(record["video"])


class Inspector(Child):
    """A reader process, with the limits of those of training. One thread at a time may call `inspect`."""

    def __init__(self, spec: ClipSpec, time_limit: float, num_classes: int):
        folder = temporary_folder()
        super().__init__("a reader process", _serve, spec, folder, scratch=folder)
        self._time_limit, self._num_classes = time_limit, num_classes

    def inspect(self, video: Video) -> dict:
        """What is found out about a video, as JSON has it.

        "video": its path; "file": see `signature`; "error": why it cannot be read, or None; "again": whether that may
        have been the machine's fault. Of a readable one also "bytes"; "end", a checksum of the last of them; "frames";
        "width" and "height" as shown; "seconds" and "fps", None of a pickle, whose own "label" is there.

        Raises InputError, RunError for what is no fault of the video.
        """
        record = {"video": video.path, "file": signature(video.path), "error": None, "again": False}
        try:
            kind, content = self.ask(video, self._time_limit)
        except NoAnswer as error:
            return record | {"error": str(error), "again": True}
        if kind == "input":
            raise InputError(content)
        if kind == "failed":
            raise RunError(content)
        if kind == "unreadable":
            return record | {"error": content}
        label = content["label"]
        if label is not None and not 0 <= label < self._num_classes:
            return record | {"error": f"its label {label} is outside 0..{self._num_classes - 1}"}
        return record | content


def inspect_all(
    videos: Iterable[Video], number: int, spec: ClipSpec, time_limit: float, num_classes: int
) -> Iterator[dict]:
    """What `Inspector.inspect` says of each video, as it comes, by so many processes; close it, and they are gone."""
    children = [Inspector(spec, time_limit, num_classes) for _ in range(number)]
    return ask_all(children, Inspector.inspect, videos)


def _serve(pipe: Connection, spec: ClipSpec, folder: Path) -> None:
    """(kind, what is found) for videos until the pipe closes. `folder` is made for the copy of a remote one."""
    limit_memory()
    pipe.send("ready")
    while True:
        video = pipe.recv()
        try:
            answer = "read", _read(spec, video, folder)
        except VideoError as error:
            answer = "unreadable", error.reason
        except OSError as error:  # of the copy
            answer = "unreadable", error.strerror or str(error)
        except InputError as error:
            answer = "input", str(error)
        except Exception as error:  # not the video's fault: the parent stops with this message
            answer = "failed", describe_failure(video.path, error)
        pipe.send(answer)


def _read(spec: ClipSpec, video: Video, folder: Path) -> dict:
    with on_this_machine(video.path, folder) as local:
        seen = Seen()
        _, label = read_clip(spec, local, 0, video.index, seen=seen)
        rate = None if spec.frame_format == "pkl" else _frame_rate(local)
        return {
            "bytes": os.path.getsize(local),
            "end": _checksum_of_end(local),
            "frames": seen.num_frames,
            "width": seen.width,
            "height": seen.height,
            "seconds": seen.num_frames / rate if rate else None,
            "fps": rate,
            "label": label,
        }


def _checksum_of_end(path: str) -> int:
    """The CRC-32 of the last 64 KB, in which files that have the same size by chance differ."""
    with open(path, "rb") as file:
        file.seek(max(0, os.path.getsize(path) - 65536))
        return zlib.crc32(file.read(65536))


def _frame_rate(path: str) -> float | None:
    """Frames per second on average, as the header has it; nothing is decoded for it."""
    with open_video(path) as container:
        rate = video_stream(path, container).average_rate
        return float(rate) if rate else None
