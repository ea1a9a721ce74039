"""Several lists as one sequence of lines, some of which name the same video."""

from bisect import bisect_right
from collections.abc import Iterator

import numpy as np

from data.checks.path_index import digests_of, find
from reader.filelist import Entry, FileList, read_list
from utils.errors import InputError


class Listings:
    """The N lines of some lists, one list after the other, which name D different videos.

    videos: int [N], the video that each line names. firsts: int [D], the first line that names each video. starts:
    the first line of each list, and finally N.
    """

    def __init__(self, paths: list[str], num_classes: int, frame_format: str, prefix: str = "", labels: str = "single"):
        """Read the lists, which may lack labels. Raises InputError for other lists that training would refuse."""
        self.paths, self.lists, self.starts = paths, [], [0]
        digests = []
        for path in paths:
            how = {"frame_format": frame_format, "needs_label": False, "prefix": prefix, "labels": labels}
            entries = read_list(path, num_classes=num_classes, **how)
            _check_labels(path, entries)
            self.lists.append(entries)
            self.starts.append(self.starts[-1] + len(entries))
            digests.append(digests_of(entry.path for entry in entries))
        found = np.unique(np.concatenate(digests), return_index=True, return_inverse=True)
        self._digests, self.firsts, self.videos = found

    def __len__(self) -> int:
        return self.starts[-1]

    @property
    def num_videos(self) -> int:
        """Return D."""
        return len(self._digests)

    def line(self, position: int) -> tuple[str, Entry]:
        """Return (path of the list, entry) of one of the N lines."""
        which = bisect_right(self.starts, position) - 1
        return self.paths[which], self.lists[which][position - self.starts[which]]

    def first_line(self, video: int) -> tuple[str, Entry]:
        """Return (path of the list, entry) of the first line that names one of the D videos."""
        return self.line(int(self.firsts[video]))

    def find(self, path: str) -> int | None:
        """Return the number of the video with this path, or None."""
        return find(self._digests, path)

    def unknown(self, known: np.ndarray) -> Iterator[tuple[str, int, int | None]]:
        """Yield (path, position in its list, frames) for each video that is not `known`, bool [D]."""
        for position, video in enumerate(self.videos):
            if self.firsts[video] == position and not known[video]:
                which = bisect_right(self.starts, position) - 1
                entry = self.line(position)[1]
                yield entry.path, position - self.starts[which], entry.frames


def _check_labels(path: str, entries: FileList) -> None:
    bare = next((entry for entry in entries if entry.label is None), None)
    if bare and any(entry.label is not None for entry in entries):
        raise InputError(f"{path}:{bare.line}: expected 'path label', as on other lines")
