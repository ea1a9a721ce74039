"""The safetensors format: the package reads it, and this module refuses entries that cannot be weights.

uint64 n; n bytes of JSON {name: {"dtype", "shape", "data_offsets": [begin, end]}}; the data, little-endian. Defined in
https://github.com/huggingface/safetensors#format. The package refuses holes, overlaps and bytes that are left over.
"""

import json
from typing import Any

import numpy as np
import safetensors

from utils.errors import FormatError

# Bytes. The format allows ten times as many; a ResNet-152 needs 100 kB, and parsed JSON takes up to 26 times its size.
_MAX_HEADER = 10_000_000
# BF16 is the upper half of an F32; NumPy lacks it, and so does safetensors.numpy.
_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4"}


def read_safetensors(data: bytes) -> dict[str, np.ndarray]:
    """Return {name: array} in the order of the file; bfloat16 becomes float32. Raises FormatError.

    This takes as much memory again as `data`.
    """
    names = _weight_names(data)
    try:
        tensors = dict(safetensors.deserialize(data))  # the order differs from run to run
    except safetensors.SafetensorError as error:  # the words differ from version to version
        raise FormatError("its header does not fit its data") from error
    return {name: _array(name, tensors.pop(name)) for name in names}


def _weight_names(data: bytes) -> list[str]:
    """Return the names in the header. Raises FormatError if a name appears twice or an entry is not a weight.

    The format forbids repeated names, but the package silently takes the last entry.
    """
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or not 2 <= length <= min(len(data) - 8, _MAX_HEADER):
        raise FormatError("its header is damaged")
    try:
        header = json.loads(data[8 : 8 + length], object_pairs_hook=_unique)
        if not isinstance(header, dict):
            raise ValueError("no object")
    except (ValueError, RecursionError) as error:
        raise FormatError("its header is damaged") from error
    header.pop("__metadata__", None)
    for name, entry in header.items():
        if not isinstance(entry, dict):
            raise FormatError(f"{name[:80]!r} has no proper shape and place")
        dtype = entry.get("dtype")
        if not isinstance(dtype, str) or dtype not in _DTYPES:
            shown = dtype[:20] if isinstance(dtype, str) else type(dtype).__name__
            raise FormatError(f"{name[:80]!r} is of type {shown!r}, expected one of {', '.join(_DTYPES)}")
    return list(header)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the JSON object. Raises FormatError if a name appears twice."""
    content = dict(pairs)
    if len(content) < len(pairs):
        raise FormatError("its header names something twice")
    return content


def _array(name: str, tensor: dict[str, Any]) -> np.ndarray:
    """Return the package's tensor as an array. Raises FormatError for a shape that no weight has."""
    shape, dtype = tensor["shape"], tensor["dtype"]
    try:
        if len(shape) > 8 or max(shape, default=0) >= 2**40:
            raise ValueError
        array = np.frombuffer(tensor["data"], _DTYPES[dtype]).reshape(shape)
    except ValueError as error:  # also: one size is 0, but NumPy cannot multiply the others
        raise FormatError(f"{name[:80]!r} has no proper shape and place") from error
    return (array.astype("<u4") << 16).view("<f4") if dtype == "BF16" else array
