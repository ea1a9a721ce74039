"""Files and folders that one run at a time may write.

The system ends the lock of a process together with it, however it ends: what a killed run leaves blocks nobody.
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
except ImportError:  # Windows: two runs in one folder are the user's to avoid
    fcntl = None

# Seconds in which the other processes of a run that was killed have ended as well.
PATIENCE = 5.0
# In every folder that is written to, for as long as it is: empty, or who does, in words.
NAME = ".lock"


class FolderLock(AbstractContextManager):
    """What the one run has that may write to a folder, until it lets go of it or ends. A context manager."""

    def __init__(self, folder: Path, named: str):
        """Take the folder, which is there. named: how the user has named it, such as --out DIR.

        Raises RunError where another run has it, or nothing can be written there.
        """
        self._path = folder / NAME
        with writing(self._path):
            self._file = _locked(self._path)
        if self._file is None:
            raise RunError(
                f"{named}: another run is writing there{_owner(self._path)}: wait until it ends, or name another folder"
            )
        with suppress(OSError):  # a full disk: who has the folder is a courtesy, that somebody has it is not
            os.chmod(self._path, 0o666)  # where it outlives a killed run, another user of the folder opens it
            self._file.truncate(0)
            self._file.write(f"process {os.getpid()} on {socket.gethostname()}\n".encode())

    def release(self) -> None:
        """Let the next run in; nothing happens the second time."""
        if not self._file.closed:
            # Not the lock of another run, where somebody has moved the folder away and made a new one.
            ours = _is_at(self._file, self._path)
            if os.name == "nt":  # it removes no open file
                self._file.close()
            if ours:
                with suppress(OSError):  # what stays there blocks nobody
                    self._path.unlink()
            self._file.close()

    def __exit__(self, *_) -> None:
        self.release()


@contextmanager
def locked_folder(folder: Path, named: str) -> Iterator[None]:
    """Open a context in which no other run writes to the folder.

    It is made if need be; if it stays empty, it goes again. named: as for FolderLock. Raises InputError where it cannot
    be made, RunError where another run has it.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    with os_errors(InputError, f"{named}: cannot be created"):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        with FolderLock(folder, named):
            yield
    finally:
        with suppress(OSError):  # there is something in it
            for path in missing:
                path.rmdir()


def holds_others(folder: Path, first: str) -> bool:
    """Return whether a locked folder has anything but what a run leaves that is killed as it writes `first`, a file."""
    ours = {NAME, *(path.name for path in unfinished(folder, re.escape(first)))}
    return any(path.name not in ours for path in folder.iterdir())


def open_locked(path: Path) -> FileIO:
    """Return the file for appending, created if need be, unbuffered, and locked until it is closed.

    For the files of which each process of a run has its own: when the folder's lock is gone, one of them may live on.
    Raises OSError, and RunError where another process holds it.
    """
    if (file := _locked(path)) is None:
        raise RunError(f"{path}: another process is writing it: wait until it ends, or give another --save_dir")
    return file


def _locked(path: Path) -> FileIO | None:
    """Return the open file with its lock; None where another process keeps it. Raises OSError."""
    deadline = monotonic() + PATIENCE
    while True:
        file = open(path, "ab", buffering=0)  # noqa: SIM115  (closed by whoever asked for it)
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
    """Return whether the file still has this path: the process that held it may have renamed it, or removed it."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except OSError:
        return False


def _owner(path: Path) -> str:
    """Return who has the lock, in words; "" where that is not known."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            said = file.read(200).strip()
    except OSError:
        return ""
    return f" ({said})" if said.isprintable() and said else ""
