"""The values that a program may pass as a video: a path, the file's content, or frames."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import numpy as np

from reader.integrity import VideoError
from utils.errors import InputError

# An array holds frames in RGB.
Video = str | os.PathLike[str] | bytes | BinaryIO | np.ndarray
EXPECTED = "a path, bytes, an open file or frames uint8 [N, H, W, 3]"


@contextmanager
def opened_video(video: Video) -> Iterator[tuple[str | None, str | np.ndarray]]:
    """Open a context with (the path for the answer, None for all but paths; the path or the frames to read)."""
    if isinstance(video, np.ndarray):
        yield None, _checked(video)
    elif isinstance(video, (str, os.PathLike)):
        path = os.fspath(video)
        if not isinstance(path, str):
            raise InputError(f"expected {EXPECTED}, not a path of bytes")
        yield path, path
    else:
        with tempfile.NamedTemporaryFile(prefix="tsn-") as file:
            if isinstance(video, (bytes, bytearray)):
                file.write(video)
            else:
                shutil.copyfileobj(video, file)
            file.flush()
            try:
                yield None, file.name
            except VideoError as error:
                raise VideoError("the content", error.reason) from None


def _checked(frames: np.ndarray) -> np.ndarray:
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or 0 in frames.shape:
        raise InputError(f"expected frames uint8 [N, H, W, 3] in RGB, not {frames.dtype} {list(frames.shape)}")
    return frames
