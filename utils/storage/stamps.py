"""A signature that shows whether the file at a path has changed, without reading it."""

import os
import stat
from hashlib import blake2b

from utils.storage.objects import is_remote


def signature(path: str) -> list[int] | None:
    """Return [bytes, time of the last change in ns] of a local file; None for a remote or a missing file.

    For a folder: [a digest of the names, sizes and times of everything in it, the latest of the times]. Overwriting a
    frame changes neither the size nor the time of the folder itself. 300 frames take 0.5 to 4 ms.
    """
    try:
        status = None if is_remote(path) else os.stat(path)
        if status and stat.S_ISDIR(status.st_mode):
            return _of_folder(path, status.st_mtime_ns)
    except (OSError, ValueError):
        status = None
    return [status.st_size, status.st_mtime_ns] if status else None


def _of_folder(path: str, latest: int) -> list[int]:
    lines = []
    with os.scandir(path) as entries:
        for entry in entries:
            one = _status(entry)
            lines.append(f"{one.st_size} {one.st_mtime_ns} {entry.name}\0".encode("utf-8", "surrogateescape"))
            latest = max(latest, one.st_mtime_ns)
    found = blake2b(b"".join(sorted(lines)), digest_size=8).digest()
    return [int.from_bytes(found) >> 1, latest]  # 63 bits: kept as int64


def _status(entry: os.DirEntry) -> os.stat_result:
    """Return the status of a link's target, or of the link itself if it has none."""
    try:
        return entry.stat()
    except OSError:
        return entry.stat(follow_symlinks=False)
