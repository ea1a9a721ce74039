"""A file that one process at a time may write."""

import os
import time
from io import FileIO
from pathlib import Path

from utils.errors import RunError

try:
    import fcntl
except ImportError:  # Windows: two runs in one folder are the user's to avoid
    fcntl = None

# Seconds in which the other processes of a run that was killed have ended as well.
PATIENCE = 5.0


def open_locked(path: Path, flag: str = "--save_dir") -> FileIO:
    """The file for appending, created if need be, unbuffered, and locked until it is closed.

    flag: names its folder.
    Raises OSError, and RunError where another process holds it.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        file = open(path, "ab", buffering=0)  # noqa: SIM115  (closed by whoever asked for it)
        if _lock(file) and _is_at(file, path):
            return file
        file.close()
        if time.monotonic() > deadline:
            raise RunError(f"{path}: another process is writing it: wait for its end, or give another {flag}")
        time.sleep(0.1)


def _lock(file: FileIO) -> bool:
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return not isinstance(error, BlockingIOError)  # else a file system without locks
    return True


def _is_at(file: FileIO, path: Path) -> bool:
    """Whether the file still has this path: the process that held it may have renamed it, or removed it."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False
