"""Files that take time to make, kept between runs. A file that has changed is made again.

They lie in $XDG_CACHE_HOME/paddle-tsn or ~/.cache/paddle-tsn; $PADDLE_TSN_CACHE names another folder, or is `off`.
"""

import hashlib
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np

from utils.errors import RunError, last_line
from utils.log import say
from utils.storage.copies import MEMORY, temporary_root
from utils.storage.files import CACHE_VARIABLE, cache_folder
from utils.storage.shelf import Shelf, digest

# Enough to compare three precisions of three networks: a ResNet-50 takes 100 MB.
BYTES_KEPT = 1 << 30
# More bytes than the graph of a large network and its weights take.
_ROOM = 4 << 30
_MANIFEST = "manifest.json"  # file -> SHA-256

Files = Mapping[str, np.ndarray]  # name -> content, uint8
Result = TypeVar("Result")


def read_kept(key: str) -> Files | None:
    """Return the files kept under `key`, if all are there with their original content; otherwise None.

    The content is read once, compared and returned, so it does not matter if a file changes later. key: a SHA-256 that
    differs whenever the content would.
    """
    root = cache_folder()
    if root is None:
        return None
    try:
        manifest = json.loads((root / key / _MANIFEST).read_text(encoding="utf-8"))
        files = {name: np.fromfile(root / key / name, np.uint8) for name in manifest}
    except (OSError, ValueError, TypeError):
        return None
    return files if manifest == {name: hashlib.sha256(content).hexdigest() for name, content in files.items()} else None


def load_or_make(
    key: str, kept: Files | None, load: Callable[[Files], Result], make: Callable[[Path], Result]
) -> Result:
    """Return the result of `load` on the kept files or, if there are none, the result of `make`.

    make: leaves the files to keep in the given folder. If nothing can be kept, the log says why. Several processes may
    call it at the same time.
    """
    root = cache_folder()
    shelf = root and Shelf(root, BYTES_KEPT)
    if kept is not None:
        try:
            result = load(kept)
        except (KeyError, OSError, RuntimeError, TypeError, ValueError, zipfile.BadZipFile) as error:
            say(f"{shelf.place(key)}: made again, as it cannot be used: {last_line(error)}")
            shutil.rmtree(shelf.place(key), ignore_errors=True)
        else:
            shelf.touch(key)
            return result
    made: list[Result] = []

    def fill(folder: Path) -> None:
        made.append(make(folder))
        manifest = {file.name: digest(file) for file in folder.iterdir()}
        (folder / _MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")

    if shelf is not None:
        try:
            shelf.make(key, fill, lambda: read_kept(key) is not None)
        except (OSError, RunError) as error:
            if isinstance(error, RunError) and not _is_unfit(root):
                raise
            what = f"{root}: the network cannot be kept for the next run (see {CACHE_VARIABLE})"
            say(f"{what}: {last_line(error)}")
    elif os.environ.get(CACHE_VARIABLE) != "off":
        say(f"the network cannot be kept for the next run (see {CACHE_VARIABLE}): there is no home folder")
    return made[0] if made else _made_unkept(make)


def _made_unkept(make: Callable[[Path], Result]) -> Result:
    """Return the result of `make`, called with a temporary folder that is removed afterwards.

    The folder is in memory if the place for temporary files is full. Raises InputError if neither can be used, and the
    errors of `make`.
    """
    place = temporary_root()
    try:
        return _made_in(place, make)
    except RunError:
        if not _is_unfit(place) or place == Path(MEMORY) or not os.access(MEMORY, os.W_OK):
            raise
    return _made_in(Path(MEMORY), make)


def _is_unfit(place: Path) -> bool:
    """Return whether the place may be the reason of a failure: Paddle and OpenVINO need space and a UTF-8 path."""
    if any("\ud800" <= c <= "\udfff" for c in str(place)):
        return True
    return shutil.disk_usage(place).free < _ROOM


def _made_in(place: Path, make: Callable[[Path], Result]) -> Result:
    try:
        with tempfile.TemporaryDirectory(dir=place) as folder:
            return make(Path(folder))
    except OSError as error:
        raise RunError(f"{place}: the network's graph cannot be made there: {last_line(error)}") from None
