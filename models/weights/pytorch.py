"""Files of torch.save: tensors by name, read without torch, without calling functions or constructing classes.

Since PyTorch 1.6 the file is a zip archive of stored members: */data.pkl, the pickle of everything but the numbers, and
*/data/KEY, the bytes of one storage. The older layout is five pickles: a magic number, the layout's version, the
machine that wrote it, everything but the numbers, and the keys of the storages; the storages follow in that order, each
after its length. Defined in torch/serialization.py and torch/_utils.py.
"""

import io
import struct
import zipfile
from functools import cache
from typing import Any

import numpy as np

from models.weights.torch_pickle import ReadStorage, Storage, Tensor, TorchMachine, Unknown
from utils.errors import FormatError
from utils.safe_pickle import run_machine

MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the number that opens the older layout, pickled
_ZIP = b"PK\x03\x04"
_ENTRY = b"PK\x01\x02"  # opens each entry of a zip archive's directory
_MAX_MEMBERS = 100_000  # a ResNet-152 with its momentum takes 2,000
# A file's bytes may be used this often on average, because tensors may share a storage.
_MAX_SHARING = 4
_ZIP_ERRORS = (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, EOFError, struct.error, OverflowError)
_BIG_ENDIAN = "it was written on a machine with the other order of bytes (big-endian)"


def is_pytorch(data: bytes) -> bool:
    """Return whether the file starts like a file of torch.save, in either layout."""
    return data[:4] == _ZIP or (data[:1] == b"\x80" and MAGIC in data[:32])


def read_pytorch(data: bytes) -> dict[str, np.ndarray]:
    """Return {name: array} of the tensors under `state_dict`, else `model`, else at the top; bfloat16 becomes float32.

    Anything but a tensor is skipped. The arrays are read-only and take at most as much memory again as `data`, or a
    little more if tensors share their numbers. Raises FormatError.
    """
    content, read_storage = _read_zip(data) if data[:4] == _ZIP else _read_older(data)
    if not isinstance(content, dict):
        shown = content.name if isinstance(content, Unknown) else type(content).__name__
        raise FormatError(f"it holds a {shown!r}, expected a dictionary of tensors")
    named = next((content[key] for key in ("state_dict", "model") if isinstance(content.get(key), dict)), content)
    arrays, left = {}, _MAX_SHARING * len(data)
    for name, value in named.items():
        if isinstance(value, Tensor):
            arrays[name] = value.read(name, read_storage, left)
            left -= arrays[name].nbytes
    if not arrays:
        raise FormatError("it holds no tensors by name, neither under 'state_dict', nor under 'model', nor at its top")
    return arrays


def _read_zip(data: bytes) -> tuple[Any, ReadStorage]:
    """Return (content of the pickle, a function that returns a storage's bytes). Raises FormatError."""
    if data.count(_ENTRY) > _MAX_MEMBERS:
        raise FormatError(f"it has more than {_MAX_MEMBERS} members")
    archive = _opened(data)
    members = {member.filename: member for member in archive.infolist()}
    if len(members) < len(archive.infolist()):
        raise FormatError("it names a member twice")
    if sum(max(member.file_size, member.compress_size) for member in members.values()) > len(data):
        raise FormatError("its members are larger than the file, or compressed, as PyTorch never has them")
    roots = [name.removesuffix("data.pkl") for name in members if name.endswith("/data.pkl")]
    if len(roots) != 1:
        raise FormatError("a zip file without PyTorch's data.pkl in it")

    def read(name: str) -> bytes:
        if name not in members:
            raise FormatError(f"its member {name[:80]!r} is missing")
        if members[name].compress_type != zipfile.ZIP_STORED:
            raise FormatError(f"its member {name[:80]!r} is compressed, as PyTorch never has it")
        try:
            return archive.read(name)
        except _ZIP_ERRORS as error:
            raise FormatError(f"its member {name[:80]!r} is damaged") from error

    @cache
    def read_storage(storage: Storage) -> bytes:
        stored = read(f"{roots[0]}data/{storage.key}")
        if len(stored) != storage.num_bytes:
            raise FormatError(f"its storage {storage.key[:80]!r} has {len(stored)} bytes, expected {storage.num_bytes}")
        return stored

    if roots[0] + "byteorder" in members and read(roots[0] + "byteorder") != b"little":
        raise FormatError(_BIG_ENDIAN)
    return run_machine(TorchMachine(read(roots[0] + "data.pkl"))), read_storage


def _opened(data: bytes) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(io.BytesIO(data))
    except _ZIP_ERRORS as error:
        raise FormatError("a damaged zip file") from error


def _read_older(data: bytes) -> tuple[Any, ReadStorage]:
    """Return (content of the pickle, a function that returns a storage's bytes). Raises FormatError."""
    contents, position = [], 0
    for _ in range(5):
        machine = TorchMachine(data, position)
        contents.append(run_machine(machine))
        position = machine.file.tell()
        if len(contents) == 4:
            storages = machine.storages
    _, _, system, content, keys = contents
    if isinstance(system, dict) and system.get("little_endian") is False:
        raise FormatError(_BIG_ENDIAN)
    if not isinstance(keys, list):
        raise FormatError("it is damaged: no list of storages")
    places: dict[str, int] = {}
    for key in keys:
        if not isinstance(key, str) or key not in storages or key in places:
            raise FormatError("it is damaged: its list of storages names one that no tensor uses, or one twice")
        storage = storages[key]
        size = int.from_bytes(data[position : position + 8], "little")
        places[key] = position + 8
        position += 8 + storage.num_bytes
        if size != storage.size or position > len(data):
            raise FormatError(f"its storage {key[:80]!r} is damaged, or the file is cut off")

    def read_storage(storage: Storage) -> memoryview:
        if storage.key not in places:
            raise FormatError(f"its storage {storage.key[:80]!r} is missing")
        place = places[storage.key]
        return memoryview(data)[place : place + storage.num_bytes]

    return content, read_storage
