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
from typing import TextIO

from utils.storage import copy_to_local, file_name, is_remote

_OUR_NAME = re.compile(r"paddle-tsn-[0-9a-f]{32}")
_YOUNG = 60  # seconds in which a folder may not be claimed yet


@contextlib.contextmanager
def on_this_machine(path: str, folder: Path | None = None) -> Iterator[str]:
    """A context with the path of a local file: the path itself, or a copy of a remote one that ends with the context.

    folder: made for the copy and removed with it; None: any.

    Raises OSError, StorageError where the file cannot be had; InputError without pyarrow.
    """
    if not is_remote(path):
        yield path
        return
    folder = folder or temporary_folder()
    folder.mkdir(mode=0o700, exist_ok=True)
    try:
        with _claimed(folder):
            copy = folder / f"copy{PurePosixPath(file_name(path)).suffix[:20]}"  # FFmpeg looks at the suffix as well
            copy_to_local(path, copy)
            yield str(copy)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def claimed_folder() -> Iterator[Path]:
    """A context with a new folder for temporary files, gone with all of them afterwards."""
    folder = temporary_folder()
    folder.mkdir(mode=0o700)
    try:
        with _claimed(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def open_text(path: str, **how: str | None) -> Iterator[TextIO]:
    """A context with the file opened for reading text; `how`: arguments of `open`. Raises as on_this_machine does."""
    with on_this_machine(path) as local, open(local, **how) as file:
        yield file


def temporary_folder() -> Path:
    """A name for a folder of temporary files that nothing has; what killed programs have left beside it is removed."""
    root = Path(tempfile.gettempdir())
    for entry in os.scandir(root):
        with contextlib.suppress(OSError):  # in use, or another user's
            if _OUR_NAME.fullmatch(entry.name) and entry.stat().st_mtime < time.time() - _YOUNG:
                with _claimed(Path(entry.path)):
                    shutil.rmtree(entry.path)
    return root / f"paddle-tsn-{uuid.uuid4().hex}"


@contextlib.contextmanager
def _claimed(folder: Path) -> Iterator[None]:
    """A context in which this process alone has the folder. Raises OSError where another one has it.

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
