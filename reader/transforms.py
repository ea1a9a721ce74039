"""Frames to crops in uint8, equal to the original's to the bit: Pillow resizes the whole frame, then it is cropped."""

import numpy as np
from PIL import Image


def resized_size(width: int, height: int, short_side: int, keep_aspect_ratio: bool = False) -> tuple[int, int]:
    """(width, height) in pixels after the resize, before the crop.

    The original makes the short side `short_side` and the long one int(short_side * 4 / 3) whatever the aspect ratio
    (a square counts as landscape), and leaves a frame alone whose short side already fits.
    With `keep_aspect_ratio` the long side keeps its proportion, rounded to the nearest pixel.
    """
    if min(width, height) == short_side:
        return width, height
    if keep_aspect_ratio:
        long_side = max(short_side, round(max(width, height) * short_side / min(width, height)))
    else:
        long_side = int(short_side * 4 / 3)
    return (short_side, long_side) if width < height else (long_side, short_side)


def crop_offset(width: int, height: int, crop_size: int, rng: np.random.Generator | None = None) -> tuple[int, int]:
    """(left, top) of the crop in pixels: random with `rng`, else central with Python's rounding (58.5 gives 58)."""
    spare_x, spare_y = width - crop_size, height - crop_size
    if rng is not None:
        return int(rng.integers(0, spare_x, endpoint=True)), int(rng.integers(0, spare_y, endpoint=True))
    return int(round(spare_x / 2)), int(round(spare_y / 2))


def crop_frames(
    frames: np.ndarray,
    short_side: int,
    crop_size: int,
    *,
    keep_aspect_ratio: bool = False,
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """Crops uint8 [T, crop_size, crop_size, 3] of frames uint8 [T, H, W, 3], all with the same window.

    With `rng` (training) the window is random and the video is mirrored with probability 0.5; else it is central.
    The whole frame is resized, with Pillow's antialiased BILINEAR, as in the original. Resizing the window alone takes
    60% of the time, but rounds otherwise: a value that differs by 1 now and then moved a probability by up to 0.016.
    """
    height, width = frames.shape[1:3]
    size = resized_size(width, height, short_side, keep_aspect_ratio)
    left, top = crop_offset(*size, crop_size, rng)
    mirror = rng is not None and rng.random() < 0.5

    if size != (width, height):
        frames = np.stack([Image.fromarray(frame).resize(size, Image.Resampling.BILINEAR) for frame in frames])
    crops = frames[:, top : top + crop_size, left : left + crop_size]
    return (crops[:, :, ::-1] if mirror else crops).copy()
