"""Locate weights by a path, an address or a name, before anything is read."""

import os
from pathlib import Path

from models.weights.exported import is_exported
from models.weights.remote import fetch
from utils.config.published import SUFFIXES, find_published, published_weights, similar_name
from utils.errors import InputError
from utils.storage.objects import is_remote

# Size of a file, or of all files in a folder. A ResNet-152 with its momentum in float64 takes 1 GB.
MAX_BYTES = 4 << 30


def find_weights(path: str | os.PathLike, otherwise: str = "give a file by its path") -> Path:
    """Return the file or folder that `path` means: the path itself, or with one of SUFFIXES.

    For a path in object storage, an address or the name of published weights, it is a local copy. otherwise: what the
    user can do if the download fails. Raises InputError.
    """
    if is_remote(path):
        return fetch(path, SUFFIXES, MAX_BYTES)
    if address := _address(path):
        from models.weights.download import fetch_weights

        return fetch_weights(*address, MAX_BYTES, otherwise)
    named = Path(os.path.expanduser(path))  # unchanged if there is no such home folder, as in a shell
    for candidate in (named, *(Path(f"{named}{suffix}") for suffix in SUFFIXES)):
        if candidate.is_dir() or candidate.is_file():
            return _of_run(candidate)
    similar = similar_name(str(path))
    hint = f"; did you mean {similar}, as bash run.sh weights lists it?" if similar else ""
    raise InputError(f"{path}: no such weights, also not with the ending {', '.join(SUFFIXES)}{hint}")


def _of_run(path: Path) -> Path:
    """Return the best weights of a run's folder, or else the last; any other path unchanged. Raises InputError."""
    found = sorted(path.glob("*.pdparams")) if path.is_dir() and not is_exported(path) else []
    found = [file for file in found if "_epoch" not in file.stem] or found
    best = [file for file in found if file.stem.endswith("_best")] or found
    if len(best) > 1:
        raise InputError(f"{path}: holds several weights: give one of them, such as {best[0]}")
    return best[0] if best else path


def is_here(path: str) -> bool:
    """Return whether `find_weights` finds the weights without asking another machine."""
    if address := _address(path):
        from models.weights.download import place_of

        return place_of(address[0]).is_file()
    return not is_remote(path)


def _address(path: str | os.PathLike) -> tuple[str, str] | None:
    """Return (address, the known first digits of the file's SHA-256) of weights to download; None for all others."""
    if row := find_published(path):
        return row.url, row.sha256
    if isinstance(path, str) and path.startswith(("https://", "http://")):
        return path, next((row.sha256 for row in published_weights() if row.url == path), "")
    return None
