"""Read every kind of weights file into arrays under the file's names, without executing anything in it."""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from models.weights.archive import archive_members, is_archive
from models.weights.lod_tensor import read_lod_tensor
from models.weights.paths import MAX_BYTES, find_weights
from models.weights.pytorch import is_pytorch, read_pytorch
from models.weights.remote import origin
from models.weights.safetensors_file import read_safetensors
from utils.errors import FormatError, InputError
from utils.safe_pickle import read_pickle


def read_weights(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Return {name in the file: array} from any kind of weights; the arrays may be read-only.

    A folder or .tar.gz of one LoDTensor file per variable, a .safetensors file, a file of torch.save (.pth, .pt), or a
    pickle (.pdparams). SUFFIXES may be left out in `path`. Raises InputError, one line with the path and the reason.
    """
    found = find_weights(path)
    named = origin(found)
    try:
        if found.is_dir():
            files = sorted(file for file in found.iterdir() if file.is_file())
            _check_size(named, files)
            return _read_variables(((file.name, file.read_bytes()) for file in files), named)
        _check_size(named, [found])
        if is_archive(found):
            members = ((member.name, data) for member, data in archive_members(found))
            return _read_variables(members, named)
        data = found.read_bytes()
    except OSError as error:
        raise InputError(f"{named}: cannot be read: {error.strerror or error}") from error
    except FormatError as error:
        raise InputError(f"{named}: {error}") from error
    if found.suffix == ".safetensors":
        kind, read = "safetensors file", read_safetensors
    elif is_pytorch(data):
        kind, read = "PyTorch file", read_pytorch
    elif data[:4] == bytes(4):
        raise InputError(f"{named}: one binary variable file; give the folder that holds one file per variable")
    else:
        kind, read = "pickle", read_pickle
    try:
        return read(data)
    except FormatError as error:
        raise InputError(f"{named}: not a {kind} of weights: {error}") from error


def _check_size(path: str, files: list[Path]) -> None:
    """Raise InputError, before memory is allocated, if the files are larger than any weights."""
    if sum(file.stat().st_size for file in files) > MAX_BYTES:
        raise InputError(f"{path}: larger than {MAX_BYTES >> 30} GB: too large for a ResNet's weights")


def _read_variables(files: Iterable[tuple[str, bytes]], path: str) -> dict[str, np.ndarray]:
    """Return {file name: array}, without hidden files such as .DS_Store and ._conv1_weights. Raises InputError."""
    arrays: dict[str, np.ndarray] = {}
    for name, data in files:
        if name.startswith("."):
            continue
        shown = name if name.isprintable() and len(name) < 200 else repr(name[:200])
        if name in arrays:
            raise InputError(f"{path}: {shown} is there twice")
        try:
            arrays[name] = read_lod_tensor(data)
        except FormatError as error:
            raise InputError(f"{path}: {shown} is no variable of Paddle's: {error}") from error
    if not arrays:
        raise InputError(f"{path}: no weights in it: expected one file per variable")
    return arrays
