"""Keep an array row per video beside the journal: row i of features.npy or the probabilities belongs to video i.

features.partial.npy        while the run is going on, beside its journal
features.partial.rank1.npy  with several ranks, one file per rank with its own videos in order
"""

import math
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from inference.label_kinds import ONE, LabelKind
from inference.views import Output
from reader.loader import Batch
from utils.errors import RunError
from utils.processes.ranks import World
from utils.storage.files import rename, write_atomic, writing

FEATURES, PROBABILITIES = "features", "probabilities"
_ROWS_AT_ONCE = 4096  # read and written at once when the ranks' files are joined


class FeatureFile:
    """A rank's rows, [N, F] or [N, T, F], in the order of its positions; NaN for an unreadable video.

    Only one batch's rows are mapped at a time, because mapped rows count as this process's memory.
    """

    def __init__(
        self,
        folder: Path,
        order: range,
        shape: Sequence[int],
        dtype: str,
        world: World = World(),
        name: str = FEATURES,
        kind: LabelKind = ONE,
    ):
        """order: the rank's positions. shape: of a row, (F,) for the segments' mean or (T, F). name: of the file.

        kind: turns logits into probabilities.
        """
        self.parts = [folder / f"{name}.partial{f'.rank{r}' if r else ''}.npy" for r in range(world.size)]
        self._kind = kind
        self.path, self._final, self.name = self.parts[world.rank], folder / f"{name}.npy", name
        self.row_shape, self.dtype = tuple(shape), np.dtype(dtype)
        self._order, self._shape = order, (len(order), *shape)
        self._offset = 0  # bytes before the first row

    def open(self, known: int) -> bool:
        """Open the file of a run that resumes after `known` rows, or make one. Return False if it is missing or unfit.

        Raises RunError if it cannot be made, for example if the disk is full.
        """
        if not known:
            try:
                allocate(self.path, self.dtype, self._shape)
            except OSError as error:
                with suppress(OSError):
                    self.path.unlink()
                size = math.prod(self._shape) * self.dtype.itemsize
                why = f"{error.strerror or error} (it takes {size} bytes)"
                raise RunError(f"{self.path}: cannot be written: {why}") from None
        elif known == len(self._order) and not self.path.exists() and len(self.parts) == 1:
            with suppress(OSError):  # the run ended between its last two renames
                os.replace(self._final, self.path)
        try:
            file = np.load(self.path, mmap_mode="r")
        except (OSError, ValueError, EOFError):
            return False
        self._offset = file.offset
        return (file.shape, file.dtype) == (self._shape, self.dtype)

    def take(self, batch: Batch, output: Output) -> None:
        """Write the values that the file holds, see `put`: features, or for PROBABILITIES each class's [K]."""
        self.put(batch, output.features if self.name == FEATURES else self._kind.probabilities(output.logits)[:, None])

    def put(self, batch: Batch, features: np.ndarray) -> None:
        """Write the rows of a batch with features float32 [N, T, F] to the disk. Raises RunError if that fails."""
        positions = sorted([*batch.indices, *(position for position, _ in batch.unreadable)])
        rows = np.full((len(positions), *self.row_shape), np.nan, self.dtype)
        if batch.indices:
            read = features if rows.ndim == 3 else features.mean(axis=1)
            rows[np.searchsorted(positions, batch.indices)] = read
        self.write(positions[0], rows)

    def write(self, position: int, rows: np.ndarray) -> None:
        """Write rows for consecutive positions of this file, starting at `position`, as `put` does."""
        start = self._offset + self._order.index(position) * rows[0].nbytes
        with writing(self.path):
            mapped = np.memmap(self.path, self.dtype, "r+", start, rows.shape)
            mapped[:] = rows
            mapped.flush()

    def read(self, first: int, last: int) -> np.ndarray:
        """Return the rows of positions first to last - 1 of the list, from all ranks. For rank 0, like `finish`."""
        rows = np.empty((last - first, *self.row_shape), self.dtype)
        for rank, part in enumerate(self.parts):
            start = first + (rank - first) % len(self.parts)  # the first position that belongs to the rank
            mine = rows[start - first :: len(self.parts)]
            mine[:] = np.load(part, mmap_mode="r")[start // len(self.parts) :][: len(mine)]
        return rows

    def finish(self) -> None:
        """Give the rows of all ranks their final name. For rank 0, once the other ranks are done."""
        if len(self.parts) > 1:
            write_atomic(self._final, self._join)
            return
        with writing(self._final):
            rename(self.path, self._final)
        self.parts = []  # from now on, files with the old names belong to another run

    def discard(self) -> None:
        """Remove the ranks' files after `finish` joined them, or when another format holds their rows. For rank 0."""
        for part in self.parts:
            part.unlink(missing_ok=True)

    def _join(self, path: Path) -> None:
        parts = [np.load(part, mmap_mode="r") for part in self.parts]
        shape = (sum(map(len, parts)), *self._shape[1:])
        allocate(path, self.dtype, shape)
        whole = np.load(path, mmap_mode="r+")
        for rank, part in enumerate(parts):
            for start in range(0, len(part), _ROWS_AT_ONCE):
                piece = part[start : start + _ROWS_AT_ONCE]
                whole[rank + start * len(parts) :: len(parts)][: len(piece)] = piece
        whole.flush()


def write_features(folder: Path, features: np.ndarray, dtype: str, segments: bool) -> None:
    """Write features float32 [N, T, F], or their means [N, F], as features.npy. Raises RunError if that fails."""
    rows = (features if segments else features.mean(axis=1)).astype(dtype)

    def write(path: Path) -> None:
        with open(path, "wb") as file:  # np.save would append a suffix to a name
            np.save(file, rows)

    write_atomic(folder / f"{FEATURES}.npy", write)


def allocate(path: Path, dtype: np.dtype, shape: tuple[int, ...]) -> None:
    """Make a .npy file of zeros and reserve its space on the disk. Raises OSError if the disk is full."""
    np.lib.format.open_memmap(path, "w+", dtype, shape)
    if hasattr(os, "posix_fallocate"):
        # Otherwise a full disk ends the process with SIGBUS when a mapped page is written later.
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def remove_partial_features(folder: Path, name: str, keep: Sequence[Path]) -> None:
    """Remove the partial files of unfinished runs, except the files `keep`."""
    for path in set(folder.glob(f"{name}.partial*.npy")) - set(keep):
        with suppress(OSError):
            path.unlink()
