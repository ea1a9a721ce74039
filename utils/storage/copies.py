"""Copies of remote files for as long as they are read.

They are gone with the context that made them; when its process is killed, by its parent or, when that is killed, by
the process itself (see utils/processes/child.py); when both are killed at once, by the next run.
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
# A folder of Linux that is no disk's.
MEMORY = "/dev/shm"
_YOUNG = 60  # seconds in which a folder may not be claimed yet


@contextlib.contextmanager
def on_this_machine(path: str, folder: Path | None = None) -> Iterator[str]:
    """Yield the path of a local file: the path itself, or a copy of a remote one that ends with the context.

    folder: made for the copy and removed with it; None: any.

    Raises OSError, StorageError where the file cannot be had; InputError without pyarrow, or without room for it.
    """
    if not is_remote(path):
        yield path
        return
    with claimed_folder(folder) as made:
        copy = made / f"copy{PurePosixPath(file_name(path)).suffix[:20]}"  # FFmpeg looks at the suffix as well
        copy_to_local(path, copy)
        yield str(copy)


@contextlib.contextmanager
def claimed_folder(folder: Path | None = None) -> Iterator[Path]:
    """Open a context with a folder for temporary files, gone with all of them afterwards. None: any name.

    Raises OSError where it cannot be made, InputError where there is no place for one.
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
    """Return where temporary files go, also of processes started from now on: in memory, on a disk for reading only.

    Raises InputError where there is no folder for them.
    """
    try:
        return Path(tempfile.gettempdir())
    except OSError:
        if not os.access(MEMORY, os.W_OK):
            raise InputError("no folder for temporary files can be written: TMPDIR can name one") from None
    os.environ["TMPDIR"] = tempfile.tempdir = MEMORY
    return Path(MEMORY)


def temporary_folder() -> Path:
    """Return a name for a folder of temporary files that nothing has; remove what killed programs have left beside it.

    Where there is no place for one it is a name that nothing can have: who reads local files alone needs none.
    """
    try:
        root = temporary_root()
        entries = list(os.scandir(root))
    except InputError:
        root, entries = Path(os.devnull), []
    except OSError:  # it may be written but not looked through
        entries = []
    for entry in entries:
        with contextlib.suppress(OSError):  # in use, or another user's
            # Before or after now: the clock may have been set back since.
            if _OUR_NAME.fullmatch(entry.name) and abs(time.time() - entry.stat().st_mtime) > _YOUNG:
                with _claimed(Path(entry.path)):
                    shutil.rmtree(entry.path)
    return root / f"paddle-tsn-{uuid.uuid4().hex}"


@contextlib.contextmanager
def _claimed(folder: Path) -> Iterator[None]:
    """Open a context in which this process alone has the folder. Raises OSError where another one has it.

    The system ends the claim of a killed process. On Windows, which locks no folders, open files cannot be removed.
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
