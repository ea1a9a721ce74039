"""Crops of a frame, without a whole specification of a clip."""

import numpy as np

from reader import transforms
from reader.clip import ClipSpec


def crop_frame(frame: np.ndarray, short_side: int, crop_size: int, rng=None, **how: object) -> np.ndarray:
    """Return the crops of a frame for a clip of this one frame."""
    return transforms.crop_frame(frame, ClipSpec(1, 1, short_side, crop_size, **how), rng)
