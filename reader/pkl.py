"""The original's second format: a pickle of (video id, label, [JPEG bytes])."""

import io
import warnings
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, UnidentifiedImageError

from reader.integrity import VideoError
from reader.packets import MAX_PIXELS
from utils.errors import FormatError
from utils.safe_pickle import unpickle

# Frames of 340x256 take about 15 kB each: twenty minutes of them fit.
MAX_BYTES = 1 << 29
# Labels of file lists have 18 digits at most, too.
LABELS_END = 10**18


def read_pickle(
    path: str, choose: Callable[[int], Sequence[int]], each: Callable[[np.ndarray], np.ndarray] = np.copy
) -> tuple[np.ndarray, int]:
    """Return (frames uint8 [T, H, W, 3] RGB, label) of a pickle; only the chosen JPEGs are decoded; `each` is applied.

    Raises VideoError if the file is missing, holds anything but plain values, or a chosen frame is not a JPEG.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise VideoError(path, f"not a frame pickle: larger than {MAX_BYTES} bytes")
        content = unpickle(data)
    except OSError as error:
        raise VideoError(path, error.strerror or str(error)) from None
    except FormatError as error:
        raise VideoError(path, f"not a frame pickle: {error}") from None
    match content:
        case [_, int(label), [_, *_] as jpegs] if not isinstance(label, bool):
            pass
        case _:
            raise VideoError(path, "not a frame pickle: expected (video id, label, [JPEG bytes])")
    if abs(label) >= LABELS_END:  # too large for an array, and Python refuses to print 4300 digits
        raise VideoError(path, "its label has more than 18 digits")
    return stacked(path, choose(len(jpegs)), lambda i: decode_picture(path, jpegs[i], i), each), label


def stacked(
    path: str, chosen: Sequence[int], picture: Callable[[int], np.ndarray], each: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Return `each`(frame) of the chosen frames, stacked in that order; `picture` makes a frame, uint8 [H, W, 3], once.

    Raise VideoError if the frames differ in size.
    """
    images, shapes = {}, set()
    for i in sorted(set(chosen)):
        image = picture(i)
        shapes.add(image.shape)
        images[i] = each(image)
    if len(shapes) != 1:
        raise VideoError(path, "its frames differ in size")
    return np.stack([images[i] for i in chosen])


def decode_picture(path: str, data: object, name: int | str, formats: Sequence[str] = ("JPEG",)) -> np.ndarray:
    """Return the RGB frame uint8 [H, W, 3] encoded in `data`. Raise VideoError, which calls the frame `name`."""
    kind = " or ".join(formats)
    try:
        if isinstance(data, str):
            data = data.encode("latin1")  # a string of Python 2
        if not isinstance(data, bytes):
            raise ValueError(f"its type is {type(data).__name__}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # Pillow's limit is higher than ours
            image = Image.open(io.BytesIO(data), formats=formats)
        with image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"it is declared as {image.width}x{image.height}")
            return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    except UnidentifiedImageError:  # its own message contains a memory address
        raise VideoError(path, f"frame {name} is not a readable {kind}") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise VideoError(path, f"frame {name} is not a readable {kind}: {error}") from None
