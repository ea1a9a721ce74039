"""What is kept of each video beside its row: features.npy, row i of the list's video i; probabilities in the same way.

features.partial.npy        while the run is under way, beside its journal
features.partial.rank1.npy  of several ranks each has one, of its own videos in their order
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
_ROWS_AT_ONCE = 4096  # read and written when the files of the ranks are joined


class FeatureFile:
    """A rank's rows, [N, F] or [N, T, F], in the order of its positions; NaN for a video that cannot be read.

    A batch's rows are mapped one batch at a time: what is mapped counts as memory of this process.
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
        """order: the rank's positions. shape: of a row, (F,) for the mean of the segments or (T, F). name: of it.

        kind: of the probabilities.
        """
        self.parts = [folder / f"{name}.partial{f'.rank{r}' if r else ''}.npy" for r in range(world.size)]
        self._kind = kind
        self.path, self._final, self.name = self.parts[world.rank], folder / f"{name}.npy", name
        self.row_shape, self.dtype = tuple(shape), np.dtype(dtype)
        self._order, self._shape = order, (len(order), *shape)
        self._offset = 0  # of the first row, in bytes

    def open(self, known: int) -> bool:
        """Take up the file for a run that goes on behind `known` rows, or make one; False where it is not there.

        Raises RunError: it cannot be made, for want of space perhaps.
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
            with suppress(OSError):  # the run ended between the last two of its renamings
                os.replace(self._final, self.path)
        try:
            file = np.load(self.path, mmap_mode="r")
        except (OSError, ValueError, EOFError):
            return False
        self._offset = file.offset
        return (file.shape, file.dtype) == (self._shape, self.dtype)

    def take(self, batch: Batch, output: Output) -> None:
        """Write what the file is of, see `put`: the features, or of PROBABILITIES those of each class [K]."""
        self.put(batch, output.features if self.name == FEATURES else self._kind.probabilities(output.logits)[:, None])

    def put(self, batch: Batch, features: np.ndarray) -> None:
        """Write the rows of a batch with features float32 [N, T, F] to the disk. Raises RunError where that fails."""
        positions = sorted([*batch.indices, *(position for position, _ in batch.unreadable)])
        rows = np.full((len(positions), *self.row_shape), np.nan, self.dtype)
        if batch.indices:
            read = features if rows.ndim == 3 else features.mean(axis=1)
            rows[np.searchsorted(positions, batch.indices)] = read
        self.write(positions[0], rows)

    def write(self, position: int, rows: np.ndarray) -> None:
        """Write the rows of some positions that follow one another in this file, from `position` on, as `put` does."""
        start = self._offset + self._order.index(position) * rows[0].nbytes
        with writing(self.path):
            mapped = np.memmap(self.path, self.dtype, "r+", start, rows.shape)
            mapped[:] = rows
            mapped.flush()

    def read(self, first: int, last: int) -> np.ndarray:
        """Return the rows of the positions first to last - 1 of the list, of all ranks. For rank 0, as `finish`."""
        rows = np.empty((last - first, *self.row_shape), self.dtype)
        for rank, part in enumerate(self.parts):
            start = first + (rank - first) % len(self.parts)  # the first position that is the rank's
            mine = rows[start - first :: len(self.parts)]
            mine[:] = np.load(part, mmap_mode="r")[start // len(self.parts) :][: len(mine)]
        return rows

    def finish(self) -> None:
        """Give the rows of all ranks their final name. For rank 0, once the others are done."""
        if len(self.parts) > 1:
            write_atomic(self._final, self._join)
            return
        with writing(self._final):
            rename(self.path, self._final)
        self.parts = []  # what is called so from now on is another run's

    def discard(self) -> None:
        """Remove what `finish` has joined, or another format holds. For rank 0, once nobody needs it any more."""
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
    """Write features float32 [N, T, F], or their means [N, F], as features.npy. Raises RunError where that fails."""
    rows = (features if segments else features.mean(axis=1)).astype(dtype)

    def write(path: Path) -> None:
        with open(path, "wb") as file:  # a name would get another suffix
            np.save(file, rows)

    write_atomic(folder / f"{FEATURES}.npy", write)


def allocate(path: Path, dtype: np.dtype, shape: tuple[int, ...]) -> None:
    """Make a .npy file of zeros that has its room on the disk; raises OSError where there is not enough."""
    np.lib.format.open_memmap(path, "w+", dtype, shape)
    if hasattr(os, "posix_fallocate"):
        # Else a mapped page that finds no room later ends the process with SIGBUS.
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def remove_partial_features(folder: Path, name: str, keep: Sequence[Path]) -> None:
    """Remove what runs have left that were never finished, but for the files `keep`."""
    for path in set(folder.glob(f"{name}.partial*.npy")) - set(keep):
        with suppress(OSError):
            path.unlink()
