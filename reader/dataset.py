"""One video to one clip: choose, decode, crop. Plain data in and out, so that a reader process can do it."""

import copy
from dataclasses import dataclass

import numpy as np

from reader.decode import VideoError, read_frames
from reader.pkl import read_pickle
from reader.sampling import segment_indices, video_rng
from reader.transforms import crop_frames


@dataclass(frozen=True)
class ClipSpec:
    """How a clip is cut from a video; the same for every video of a list."""

    num_segments: int
    seglen: int
    short_side: int
    crop_size: int
    frame_format: str = "mp4"
    keep_aspect_ratio: bool = False
    decoder: str = "auto"
    # None: the central frames and crop. A number: random ones and a mirror, from (seed, epoch, index of the video).
    augment_seed: int | None = None

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """[T, H, W, 3 * seglen] of every clip."""
        return self.num_segments, self.crop_size, self.crop_size, 3 * self.seglen


def read_clip(spec: ClipSpec, path: str, epoch: int = 0, index: int = 0) -> tuple[np.ndarray, int | None]:
    """(clip uint8 [T, H, W, 3 * seglen], label or None) of one video; only a pickle brings its own label.

    Channel c of segment t is colour c % 3 of the segment's frame c // 3, as the original lays them out.

    Raises:
        VideoError: the video cannot be read, with its path and the reason.
    """
    rng = None if spec.augment_seed is None else video_rng(spec.augment_seed, epoch, index)
    chosen: dict[int, list[int]] = {}

    def choose(num_frames: int) -> list[int]:
        if num_frames not in chosen:  # a second draw would choose other frames
            chosen[num_frames] = segment_indices(
                num_frames, spec.num_segments, spec.seglen, frame_format=spec.frame_format, rng=rng
            )
        return chosen[num_frames]

    def crop(frame: np.ndarray) -> np.ndarray:
        # A copy of the generator for each frame: all get the same window.
        window = copy.deepcopy(rng)
        size = spec.short_side, spec.crop_size
        return crop_frames(frame[None], *size, keep_aspect_ratio=spec.keep_aspect_ratio, rng=window)[0]

    label = None
    try:
        if spec.frame_format == "pkl":
            crops, label = read_pickle(path, choose, crop)
        else:
            crops = read_frames(path, choose, spec.decoder, crop)
    except OSError as error:
        raise VideoError(path, error.strerror or str(error)) from error
    except MemoryError as error:
        raise VideoError(path, "it takes more memory than there is") from error
    # [T*seglen, H, W, 3] -> [T, seglen, H, W, 3] -> [T, H, W, seglen, 3] -> [T, H, W, seglen*3]
    crops = crops.reshape(spec.num_segments, spec.seglen, *crops.shape[1:]).transpose(0, 2, 3, 1, 4)
    return np.ascontiguousarray(crops).reshape(spec.shape), label


__all__ = ["ClipSpec", "VideoError", "read_clip"]
