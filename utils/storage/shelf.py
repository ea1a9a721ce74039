"""Keep folders, each under a digest of its sources: whole or missing; the least recently used are removed first."""

import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_ABANDONED = 3600  # seconds after which an unfinished folder counts as abandoned
_KEY = r"[0-9a-f]{32,64}"
_OUR_NAME = re.compile(rf"{_KEY}|\.{_KEY}-\w+")  # a key's folder, finished or while it is made


@dataclass(frozen=True)
class Shelf:
    """The place of such folders, beside other files. Several processes may use it at the same time."""

    root: Path
    most: int  # bytes that are kept, in addition to the folder used last

    def place(self, key: str) -> Path:
        """Return the place of a key's folder, which need not exist; key: a digest in at least 32 hexadecimal digits."""
        return self.root / key

    def touch(self, key: str) -> None:
        """Note that the folder has been used."""
        with suppress(OSError):  # a shared folder may be read-only
            os.utime(self.place(key))

    def make(self, key: str, fill: Callable[[Path], None], is_whole: Callable[[], bool]) -> None:
        """Let `fill` fill a new folder, and move it to the key's place, unless `is_whole` finds a whole one there.

        Raises OSError if it cannot be written, and what `fill` raises.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{key}-", dir=self.root))
        try:
            fill(folder)
            if not is_whole():  # if it is, another process was faster
                shutil.rmtree(self.place(key), ignore_errors=True)
                try:
                    os.rename(folder, self.place(key))
                except OSError:
                    if not is_whole():
                        raise
            self._prune()
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _prune(self) -> None:
        """Remove the least recently used folders beyond `most`, and those of dead processes; touch no other files."""
        ours = [entry for entry in os.scandir(self.root) if _OUR_NAME.fullmatch(entry.name)]
        kept = 0
        for entry in sorted(ours, key=lambda entry: entry.stat().st_mtime, reverse=True):
            if entry.name.startswith("."):
                # abs(): the clock may have been set back since.
                unused = abs(time.time() - entry.stat().st_mtime) > _ABANDONED
            else:
                unused = kept > self.most
                kept += _size(Path(entry))
            if unused:
                shutil.rmtree(entry, ignore_errors=True)


def _size(folder: Path) -> int:
    total = 0
    for file in folder.rglob("*"):
        with suppress(OSError):  # another process has just removed it
            total += file.stat().st_size
    return total


def digest(path: Path) -> str:
    """Return the SHA-256 of a file's content, or of a folder's files, names and contents, in hexadecimal digits."""
    if not path.is_dir():
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    lines = "".join(f"{digest(file)} {file.name}\n" for file in sorted(path.iterdir()) if file.is_file())
    return hashlib.sha256(os.fsencode(lines)).hexdigest()
