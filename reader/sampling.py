"""Which frames of a video are read: the original's index arithmetic, on numbers alone."""

from collections.abc import Sequence

import numpy as np


def segment_indices(
    num_frames: int,
    num_segments: int,
    seglen: int = 1,
    *,
    frame_format: str = "mp4",
    rng: np.random.Generator | None = None,
) -> list[int]:
    """The num_segments * seglen frame indices, segment by segment, each in 0..num_frames-1.

    With d = num_frames // num_segments, segment i starts at i*d plus a random offset in 0..d-seglen (`rng` given:
    training), or plus the middle: (d-1)//2 for mp4, (d-seglen)//2 for pkl. A segment shorter than seglen starts
    at i*d, a video with fewer frames than segments at i; every index is taken modulo num_frames.

    300 frames in 7 segments give 20, 62, 104, 146, 188, 230, 272.

    Raises:
        ValueError: num_frames is not positive.
    """
    if num_frames < 1:
        raise ValueError(f"num_frames must be positive, got {num_frames}")
    duration = num_frames // num_segments
    indices = []
    for i in range(num_segments):
        if duration == 0:
            start = i
        elif duration < seglen:
            start = i * duration
        elif rng is not None:
            start = i * duration + int(rng.integers(0, duration - seglen, endpoint=True))
        else:
            start = i * duration + (duration - (1 if frame_format == "mp4" else seglen)) // 2
        indices += [(start + j) % num_frames for j in range(seglen)]
    return indices


def video_rng(seed: int, epoch: int, index: int) -> np.random.Generator:
    """The generator of one video's augmentation: a function of its arguments, not of workers, ranks or history."""
    return np.random.default_rng([seed, epoch, index])


def epoch_order(num_videos: int, seed: int, epoch: int) -> Sequence[int]:
    """A permutation of 0..num_videos-1, the order in which an epoch of training reads the list."""
    # The tag keeps this stream apart from those of video_rng, whose third number is never negative.
    return np.random.default_rng([seed, epoch, num_videos, 0x5F1E]).permutation(num_videos).tolist()
