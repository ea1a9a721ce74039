"""Compute a network's answer for each window of a long video while frames arrive, without computing a frame twice.

If a view's logits are the mean over its segments, each frame is computed once, and only sums of logits are kept for
incomplete windows. If a network's frames see each other, each window is computed like a video of its own.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from inference.network import Network
from inference.pipeline import answers
from inference.views import average_views
from reader.windows import Frames, WindowSpans
from utils.config.shared_keys import SectionConfig

# logits [1, K] -> the answer for a window
Name = Callable[[np.ndarray], object]


class SeenWindow(NamedTuple):
    """A window and its answer."""

    start: float  # from the first frame, in seconds
    end: float
    said: object


def see_windows(
    network: Network, section: SectionConfig, name: Name, parts: Iterable[WindowSpans | Frames]
) -> list[SeenWindow]:
    """Return all windows of a video in order. parts: from `stream_windows`, whose errors are raised."""
    kind = _FramesApart if network.frames_apart else _WholeWindows
    windows: _WindowSums | None = None

    def pieces() -> Iterator[_Piece]:
        nonlocal windows
        for part in parts:
            if isinstance(part, Frames):
                yield from windows.pieces(part)
            else:
                windows = kind(part, section, name)  # the video starts again: earlier windows are dropped

    computed = replace(network, start=network.views) if network.frames_apart else network
    for piece, output in answers(computed, pieces()):
        piece.windows.add(piece, output.logits)
    return windows.seen()


@dataclass
class _Piece:
    """One call of the network."""

    windows: "_WindowSums"
    frames: np.ndarray  # uint8 [N, T, H, W, C]
    indices: list  # the windows they belong to


class _WindowSums:
    """The windows of a video, and the answers of the complete ones."""

    def __init__(self, spans: WindowSpans, section: SectionConfig, name: Name):
        self._spans, self._section, self._name = spans, section, name
        self._said: dict[int, object] = {}

    def seen(self) -> list[SeenWindow]:
        """Return the complete windows: a container may have promised more."""
        return [
            SeenWindow(*span, self._said[window]) for window, span in enumerate(self._spans) if window in self._said
        ]


class _FramesApart(_WindowSums):
    """Windows computed as sums over the logits of their frames."""

    def __init__(self, *how):
        super().__init__(*how)
        self._open: dict[int, tuple[int, np.ndarray]] = {}  # window -> (segments so far, sum of their logits [V, K])

    def pieces(self, part: Frames) -> Iterator[_Piece]:
        crops = part.crops  # [B, V, H, W, C] -> [B * V, 1, H, W, C]
        yield _Piece(self, crops.reshape(-1, 1, *crops.shape[2:]), part.uses)

    def add(self, piece: _Piece, logits: np.ndarray) -> None:
        """logits: float32 [B * V, K]."""
        for of_frame, uses in zip(logits.reshape(len(piece.indices), -1, logits.shape[1]), piece.indices):
            for window, _ in uses:
                number, total = self._open.pop(window, (0, 0))
                number, total = number + 1, total + of_frame
                if number < self._section.seg_num:
                    self._open[window] = number, total
                else:
                    self._said[window] = self._name(average_views(total[None] / number, self._section.average))


class _WholeWindows(_WindowSums):
    """Windows that are computed once all their frames have arrived."""

    def __init__(self, *how):
        super().__init__(*how)
        self._open: dict[int, dict[int, np.ndarray]] = {}  # window -> segment -> [V, H, W, C]

    def pieces(self, part: Frames) -> Iterator[_Piece]:
        for crops, uses in zip(part.crops, part.uses):
            for window, segment in uses:
                frames = self._open.setdefault(window, {})
                frames[segment] = crops
                if len(frames) == self._section.seg_num:
                    del self._open[window]
                    views = np.stack([frames[t] for t in range(len(frames))], axis=1)  # [V, T, H, W, C]
                    yield _Piece(self, views.reshape(1, -1, *views.shape[2:]), [window])

    def add(self, piece: _Piece, logits: np.ndarray) -> None:
        """logits: float32 [1, K]."""
        self._said[piece.indices[0]] = self._name(logits)
