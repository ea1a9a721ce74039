"""Weights in object storage: copied once to the cache folder, kept for the next run, and named by their remote path."""

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from utils.errors import InputError
from utils.log import say
from utils.storage.files import cache_folder, needed_cache_folder
from utils.storage.objects import StorageError, copy_to_local, extended, file_name, list_files, look_up
from utils.storage.shelf import Shelf

if TYPE_CHECKING:
    from pyarrow.fs import FileInfo

BYTES_KEPT = 2 << 30
_NOTE = ".origin"  # the file that holds the remote path
_FOLDER = "weights"  # in the cache folder; it contains KEY/.origin and KEY/NAME, the file or folder under its own name


def fetch(path: str, suffixes: tuple[str, ...], max_bytes: int) -> Path:
    """Return a local copy of the remote file or folder that `path` means: itself, or with one of the suffixes.

    It is copied again if a name, a size or a time of change differs. Only a folder's own files are copied, not its
    subfolders. Raises InputError, one line with the path and the reason.
    """
    try:
        path, files = _find(path, suffixes)
        if sum(info.size for info in files.values()) > max_bytes:
            raise InputError(f"{path}: larger than {max_bytes >> 30} GB: too large for a ResNet's weights")
        facts = [path, sorted((name, info.size, info.mtime_ns) for name, info in files.items())]
        shelf = Shelf(needed_cache_folder(path) / _FOLDER, BYTES_KEPT)
        key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]
        place = shelf.place(key)
        if place.is_dir():
            shelf.touch(key)
        else:
            say(f"copying {path} to {place}")
            shelf.make(key, lambda folder: _copy(path, files, folder), place.is_dir)
        return place / _name(path)
    except StorageError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be copied to the cache folder: {error.strerror or error}") from None


def origin(path: str | os.PathLike) -> str:
    """Return the path to show for weights: the remote path for a copy by `fetch` or a file in it, else `path`."""
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
    """Return the path that exists, and {name: facts} of the files in its folder, or {'': facts} if it is a file.

    Raises InputError if no path exists.
    """
    for candidate in (extended(path, suffix) for suffix in ("", *suffixes)):
        info = look_up(candidate)
        if info.is_file:
            return candidate, {"": info}
        if info.type.name == "Directory":
            return candidate, {info.base_name: info for info in list_files(candidate)}
    raise InputError(f"{path}: no such weights, also not with the ending {', '.join(suffixes)}")


def _copy(path: str, files: "dict[str, FileInfo]", folder: Path) -> None:
    (folder / _NOTE).write_text(path, encoding="utf-8")
    copy = folder / _name(path)
    if "" not in files:
        copy.mkdir()
    for name in files:
        copy_to_local(extended(path, f"/{name}") if name else path, copy / name)


def _name(path: str) -> str:
    return file_name(path) or "bucket"
