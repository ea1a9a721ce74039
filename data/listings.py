"""The lines of some lists without their text: a few bytes each, so that a million of them fit anywhere."""

from array import array
from collections.abc import Iterator
from functools import partial
from hashlib import blake2b
from os import fsencode

import numpy as np

from data.inspection import Video
from reader.filelist import Entry, entries_of
from utils.errors import InputError, RunError


class Listings:
    """N lines of some lists, all lists one after the other, which name D different videos.

    lines, labels: int [N], the number of the line in its list, and its label or -1. videos: int [N], which of the D it
    names. starts: where in N each list begins, and N at the end.
    """

    def __init__(self, paths: list[str], num_classes: int, frame_format: str):
        """Reads the lists through. Raises InputError for one that training would refuse."""
        self.paths, self.starts = paths, [0]
        self._entries = partial(entries_of, num_classes=num_classes, frame_format=frame_format, needs_label=False)
        digests, lines, labels = array("Q"), array("i"), array("i")
        for path in paths:
            bare = None
            for entry in self.entries(path):
                digests.append(_digest(entry.path))
                lines.append(entry.line)
                labels.append(-1 if entry.label is None else entry.label)
                bare = bare or (entry.line if entry.label is None else None)
            if bare and max(labels[self.starts[-1] :]) >= 0:
                raise InputError(f"{path}:{bare}: expected 'path label', as on other lines")
            self.starts.append(len(lines))
        self.lines, self.labels = np.array(lines), np.array(labels)
        # A digest of 64 bits for a path: that two of a million are the same has a chance of 1 in 40 million.
        self._digests, self._first, self.videos = np.unique(np.array(digests), return_index=True, return_inverse=True)

    def __len__(self) -> int:
        return len(self.lines)

    @property
    def num_videos(self) -> int:
        """D."""
        return len(self._digests)

    def entries(self, path: str) -> Iterator[Entry]:
        """The lines of one of the lists."""
        return self._entries(path)

    def place(self, position: int) -> str:
        """LIST:LINE of one of the N."""
        return f"{self.list_of(position)}:{self.lines[position]}"

    def list_of(self, position: int) -> str:
        """The list that one of the N stands in."""
        return self.paths[int(np.searchsorted(self.starts, position, side="right")) - 1]

    def find(self, path: str) -> int | None:
        """Which of the D videos has this path."""
        digest = _digest(path)
        video = int(np.searchsorted(self._digests, np.uint64(digest)))
        return video if video < self.num_videos and int(self._digests[video]) == digest else None

    def videos_without(self, known: np.ndarray) -> Iterator[tuple[int, Video]]:
        """(which of the D, the video) where `known`, bool [D], is False, in the order of the lists, each once."""
        for start, path in zip(self.starts, self.paths):
            for index, entry in enumerate(self.entries(path)):
                position = start + index
                video = int(self.videos[position]) if position < len(self) else -1
                if video < 0 or int(self._digests[video]) != _digest(entry.path):
                    raise RunError(f"{path}: was changed while its videos were read; run the command again")
                if self._first[video] == position and not known[video]:
                    yield video, Video(entry.path, index)


def _digest(path: str) -> int:
    return int.from_bytes(blake2b(fsencode(path), digest_size=8).digest())
