"""Local copies of remote files, kept while they are read.

The context that makes a copy removes it. If its process is killed, its parent removes the copy; if the parent is
killed, the process does (see utils/processes/child.py); if both are killed at once, the next run does.
"""

import contextlib
import os
import re
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from utils.errors import InputError
from utils.storage.objects import copy_to_local, file_name, is_remote

_OUR_NAME = re.compile(r"paddle-tsn-[0-9a-f]{32}")
# Linux's folder in memory.
MEMORY = "/dev/shm"
_YOUNG = 60  # seconds: a younger folder may not be locked yet


@contextlib.contextmanager
def on_this_machine(path: str, folder: Path | None = None) -> Iterator[str]:
    """Yield a local path: `path` itself, or for a remote file a copy, which the context removes at its end.

    folder: made for the copy and removed with it; None: a temporary one.

    Raises OSError and StorageError if the file cannot be read; InputError without pyarrow, or without a place for it.
    """
    if not is_remote(path):
        yield path
        return
    with claimed_folder(folder) as made:
        copy = made / f"copy{PurePosixPath(file_name(path)).suffix[:20]}"  # FFmpeg also looks at the suffix
        copy_to_local(path, copy)
        yield str(copy)


@contextlib.contextmanager
def claimed_folder(folder: Path | None = None) -> Iterator[Path]:
    """Open a context with a folder for temporary files, removed with its files at the end. None: choose a name.

    Raises OSError if it cannot be made, InputError if there is no place for one.
    """
    temporary_root()
    folder = folder or temporary_folder()
    folder.mkdir(mode=0o700, exist_ok=True)
    try:
        with _claimed(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def temporary_root() -> Path:
    """Return the folder for temporary files, also for new child processes; it is in memory if all disks are read-only.

    Raises InputError if there is no such folder.
    """
    try:
        return Path(tempfile.gettempdir())
    except OSError:
        if not os.access(MEMORY, os.W_OK):
            raise InputError("no folder for temporary files can be written: TMPDIR can name one") from None
    os.environ["TMPDIR"] = tempfile.tempdir = MEMORY
    return Path(MEMORY)


def temporary_folder() -> Path:
    """Return an unused name for a folder of temporary files; remove the folders that killed programs left beside it.

    If there is no place for one, return a name that cannot be used: a process that reads only local files needs none.
    """
    try:
        root = temporary_root()
        entries = list(os.scandir(root))
    except InputError:
        root, entries = Path(os.devnull), []
    except OSError:  # it can be written but not listed
        entries = []
    for entry in entries:
        with contextlib.suppress(OSError):  # it is in use, or another user's
            # abs(): the clock may have been set back since.
            if _OUR_NAME.fullmatch(entry.name) and abs(time.time() - entry.stat().st_mtime) > _YOUNG:
                with _claimed(Path(entry.path)):
                    shutil.rmtree(entry.path)
    return root / f"paddle-tsn-{uuid.uuid4().hex}"


@contextlib.contextmanager
def _claimed(folder: Path) -> Iterator[None]:
    """Open a context in which this process has the folder locked. Raises OSError if another process has it.

    The system releases the lock of a killed process. Windows cannot lock folders, but does not remove open files.
    """
    if os.name == "nt":
        yield
        return
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
