"""Remember from which file each copy in a folder was made, so that changed sources are copied again."""

from collections.abc import Sequence

import numpy as np

from data.checks.path_index import digests_of, find
from data.checks.records import Records
from reader.filelist import Entry

_NONE = (-1, -1)


class CopiedSources:
    """The signature (utils/storage/stamps.py) of each copy's source. It takes 24 bytes of memory per video."""

    def __init__(self, journal: Records, entries: Sequence[Entry], positions: Sequence[int]):
        """Read the journal's signatures of the entries at these positions."""
        self._journal = journal
        self._digests = np.unique(digests_of(entries[i].path for i in positions))
        self._known = np.full((len(self._digests), 2), _NONE, np.int64)
        for _, record in journal.records():
            if (row := find(self._digests, record["video"])) is not None:
                self._known[row] = record["file"]

    def of(self, source: str) -> list[int] | None:
        """Return the signature of the source when it was copied; None if unknown."""
        row = find(self._digests, source)
        known = None if row is None else self._known[row].tolist()
        return None if known == list(_NONE) else known

    def note(self, source: str, file: list[int] | None) -> None:
        """Store the signature that a source had before it was copied. Raises RunError.

        file: None if the source is remote or gone.
        """
        if file is not None:
            self._journal.add({"video": source, "file": file})
