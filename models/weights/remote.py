"""Weights in object storage: copied once into the cache folder, kept for the next run, and called by where they lie."""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from utils.errors import InputError
from utils.files import cache_folder, needed_cache_folder
from utils.log import say
from utils.storage import StorageError, copy_to_local, extended, file_name, list_files, look_up

if TYPE_CHECKING:
    from pyarrow.fs import FileInfo

COPIES_KEPT = 4
_NOTE = ".origin"  # the file that holds the remote path
_ABANDONED = 3600  # seconds
_FOLDER = "weights"  # in the cache folder; in it KEY/.origin, and the file or folder by its own name beside that


def fetch(path: str, suffixes: tuple[str, ...], max_bytes: int) -> Path:
    """A local copy of the remote file or folder `path` means: itself, or with one of the suffixes behind it.

    The copy is made anew when a name, a size or a time of change differs. Of a folder its files are copied, not those
    of folders within. Raises InputError, one line with the path and the reason.
    """
    try:
        path, files = _find(path, suffixes)
        if sum(info.size for info in files.values()) > max_bytes:
            raise InputError(f"{path}: larger than {max_bytes >> 30} GB, which no weights of a ResNet are")
        facts = [path, sorted((name, info.size, info.mtime_ns) for name, info in files.items())]
        root = needed_cache_folder(path) / _FOLDER
        place = root / hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]
        if place.is_dir():
            with contextlib.suppress(OSError):  # a folder shared by others may be for reading only
                os.utime(place)  # the longest unused are removed first
        else:
            say(f"copying {path} to {place}")
            _copy(path, files, place)
            _prune(root)
        return place / _name(path)
    except StorageError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be copied to the cache folder: {error.strerror or error}") from None


def origin(path: str | os.PathLike) -> str:
    """What to call weights by: the remote path of a copy that `fetch` has made, or of a file in it; else the path."""
    root = cache_folder()
    try:
        place, _, *rest = Path(path).relative_to(root / _FOLDER).parts
        url = (root / _FOLDER / place / _NOTE).read_text(encoding="utf-8")
    except (TypeError, ValueError, OSError):  # no cache folder, no copy of ours
        return str(path)
    for name in rest:
        url = extended(url, f"/{name}")
    return url


def _find(path: str, suffixes: tuple[str, ...]) -> "tuple[str, dict[str, FileInfo]]":
    """The path that is there, and its files: by name within a folder, '' being the file that the path itself is."""
    for candidate in (extended(path, suffix) for suffix in ("", *suffixes)):
        info = look_up(candidate)
        if info.is_file:
            return candidate, {"": info}
        if info.type.name == "Directory":
            return candidate, {info.base_name: info for info in list_files(candidate)}
    raise InputError(f"{path}: no such weights, neither a file nor a folder, nor with {', '.join(suffixes)} behind")


def _copy(path: str, files: "dict[str, FileInfo]", place: Path) -> None:
    """Makes the folder `place` with the copy: whole, or not at all. Several processes may do so at the same time."""
    place.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=".", dir=place.parent))
    try:
        (unfinished / _NOTE).write_text(path, encoding="utf-8")
        copy = unfinished / _name(path)
        if "" not in files:
            copy.mkdir()
        for name in files:
            copy_to_local(extended(path, f"/{name}") if name else path, copy / name)
        try:
            os.rename(unfinished, place)
        except OSError:
            if not place.is_dir():  # no other process was faster
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _name(path: str) -> str:
    return file_name(path) or "bucket"


def _prune(root: Path) -> None:
    """Removes the longest unused copies beyond COPIES_KEPT, and what killed processes have left an hour ago."""
    entries = sorted(os.scandir(root), key=lambda entry: entry.stat().st_mtime, reverse=True)
    copies = [entry for entry in entries if not entry.name.startswith(".")]
    abandoned = [e for e in entries if e.name.startswith(".") and e.stat().st_mtime < time.time() - _ABANDONED]
    for entry in copies[COPIES_KEPT:] + abandoned:
        shutil.rmtree(entry, ignore_errors=True)
