"""The LoDTensor file format, one variable of the Fluid releases, read by hand with every length checked.

uint32 0; uint64 levels of detail (0); uint32 0; int32 n; n bytes of the protobuf message TensorDesc (field 1: data
type, field 2: dims); the data, little-endian. Defined in Paddle's lod_tensor.cc and framework.proto.
"""

import math
import struct

import numpy as np

from utils.errors import FormatError

# VarType.Type of framework.proto.
_DTYPES = {2: "<i4", 3: "<i8", 4: "<f2", 5: "<f4", 6: "<f8"}
_HEADER = struct.Struct("<IQIi")
_MAX_DIMENSIONS = 8


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """Return (value, position after it) of the protobuf varint at `position`."""
    value = 0
    for index, byte in enumerate(data[position : position + 10]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, position + index + 1
    raise FormatError("its header is damaged")


def _read_description(data: bytes) -> tuple[int, list[int]]:
    """Return (data type, dims) of a TensorDesc message. Raises FormatError."""
    dtype, dims, position = -1, [], 0
    while position < len(data):
        tag, position = _varint(data, position)
        value, position = _varint(data, position)
        if tag == 0x08:  # field 1, varint
            dtype = value
        elif tag == 0x10:  # field 2, varint
            dims.append(value)
        elif tag == 0x12:  # field 2, packed: value is a length
            end = position + value
            if end > len(data):
                raise FormatError("its header is damaged")
            while position < end:
                value, position = _varint(data, position)
                dims.append(value)
        else:
            raise FormatError("its header is damaged")
    if len(dims) > _MAX_DIMENSIONS or any(not 0 <= size < 2**40 for size in dims):
        raise FormatError("its header declares an impossible shape")
    return dtype, dims


def read_lod_tensor(data: bytes) -> np.ndarray:
    """Return the array in `data`, one whole file, as a view and not a copy. Raises FormatError."""
    if len(data) < _HEADER.size:
        raise FormatError(f"it has {len(data)} bytes, less than a header")
    version, levels, tensor_version, length = _HEADER.unpack_from(data)
    if version or levels or tensor_version or not 0 < length <= len(data) - _HEADER.size:
        raise FormatError("it does not start like a LoDTensor")
    start = _HEADER.size + length
    dtype, dims = _read_description(data[_HEADER.size : start])
    if dtype not in _DTYPES:
        raise FormatError(f"its data type {dtype} is no number")
    expected = math.prod(dims) * np.dtype(_DTYPES[dtype]).itemsize
    if expected != len(data) - start:
        raise FormatError(f"it declares the shape {dims}, {expected} bytes, and has {len(data) - start}")
    try:
        return np.frombuffer(data, _DTYPES[dtype], offset=start).reshape(dims)
    except ValueError as error:  # one size is 0, so there are no bytes, but NumPy cannot multiply the others
        raise FormatError("its header declares an impossible shape") from error
