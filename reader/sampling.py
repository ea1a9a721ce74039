"""The numbers of the frames to read: the index arithmetic of the original and of its peers."""

from collections.abc import Sequence

import numpy as np


def segment_indices(
    num_frames: int,
    num_segments: int,
    seglen: int = 1,
    *,
    frame_format: str = "mp4",
    sampling: str = "segment",
    rng: np.random.Generator | None = None,
) -> list[int]:
    """Return the num_segments * seglen frame indices, segment by segment, each in 0..num_frames-1.

    sampling: "segment", "uniform" or "linspace": how the first frame of each segment is chosen, see below. The other
    seglen - 1 frames follow it; every index is taken modulo num_frames. rng: given in training, where "linspace" draws
    as "segment" does.

    300 frames in 7 segments give 20, 62, 104, 146, 188, 230, 272.

    Raises ValueError if num_frames is not positive.
    """
    if num_frames < 1:
        raise ValueError(f"num_frames must be positive, got {num_frames}")
    if sampling == "uniform":
        starts = _uniform_starts(num_frames, num_segments, seglen, rng)
    elif sampling == "linspace" and rng is None:
        # As PaddleVideo tests PP-TSN: Sampler with linspace_sample.
        starts = np.linspace(0, num_frames - 1, num_segments).astype(int).tolist()
    else:
        starts = _segment_starts(num_frames, num_segments, seglen, frame_format, rng)
    return [(start + j) % num_frames for start in starts for j in range(seglen)]


def _segment_starts(
    num_frames: int, num_segments: int, seglen: int, frame_format: str, rng: np.random.Generator | None
) -> list[int]:
    """Return the original's first frames: with d = num_frames // num_segments, i*d plus an offset.

    The offset is random in 0..d-seglen (with `rng`: training), or the middle: (d-1)//2 for mp4, (d-seglen)//2 for pkl;
    it is 0 if the segment is shorter than seglen. If there are fewer frames than segments, segment i starts at i.
    """
    duration = num_frames // num_segments
    if duration == 0:
        return list(range(num_segments))
    spare = duration - seglen
    starts = []
    for i in range(num_segments):
        if spare < 0:
            offset = 0
        elif rng is not None:
            offset = int(rng.integers(0, spare, endpoint=True))
        else:
            offset = (duration - (1 if frame_format == "mp4" else seglen)) // 2
        starts.append(i * duration + offset)
    return starts


def _uniform_starts(num_frames: int, num_segments: int, seglen: int, rng: np.random.Generator | None) -> list[int]:
    """Return mmaction2's first frames (SampleFrames with clip_len 1); the order of operations decides how some round.

    Test: i*N/T + N/(2T), truncated. Training: with a = N // T, i*a plus a random offset in 0..a-1; with fewer frames
    than segments i*N/T, rounded half to even. N is the number of frames at which seglen frames may start.
    """
    if rng is None:
        interval = num_frames / num_segments
        return [int(i * interval + interval / 2) for i in range(num_segments)]
    places = max(1, num_frames - seglen + 1)
    interval = places // num_segments
    if interval > 0:
        return [i * interval + int(rng.integers(interval)) for i in range(num_segments)]
    return [round(i * (places / num_segments)) for i in range(num_segments)]


def video_rng(seed: int, epoch: int, index: int) -> np.random.Generator:
    """Return the random generator of one video's augmentation.

    It depends on the arguments alone, not on workers, ranks or history.
    """
    return np.random.default_rng([seed, epoch, index])


def epoch_order(num_videos: int, seed: int, epoch: int) -> Sequence[int]:
    """Return a permutation of 0..num_videos-1, the order in which an epoch of training reads the list."""
    # The fourth number keeps this random stream apart from those of `video_rng`.
    return np.random.default_rng([seed, epoch, num_videos, 0x5F1E]).permutation(num_videos).tolist()


def balanced_order(labels: Sequence[int], seed: int, epoch: int) -> Sequence[int]:
    """Return len(labels) draws in which the classes appear equally often, give or take one: class-balanced sampling.

    Kang et al., https://arxiv.org/abs/1910.09217. A class's videos are drawn in a random order, and all of them before
    any is drawn again. The k-th draw of a video, from 0, is position + k * len(labels): the reader crops each draw
    differently. If the number of draws does not divide by the number of classes, some random classes appear once more.
    """
    number, of = len(labels), np.asarray(labels)
    classes = np.unique(of)
    random = np.random.default_rng([seed, epoch, number, 0xBA1A])
    share, rest = divmod(number, len(classes))
    draws = []
    for label, more in zip(classes, random.permutation(len(classes)) < rest):
        videos = np.flatnonzero(of == label)
        count = share + int(more)
        rounds = -(-count // len(videos))
        draws.append(np.concatenate([random.permutation(videos) + k * number for k in range(rounds)])[:count])
    return random.permutation(np.concatenate(draws)).tolist()
