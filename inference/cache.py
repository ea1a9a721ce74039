"""Folders that took time to make, kept between runs: whole and as they were made, or made again.

They lie in $XDG_CACHE_HOME/paddle-tsn or ~/.cache/paddle-tsn; $PADDLE_TSN_CACHE names another folder, or says `off`.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from utils.files import CACHE_VARIABLE, cache_folder
from utils.log import say

ENTRIES_KEPT = 4  # of about 100 MB each
_MANIFEST = "manifest.json"  # file -> SHA-256
_ABANDONED = 3600  # seconds after which an unfinished folder belongs to nobody any more

_OUR_NAME = re.compile(r"[0-9a-f]{64}|\.[0-9a-f]{64}-\w+")  # a key, or a key's folder while it is made

Result = TypeVar("Result")


def load_or_make(key: str, make: Callable[[Path], None], load: Callable[[Path], Result]) -> Result:
    """What `load` reads from the folder that `make` has filled for `key`, now or in an earlier run.

    key: a SHA-256 that differs whenever the content would. A damaged folder is made again. Where nothing can
    be kept, it is made in a temporary folder, and the log says why. Processes may do so at the same time.
    """
    root = cache_folder()
    if root is not None and _is_whole(root / key):
        with contextlib.suppress(OSError):  # a folder shared by others may be for reading only
            os.utime(root / key)  # the longest unused are removed first
        try:
            return load(root / key)
        except (OSError, RuntimeError, ValueError) as error:
            say(f"{root / key}: made again, as it cannot be used: {_last_line(error)}")
            shutil.rmtree(root / key, ignore_errors=True)
    if root is not None:
        try:
            root.mkdir(parents=True, exist_ok=True)
            return _make_in(root, key, make, load)
        except (OSError, RuntimeError) as error:
            say(f"{root}: the network cannot be kept for the next run (see {CACHE_VARIABLE}): {_last_line(error)}")
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder))
        return load(Path(folder))


def digest(path: Path) -> str:
    """The SHA-256 of a file's content, or of the names and contents of a folder's files, in hexadecimal digits."""
    if not path.is_dir():
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    lines = "".join(f"{digest(file)} {file.name}\n" for file in sorted(path.iterdir()) if file.is_file())
    return hashlib.sha256(os.fsencode(lines)).hexdigest()


def _make_in(root: Path, key: str, make: Callable[[Path], None], load: Callable[[Path], Result]) -> Result:
    """Makes the folder under another name, loads from it, and only then gives it its own."""
    folder = Path(tempfile.mkdtemp(prefix=f".{key}-", dir=root))
    try:
        make(folder)
        manifest = {file.name: digest(file) for file in folder.iterdir()}
        (folder / _MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
        result = load(folder)
        if not _is_whole(root / key):  # another process may have been faster
            shutil.rmtree(root / key, ignore_errors=True)
            os.rename(folder, root / key)
        _prune(root)
        return result
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _is_whole(folder: Path) -> bool:
    """Whether the folder is there and every file in it as it was made."""
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        return all(digest(folder / name) == value for name, value in manifest.items())
    except (OSError, ValueError, AttributeError):
        return False


def _prune(root: Path) -> None:
    """Removes the longest unused beyond ENTRIES_KEPT, and what dead processes have left; nothing that is not ours."""
    ours = [entry for entry in os.scandir(root) if _OUR_NAME.fullmatch(entry.name)]
    newest_first = sorted(ours, key=lambda entry: entry.stat().st_mtime, reverse=True)
    unfinished = [entry for entry in newest_first if entry.name.startswith(".")]
    for entry in [entry for entry in newest_first if entry not in unfinished][ENTRIES_KEPT:]:
        shutil.rmtree(entry, ignore_errors=True)
    for entry in unfinished:
        if entry.stat().st_mtime < time.time() - _ABANDONED:
            shutil.rmtree(entry, ignore_errors=True)


def _last_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[-1]
