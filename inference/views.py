"""The V views of a video, of T frames each: computed all at once or in pieces, and combined into one answer.

A video's frames are [V * T, H, W, C]: all frames of one crop, then all of the next.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from utils.config.shared_keys import SectionConfig


class Output(NamedTuple):
    """The network's output for N videos, or for N views."""

    logits: np.ndarray  # float32 [N, K]
    features: np.ndarray  # float32 [N, T, F], the classifier's input for each segment


# uint8 frames [N, T, H, W, C] -> a function that waits for their output
Start = Callable[[np.ndarray], Callable[[], Output]]

# Frames that the eager network computes at a time: a frame of 224x224 takes about 10 MB; a GPU needs many to be busy.
_FRAMES_AT_ONCE = {"cpu": 32, "gpu": 256}


def over_views(start: Start, section: SectionConfig) -> Start:
    """Return a function that starts videos [N, V * T, H, W, C], from one that starts views [N * V, T, H, W, C].

    A video's features are the mean over its views; its logits come from `average_views`.
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
    """Return the videos' logits float32 [N, K] from the logits [N, V, K] of the views.

    average "logits": the mean of the logits. If the network is linear after its features, this equals averaging the
    features. Otherwise: the logarithm of the views' mean probabilities, so that its softmax is that mean.
    """
    if logits.shape[1] == 1:
        return logits[:, 0]
    if average == "logits":
        return logits.mean(axis=1)
    logits = logits.astype(np.float64)
    with np.errstate(invalid="ignore"):  # logits that are not finite stay so, and are refused when they are counted
        # Not through the probabilities themselves: one that is rounded to 0 has no finite logarithm.
        log_probabilities = logits - np.logaddexp.reduce(logits, axis=2, keepdims=True)
        mean = np.logaddexp.reduce(log_probabilities, axis=1) - np.log(logits.shape[1])
    return mean.astype(np.float32)


def in_pieces(start: Start, device: str) -> Start:
    """Return the same as `start`, but split into calls with no more views than the device can use at a time."""

    def start_pieces(views: np.ndarray) -> Callable[[], Output]:
        size = max(1, _FRAMES_AT_ONCE[device] // views.shape[1])
        waiting = [start(views[i : i + size]) for i in range(0, len(views), size)]
        return lambda: Output(*map(np.concatenate, zip(*(wait() for wait in waiting))))

    return start_pieces
