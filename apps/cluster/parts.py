"""Keep each finished shard of a list as a part in save_dir/parts, until the journal has the rows of all.

parts/NAME.jsonl  the rows, a line per video; written last, so if it exists, the shard is done
parts/NAME.npy    their features, if there are any
"""

import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from apps.cluster.shards import Shard
from results.feature_file import FeatureFile
from results.journal import Journal
from results.known_batches import is_stale
from utils.errors import RunError, os_errors
from utils.storage.copies import on_this_machine, temporary_root
from utils.storage.files import rename, writing
from utils.storage.lines import parsed, to_line
from utils.storage.objects import StorageError, extended, is_remote, list_files, remove_file, upload

ROWS, FEATURES = ".jsonl", ".npy"


class Parts:
    """The parts in a save_dir, which all machines share, or in object storage."""

    def __init__(self, save_dir: str):
        self._remote = is_remote(save_dir)
        self._path = extended(save_dir, "/parts") if self._remote else os.path.abspath(Path(save_dir, "parts"))

    def files(self) -> set[str]:
        """Return the names of all files there. Raises RunError."""
        with os_errors(RunError, f"{self._path}: cannot be read"):
            if not self._remote:
                return set(os.listdir(self._path)) if os.path.isdir(self._path) else set()
            try:
                return {info.base_name for info in list_files(self._path)}
            except StorageError as error:
                if "no such" in error.strerror:
                    return set()
                raise

    @contextmanager
    def making(self) -> Iterator[Path]:
        """Yield a temporary folder in which to make the files of a part."""
        root = None if self._remote else self._path
        with writing(self._path):
            if root is not None:
                os.makedirs(root, exist_ok=True)
            folder = Path(root or temporary_root(), f".{uuid.uuid4().hex}")  # hidden, as it is not a part yet
            folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def add(self, file: Path, name: str) -> None:
        """Move a complete file to its place. Raises RunError."""
        with writing(self._path):
            if self._remote:
                upload(file, extended(self._path, f"/{name}"))
                return
            with open(file, "r+b") as written:
                os.fsync(written.fileno())
            rename(file, Path(self._path, name))

    @contextmanager
    def file(self, name: str) -> Iterator[Path]:
        """Open a context with the file `name` on this machine. Raises RunError."""
        path = extended(self._path, f"/{name}") if self._remote else os.path.join(self._path, name)
        with os_errors(RunError, f"{path}: cannot be read"), on_this_machine(path) as local:
            yield Path(local)

    def remove(self, names: Iterable[str]) -> None:
        """Remove files if they exist, and the folder if it is then empty."""
        for name in names:
            with suppress(OSError):
                if self._remote:
                    remove_file(extended(self._path, f"/{name}"))
                elif name.startswith("."):
                    shutil.rmtree(Path(self._path, name))
                else:
                    os.unlink(Path(self._path, name))
        with suppress(OSError):
            os.rmdir(self._path)

    def done_with(self, shard: Shard) -> None:
        """Remove a part that the journal holds; not yet from object storage, because the journal is not there."""
        if not self._remote:
            self.remove([shard.name + ROWS, shard.name + FEATURES])


class Assembly:
    """The parts of a run, and the journal that gets their rows in the order of the list."""

    def __init__(self, parts: Parts, shards: list[Shard], journal: Journal, features: FeatureFile | None):
        """Remove parts of other runs and parts with videos that must be read again."""
        self._parts, self._shards, self._journal, self._features = parts, shards, journal, features
        suffixes = [ROWS] if features is None else [FEATURES, ROWS]
        there = parts.files()
        ours = {shard.index: {shard.name + suffix for suffix in suffixes} for shard in shards}
        ready = (index for index, names in ours.items() if names <= there)
        self._ready = {i for i in ready if self._is_known(shards[i]) or not any(map(is_stale, self._rows(shards[i])))}
        parts.remove(there - set().union(*(ours[index] for index in self._ready)))
        self._next = 0  # the first shard that is not completely in the journal
        self._join()

    @property
    def missing(self) -> list[Shard]:
        """Return the shards that are still to be computed."""
        left = (shard for shard in self._shards[self._next :] if shard.index not in self._ready)
        return [shard for shard in left if not self._is_known(shard)]

    def add(self, shard: Shard) -> None:
        """Note that the shard's part is complete. Raises RunError if the parts next in order cannot be joined."""
        self._ready.add(shard.index)
        self._join()

    def _join(self) -> None:
        for shard in self._shards[self._next :]:
            if not self._is_known(shard):
                if shard.index not in self._ready:
                    return
                self._take(shard)
            self._parts.done_with(shard)
            self._next = shard.index + 1

    def _is_known(self, shard: Shard) -> bool:
        step = self._journal.known.size  # a shard holds whole batches
        return all(self._journal.knows(position) for position in range(shard.first, shard.last, step))

    def _rows(self, shard: Shard) -> list[dict]:
        with self._parts.file(shard.name + ROWS) as path, open(path, "rb") as file:
            rows = list(map(parsed, file))
        believed = all(map(self._journal.is_row, rows))
        if not believed or [row["position"] for row in rows] != list(range(shard.first, shard.last)):
            raise RunError(f"{path}: does not hold the rows of its shard: remove it, and run the command again")
        return rows

    def _take(self, shard: Shard) -> None:
        rows = self._rows(shard)
        if self._features is not None:
            with self._parts.file(shard.name + FEATURES) as path:
                self._features.write(shard.first, np.load(path))
        # A run on one machine may have ended inside the shard, or some of its batches must be computed again.
        self._journal.append(row for row in rows if not self._journal.knows(row["position"]))


def write_part(parts: Parts, shard: Shard, features: FeatureFile | None, rows: Iterator[list[dict]], folder: Path):
    """Compute the rows batch by batch into files of `folder`, then move them to their place. Raises RunError."""
    path = folder / "rows"
    with writing(path), open(path, "w", encoding="ascii") as file:
        for batch in rows:
            file.writelines(map(to_line, batch))
    if features is not None:
        parts.add(features.path, shard.name + FEATURES)
    parts.add(path, shard.name + ROWS)
