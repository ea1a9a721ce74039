"""The views of a video, of T frames each, computed one by one or in pieces, and their answers made one.

A video's frames are [V * T, H, W, C]: those of one crop after those of another.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from utils.config.shared_keys import SectionConfig


class Output(NamedTuple):
    """What the network makes of N videos, or of N views."""

    logits: np.ndarray  # float32 [N, K]
    features: np.ndarray  # float32 [N, T, F], what the classifier gets, of each segment


# uint8 frames [N, T, H, W, C] -> what waits for their output
Start = Callable[[np.ndarray], Callable[[], Output]]

# Frames that the eager network computes at a time: a frame of 224x224 takes some 10 MB, a GPU needs many to be busy.
_FRAMES_AT_ONCE = {"cpu": 32, "gpu": 256}


def over_views(start: Start, section: SectionConfig) -> Start:
    """Return a function that starts videos [N, V * T, H, W, C], made of one that starts views [N * V, T, H, W, C].

    A video's features are the mean of its views'; its logits are as `average_views` has them.
    """

    def start_videos(frames: np.ndarray) -> Callable[[], Output]:
        videos, _, *image = frames.shape
        wait = start(frames.reshape(videos * section.crops, -1, *image))

        def wait_for_videos() -> Output:
            logits, features = (part.reshape(videos, section.crops, *part.shape[1:]) for part in wait())
            return Output(average_views(logits, section.average), features.mean(axis=1))

        return wait_for_videos

    return start_videos


def average_views(logits: np.ndarray, average: str) -> np.ndarray:
    """Return float32 [N, K] of the logits [N, V, K] of each view.

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
    """Return the same as `start`, of which it asks no more views at a time than the device has use for."""

    def start_pieces(views: np.ndarray) -> Callable[[], Output]:
        size = max(1, _FRAMES_AT_ONCE[device] // views.shape[1])
        waiting = [start(views[i : i + size]) for i in range(0, len(views), size)]
        return lambda: Output(*map(np.concatenate, zip(*(wait() for wait in waiting))))

    return start_pieces
