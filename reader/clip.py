"""How clips are cut, in plain data: who asks for them need not import what decodes them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from utils.config.shared_keys import SectionConfig

if TYPE_CHECKING:
    import numpy as np

# Of several crops, the one that lies in the middle: of ten each place is followed by its mirror.
_MIDDLE = {1: 0, 3: 2, 10: 8}


@dataclass(frozen=True)
class ClipSpec:
    """How a clip is cut from a video; the same for every video of a list."""

    num_segments: int
    seglen: int
    short_side: int
    crop_size: int
    frame_format: str = "mp4"
    filename_tmpl: str = "img_{:05}.jpg"  # of frame_format "frames"
    sampling: str = "segment"
    resize: str = "pillow"
    keep_aspect_ratio: bool = False
    crops: int = 1
    multi_scale_crop: str | int = "none"
    decoder: str = "auto"
    # None: the central frames and crop. A number: random ones and a mirror, from (seed, epoch, index of the video).
    augment_seed: int | None = None
    # Whether every other clip with an augment_seed is mirrored, and the classes that this exchanges.
    flip: bool = True
    flip_pairs: tuple = ()
    # What is done to the crops besides, see reader/augment.py.
    rand_augment: int = 0
    rand_augment_magnitude: float = 9.0
    random_erasing: float = 0.0
    # Longer videos are refused; None: any length is read.
    max_seconds: float | None = None

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """[V * T, H, W, 3 * seglen] of every clip: all segments of one crop, then all of the next."""
        return self.crops * self.num_segments, self.crop_size, self.crop_size, 3 * self.seglen


def middle_view(clip: "np.ndarray", section: SectionConfig) -> "np.ndarray":
    """Return uint8 [T, H, W, 3 * seglen], the segments of the middle crop, of a clip [V * T, H, W, 3 * seglen]."""
    start = _MIDDLE[section.crops] * section.seg_num
    return clip[start : start + section.seg_num]
