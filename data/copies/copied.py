"""What the copies in a folder were made of, so that a source that has changed since is told from one that has not."""

from collections.abc import Sequence

import numpy as np

from data.checks.path_index import digests_of, find
from data.checks.records import Records
from reader.filelist import Entry

_NONE = (-1, -1)


class CopiedSources:
    """The signature (utils/storage/stamps.py) that the source of each copy had; in memory 24 bytes a video."""

    def __init__(self, journal: Records, entries: Sequence[Entry], positions: Sequence[int]):
        """Take up what the journal knows of the entries at these positions."""
        self._journal = journal
        self._digests = np.unique(digests_of(entries[i].path for i in positions))
        self._known = np.full((len(self._digests), 2), _NONE, np.int64)
        for _, record in journal.records():
            if (row := find(self._digests, record["video"])) is not None:
                self._known[row] = record["file"]

    def of(self, source: str) -> list[int] | None:
        """Return the signature that the source had when it was copied; None where that is not known."""
        row = find(self._digests, source)
        known = None if row is None else self._known[row].tolist()
        return None if known == list(_NONE) else known

    def note(self, source: str, file: list[int] | None) -> None:
        """Keep the signature that a source had before it was copied. Raises RunError."""
        if file is not None:  # else it has gone in the meantime, or is a remote one
            self._journal.add({"video": source, "file": file})
