"""The original's second format: a pickle of (video id, label, [JPEG bytes])."""

import io
import pickle
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from reader.decode import VideoError


class _PlainUnpickler(pickle.Unpickler):
    """Loads numbers, strings, tuples and lists; any other object in the file is refused, not built."""

    def find_class(self, module: str, name: str):
        # How Python 3 writes bytes in protocol 2: a call of _codecs.encode on text.
        if (module, name) == ("_codecs", "encode"):
            return _encode_latin1
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no frame pickle needs")


def _encode_latin1(text: str, encoding: str = "latin1") -> bytes:
    return text.encode("latin1")


def read_pickle(path: str, choose: Callable[[int], Sequence[int]]) -> tuple[np.ndarray, int]:
    """(frames uint8 [T, H, W, 3] RGB, label) of a pickle; only the chosen JPEGs are decoded.

    Raises:
        VideoError: the file is missing, holds anything but plain values, or a chosen frame is no JPEG.
    """
    try:
        with open(path, "rb") as file:
            # bytes: a pickle of Python 2 holds its JPEGs as str, which no text encoding may touch.
            content = _PlainUnpickler(file, encoding="bytes").load()
    except OSError as error:
        raise VideoError(path, error.strerror or str(error)) from None
    except Exception as error:  # unpickling damaged bytes raises nearly every type there is
        raise VideoError(path, f"not a frame pickle: {error or type(error).__name__}") from None
    match content:
        case (_, int(label), [_, *_] as jpegs) if not isinstance(label, bool) and all(isinstance(j, bytes) for j in jpegs):
            pass
        case _:
            raise VideoError(path, "not a frame pickle: expected (video id, label, [JPEG bytes])")
    images = {i: _decode_jpeg(path, jpegs[i], i) for i in sorted(set(choose(len(jpegs))))}
    if len({image.shape for image in images.values()}) != 1:
        raise VideoError(path, "its frames differ in size")
    return np.stack([images[i] for i in choose(len(jpegs))]), label


def _decode_jpeg(path: str, data: bytes, index: int) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise VideoError(path, f"frame {index} is no readable JPEG: {error}") from None
