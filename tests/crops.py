"""Crops of a frame, of a specification in a few words."""

import numpy as np

from reader import transforms
from reader.clip import ClipSpec


def crop_frame(frame: np.ndarray, short_side: int, crop_size: int, rng=None, **how: object) -> np.ndarray:
    """As of a clip of one frame."""
    return transforms.crop_frame(frame, ClipSpec(1, 1, short_side, crop_size, **how), rng)
