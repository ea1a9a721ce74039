"""The safetensors format, read by hand with every length checked: it is a JSON header before plain numbers.

uint64 n; n bytes of JSON {name: {"dtype", "shape", "data_offsets": [begin, end]}}; the data, little-endian. Defined in
https://github.com/huggingface/safetensors#format.
"""

import json
import math
from typing import Any

import numpy as np

# The format's own limit is ten times as much; a ResNet-152 needs 100 kB, and JSON takes up to 26 times its size.
_MAX_HEADER = 10_000_000
# BF16, which NumPy lacks, is the upper half of an F32.
_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4"}


class SafetensorsError(ValueError):
    """The bytes are no safetensors file, or hold what is no weight. One line, without the path."""


def read_safetensors(data: bytes) -> dict[str, np.ndarray]:
    """Name -> array: views of `data`, except for bfloat16, which becomes float32. Raises SafetensorsError."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or not 2 <= length <= min(len(data) - 8, _MAX_HEADER):
        raise SafetensorsError("its header is damaged")
    try:
        header = json.loads(data[8 : 8 + length], object_pairs_hook=_unique)
    except SafetensorsError:
        raise
    except (ValueError, RecursionError) as error:
        raise SafetensorsError("its header is damaged") from error
    if not isinstance(header, dict):
        raise SafetensorsError("its header is damaged")
    arrays, left = {}, len(data) - 8 - length
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = _place(name, entry)
        left -= end - begin
        if left < 0:
            raise SafetensorsError("its tensors overlap")
        arrays[name] = _read_tensor(name, entry, memoryview(data)[8 + length :][begin:end])
    return arrays


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The JSON object. Raises SafetensorsError for a name that is there twice, which the format forbids."""
    content = dict(pairs)
    if len(content) < len(pairs):
        raise SafetensorsError("its header names something twice")
    return content


def _place(name: str, entry: Any) -> tuple[int, int]:
    """Where a tensor begins and ends in the data. Raises SafetensorsError when the entry is not as the format says."""
    fields = entry if isinstance(entry, dict) else {}
    shape, place, dtype = fields.get("shape"), fields.get("data_offsets"), fields.get("dtype")
    proper = isinstance(shape, list) and len(shape) <= 8 and isinstance(place, list) and len(place) == 2
    if not proper or any(type(size) is not int or not 0 <= size < 2**40 for size in [*shape, *place]):
        raise SafetensorsError(f"{name[:80]!r} has no proper shape and place")
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        shown = dtype[:20] if isinstance(dtype, str) else type(dtype).__name__
        raise SafetensorsError(f"{name[:80]!r} is of type {shown!r}, expected one of {', '.join(_DTYPES)}")
    if place[0] > place[1]:
        raise SafetensorsError(f"{name[:80]!r} has no proper shape and place")
    return place[0], place[1]


def _read_tensor(name: str, entry: dict[str, Any], data: memoryview) -> np.ndarray:
    """The array in `data`. Raises SafetensorsError when there are more or fewer bytes than the shape needs."""
    dtype = np.dtype(_DTYPES[entry["dtype"]])
    expected = math.prod(entry["shape"]) * dtype.itemsize
    if expected != len(data):
        raise SafetensorsError(f"{name[:80]!r} of shape {entry['shape']} needs {expected} bytes and has {len(data)}")
    try:
        array = np.frombuffer(data, dtype).reshape(entry["shape"])
    except ValueError as error:  # no bytes, but beside the 0 sizes that NumPy cannot multiply
        raise SafetensorsError(f"{name[:80]!r} has no proper shape and place") from error
    return (array.astype("<u4") << 16).view("<f4") if entry["dtype"] == "BF16" else array
