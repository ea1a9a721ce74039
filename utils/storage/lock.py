"""Locks for files and folders that only one run at a time may write.

When a process ends, even if it is killed, the system releases its locks: a killed run never blocks another.
"""

import os
import re
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from io import FileIO
from pathlib import Path
from time import monotonic, sleep

from utils.errors import InputError, RunError, os_errors
from utils.log import say
from utils.storage.files import unfinished, writing

try:
    import fcntl
except ImportError:  # Windows: the user must avoid two runs in one folder
    fcntl = None

# Seconds to wait for a lock: after a run was killed, its other processes need a moment to end.
PATIENCE = 5.0
# The file in every folder that a run writes to, as long as it does. It names the run, or is empty.
NAME = ".lock"


class FolderLock(AbstractContextManager):
    """The lock of the run that may write to a folder, until it is released or the run ends. A context manager."""

    def __init__(self, folder: Path, named: str):
        """Lock the existing folder. named: how the user gave it, such as --out DIR.

        Raises RunError if another run has the lock, or nothing can be written there.
        """
        self._path = folder / NAME
        with writing(self._path):
            self._file = hold(self._path)
        if self._file is None:
            raise RunError(
                f"{named}: another run is writing there{_owner(self._path)}: wait until it ends, or name another folder"
            )
        with suppress(OSError):  # on a full disk: the lock itself matters, the owner's name in it does not
            os.chmod(self._path, 0o666)  # if it outlives a killed run, another user of the folder can open it
            self._file.truncate(0)
            self._file.write(f"process {os.getpid()} on {socket.gethostname()}\n".encode())

    def release(self) -> None:
        """Release the folder for the next run; a second call does nothing."""
        if not self._file.closed:
            # If somebody has replaced the folder by a new one, the file there is another run's lock.
            ours = _is_at(self._file, self._path)
            if os.name == "nt":  # Windows removes no open file
                self._file.close()
            if ours:
                with suppress(OSError):  # a file that stays blocks nobody
                    self._path.unlink()
            self._file.close()

    def __exit__(self, *_) -> None:
        self.release()


@contextmanager
def locked_folder(folder: Path, named: str) -> Iterator[None]:
    """Open a context in which no other run writes to the folder.

    The folder is created if necessary, and removed again if it stays empty. named: see FolderLock. Raises InputError
    if it cannot be created, RunError if another run has the lock.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    with os_errors(InputError, f"{named}: cannot be created"):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        with FolderLock(folder, named):
            yield
    finally:
        with suppress(OSError):  # the folder is not empty
            for path in missing:
                path.rmdir()


def holds_others(folder: Path, first: str) -> bool:
    """Return whether a locked folder has more than the leftovers of a run killed while it wrote the file `first`."""
    ours = {NAME, *(path.name for path in unfinished(folder, re.escape(first)))}
    return any(path.name not in ours for path in folder.iterdir())


def open_locked(path: Path) -> FileIO:
    """Return the file for appending, created if necessary, unbuffered, and locked until it is closed.

    Use it for files of which each process of a run has its own: a process may outlive the folder's lock. Raises
    OSError, and RunError if another process has the file locked.
    """
    if (file := hold(path)) is None:
        raise RunError(f"{path}: another process is writing it: wait until it ends, or give another --save_dir")
    return file


def hold(path: Path, patience: float | None = None) -> FileIO | None:
    """Return the open, locked file; None if another process keeps the lock for longer than `patience` seconds.

    patience: None stands for PATIENCE. Raises OSError.
    """
    deadline = monotonic() + (PATIENCE if patience is None else patience)
    while True:
        file = open(path, "ab", buffering=0)  # noqa: SIM115  (the caller closes it)
        if _lock(file, path) and _is_at(file, path):
            return file
        file.close()
        if monotonic() > deadline:
            return None
        sleep(0.1)


def _lock(file: FileIO, path: Path) -> bool:
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:  # some network disks
            say(f"{path.parent}: no locks there ({error.strerror}): make sure that no other run writes to this folder")
    return True


def _is_at(file: FileIO, path: Path) -> bool:
    """Return whether the file still has this path: the process that held it may have renamed or removed it."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except OSError:
        return False


def _owner(path: Path) -> str:
    """Return the owner of the lock, in words; "" if it is unknown."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            said = file.read(200).strip()
    except OSError:
        return ""
    return f" ({said})" if said.isprintable() and said else ""
