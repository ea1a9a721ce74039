"""The views of a video, of T frames each, computed one by one or in pieces, and their answers made one.

A video's frames are [V * T, H, W, C]: those of one crop after those of another.
"""

from collections.abc import Callable

import numpy as np

from utils.config.keys import SectionConfig

# uint8 frames [N, T, H, W, C] -> what waits for their logits, float32 [N, K]
Start = Callable[[np.ndarray], Callable[[], np.ndarray]]

# Frames that the eager network computes at a time: a frame of 224x224 takes some 10 MB, a GPU needs many to be busy.
_FRAMES_AT_ONCE = {"cpu": 32, "gpu": 256}


def over_views(start: Start, section: SectionConfig) -> Start:
    """A function that starts videos [N, V * T, H, W, C], made of one that starts views [N * V, T, H, W, C]."""

    def start_videos(frames: np.ndarray) -> Callable[[], np.ndarray]:
        videos, _, *image = frames.shape
        wait = start(frames.reshape(videos * section.crops, -1, *image))
        return lambda: average_views(wait().reshape(videos, section.crops, -1), section.average)

    return start_videos


def average_views(logits: np.ndarray, average: str) -> np.ndarray:
    """float32 [N, K] of the logits [N, V, K] of each view.

    "logits": their mean. Where the network is linear behind its features, that is as if these were averaged. Else
    the mean of the views' probabilities, as its logarithm: the softmax of that is the mean itself.
    """
    if logits.shape[1] == 1:
        return logits[:, 0]
    if average == "logits":
        return logits.mean(axis=1)
    logits = logits.astype(np.float64)
    with np.errstate(invalid="ignore"):  # a network that is not finite stays so, and is refused by whoever counts
        # Never through the probabilities themselves: the logarithm of one that is rounded to 0 is not finite.
        log_probabilities = logits - np.logaddexp.reduce(logits, axis=2, keepdims=True)
        mean = np.logaddexp.reduce(log_probabilities, axis=1) - np.log(logits.shape[1])
    return mean.astype(np.float32)


def in_pieces(start: Start, device: str) -> Start:
    """The same as `start`, of which it asks no more views at a time than the device has use for."""

    def start_pieces(views: np.ndarray) -> Callable[[], np.ndarray]:
        size = max(1, _FRAMES_AT_ONCE[device] // views.shape[1])
        waiting = [start(views[i : i + size]) for i in range(0, len(views), size)]
        return lambda: np.concatenate([wait() for wait in waiting])

    return start_pieces
