"""Videos as folders with a picture file for each frame, as mmaction2 and PaddleVideo read them."""

import os
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from reader.integrity import VideoError
from reader.pkl import decode_picture, stacked

# Bytes of a frame, at most. A photograph of 100 megapixels has fewer.
MAX_BYTES = 1 << 26


def read_folder(
    path: str,
    template: str,
    num_frames: int | None,
    choose: Callable[[int], Sequence[int]],
    each: Callable[[np.ndarray], np.ndarray] = np.copy,
) -> np.ndarray:
    """Return `each`(frame) of the chosen frames of a folder, uint8 [T, H, W, 3], RGB; no other file is opened.

    template, num_frames: see `frame_numbers`. choose: given the number of frames, returns the T indices, from 0.

    Raise VideoError if a chosen file is missing, is not a JPEG or PNG, or differs in size from the others.
    """
    numbers = frame_numbers(path, template, num_frames)
    return stacked(path, choose(len(numbers)), lambda i: read_picture(path, template.format(numbers[i])), each)


def frame_numbers(path: str, template: str, num_frames: int | None = None) -> range:
    """Return the numbers of a folder's frames: from 0 if there is a file with that number, else from 1.

    template: the file name for a number, as utils/config/kinds.py:Template takes it.
    num_frames: how many numbers, whether the files exist or not; None: count the files.

    Raise VideoError if `path` is not a folder or, without num_frames, if it has no frames or one in between is missing.
    """
    if not os.path.isdir(path):
        raise VideoError(path, "not a folder of frames" if os.path.lexists(path) else "no such folder")
    first = 0 if os.path.lexists(os.path.join(path, template.format(0))) else 1
    if num_frames is None:
        num_frames = _count(path, template, first)
    return range(first, first + num_frames)


def frame_paths(path: str, template: str, num_frames: int | None = None) -> Iterator[str]:
    """Yield the paths of a folder's frames, which need not exist. Raise VideoError as `frame_numbers`."""
    for number in frame_numbers(path, template, num_frames):
        yield os.path.join(path, template.format(number))


def _count(path: str, template: str, first: int) -> int:
    before, after = template.partition("{")[0], template.partition("}")[2]
    found = 0
    for entry in os.scandir(path):
        digits = entry.name.removeprefix(before).removesuffix(after)
        found += digits.isascii() and digits.isdigit() and template.format(int(digits[:20])) == entry.name
    for number in range(first, first + max(1, found)):
        if not os.path.lexists(os.path.join(path, name := template.format(number))):
            raise VideoError(path, f"frame {name} is missing; {found} others are there")
    return found


def read_picture(path: str, name: str) -> np.ndarray:
    """Return one frame of a folder, uint8 [H, W, 3], RGB. Raise VideoError if it is not a readable JPEG or PNG."""
    try:
        with open(os.path.join(path, name), "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise VideoError(path, f"frame {name}: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise VideoError(path, f"frame {name} is larger than {MAX_BYTES} bytes")
    return decode_picture(path, data, name, ("JPEG", "PNG"))
