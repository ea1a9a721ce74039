"""The specification of a clip as plain data, so that asking for clips does not import the decoders."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from utils.config.shared_keys import SectionConfig

if TYPE_CHECKING:
    import numpy as np

# Number of crops -> position of the middle crop; with ten, the mirrored crop follows each crop.
_MIDDLE = {1: 0, 3: 2, 10: 8}


@dataclass(frozen=True)
class ClipSpec:
    """How to cut a clip from a video; the same for every video of a list."""

    num_segments: int
    seglen: int
    short_side: int
    crop_size: int
    frame_format: str = "mp4"
    filename_tmpl: str = "img_{:05}.jpg"  # for frame_format "frames"
    sampling: str = "segment"
    resize: str = "pillow"
    keep_aspect_ratio: bool = False
    crops: int = 1
    multi_scale_crop: str | int = "none"
    decoder: str = "auto"
    # None: central frames and crops. A number: random frames, crop and mirroring, from (seed, epoch, index of video).
    augment_seed: int | None = None
    # Whether half of the clips with an augment_seed are mirrored, and the pairs of classes that mirroring exchanges.
    flip: bool = True
    flip_pairs: tuple = ()
    # Further changes to the crops, see reader/augment.py.
    rand_augment: int = 0
    rand_augment_magnitude: float = 9.0
    random_erasing: float = 0.0
    # Longer videos are refused; None: any length is read.
    max_seconds: float | None = None

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """[V * T, H, W, 3 * seglen], the shape of every clip: all segments of one crop, then all of the next."""
        return self.crops * self.num_segments, self.crop_size, self.crop_size, 3 * self.seglen


def middle_view(clip: "np.ndarray", section: SectionConfig) -> "np.ndarray":
    """Return the segments of the middle crop, uint8 [T, H, W, 3 * seglen], of a clip [V * T, H, W, 3 * seglen]."""
    start = _MIDDLE[section.crops] * section.seg_num
    return clip[start : start + section.seg_num]
