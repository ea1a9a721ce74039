"""Read every kind of weights file into arrays under the file's names. Nothing in a file is executed."""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from models.weights.archive import ArchiveError, archive_members, is_archive
from models.weights.lod_tensor import LodTensorError, read_lod_tensor
from models.weights.paths import MAX_BYTES, find_weights
from models.weights.pytorch import is_pytorch, read_pytorch
from models.weights.remote import origin
from models.weights.safetensors_file import SafetensorsError, read_safetensors
from utils.errors import InputError
from utils.safe_pickle import PickleError, read_pickle


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
    except ArchiveError as error:
        raise InputError(f"{named}: {error}") from error
    if found.suffix == ".safetensors":
        return _read_safetensors(data, named)
    if is_pytorch(data):
        return _read_pytorch(data, named)
    return _read_pickle(data, named)


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
        except LodTensorError as error:
            raise InputError(f"{path}: {shown} is no variable of Paddle's: {error}") from error
    if not arrays:
        raise InputError(f"{path}: no weights in it: expected one file per variable")
    return arrays


def _read_pickle(data: bytes, path: str) -> dict[str, np.ndarray]:
    if data[:4] == bytes(4):
        raise InputError(f"{path}: one binary variable file; give the folder that holds one file per variable")
    try:
        return read_pickle(data)
    except PickleError as error:
        raise InputError(f"{path}: not a pickle of weights: {error}") from error


def _read_safetensors(data: bytes, path: str) -> dict[str, np.ndarray]:
    try:
        return read_safetensors(data)
    except SafetensorsError as error:
        raise InputError(f"{path}: not a safetensors file of weights: {error}") from error


def _read_pytorch(data: bytes, path: str) -> dict[str, np.ndarray]:
    try:
        return read_pytorch(data)
    except PickleError as error:
        raise InputError(f"{path}: not a PyTorch file of weights: {error}") from error
