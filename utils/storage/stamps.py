"""A signature that shows whether the file at a path has changed, without reading it."""

import os

from utils.storage.objects import is_remote


def signature(path: str) -> list[int] | None:
    """Return [bytes, time of the last change in ns] of a local file; None for a remote or a missing file."""
    try:
        status = None if is_remote(path) else os.stat(path)
    except (OSError, ValueError):
        status = None
    return [status.st_size, status.st_mtime_ns] if status else None
