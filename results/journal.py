"""Keep the rows of predict.py and eval.py, one line of JSON per video, so that the same command can resume.

NAME.partial.jsonl         rank 0's rows, after the fingerprint line that says what the run is; batches that
                           are computed again, because a video was unreadable or has changed, come last
NAME.partial.rank1.jsonl   rank 1's rows
NAME.jsonl                 all rows by position, once the run is over
"""

import heapq
import itertools
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from functools import partial
from operator import itemgetter
from pathlib import Path

from results.known_batches import KeptRows, KnownBatches, copy_pieces, keep_batches
from utils.errors import RunError, os_errors
from utils.processes.ranks import World
from utils.storage.files import (
    flush_folder,
    make_save_dir,
    rename,
    write_all,
    write_atomic,
    write_stream,
    writing,
)
from utils.storage.lines import parsed, to_line
from utils.storage.lock import FolderLock, open_locked

# Each batch's rows are passed to the system at once and survive the end of the process. A power cut costs the batches
# of at most this many seconds. A flush takes a disk 1 to 20 ms.
SECONDS_BETWEEN_FLUSHES = 0.2


def part_path(folder: Path, name: str, rank: int = 0) -> Path:
    return folder / f"{name}.partial{f'.rank{rank}' if rank else ''}.jsonl"


def read_rows(path: Path) -> Iterator[dict]:
    """Yield the rows after the fingerprint of a file with whole lines. Raises RunError if it cannot be read."""
    with os_errors(RunError, f"{path}: cannot be read"), open(path, encoding="ascii") as file:
        yield from map(json.loads, itertools.islice(file, 1, None))


class Rows:
    """The rows of several files, each sorted by position, merged by position. Each iteration reads the files anew."""

    def __init__(self, paths: Sequence[Path]):
        self._paths = paths

    def __iter__(self) -> Iterator[dict]:
        return heapq.merge(*map(read_rows, self._paths), key=itemgetter("position"))


class Journal(AbstractContextManager):
    """One rank's file, locked against other processes. A context manager.

    If no row is written, neither the file nor a folder made for it stays behind.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        fingerprint: Mapping[str, object],
        columns: Sequence[str],
        world: World = World(),
        undelivered: bool = False,
        fits: Callable[[dict], bool] = lambda row: True,
    ):
        """Open or create the rank's file.

        fingerprint: says what the run is; rows with another fingerprint are dropped. columns: the columns of a readable
        video's row after `position`, `video` and `file`. undelivered: reopen a finished file because its results were
        not delivered. fits: whether the run could have written such a row.

        Raises:
            InputError: the folder cannot be made.
            RunError: another run uses the folder, another process uses the file, or the file cannot be written.
        """
        self.parts = [part_path(folder, name, rank) for rank in range(world.size)]
        self.path = self.parts[world.rank]
        self.known, self._end = KnownBatches(), 0  # the batches in the rank's file, and its length in bytes
        self.again = KeptRows()  # the rows that were outdated when the run resumed
        self._final, self._fingerprint = folder / f"{name}.jsonl", fingerprint
        self._kinds = [("position", "video", "file", *columns), ("position", "video", "file", "error")]
        self._fits, self._flushed = fits, 0.0
        self.made_folder = not folder.exists()  # by this run, on any rank
        make_save_dir(str(folder))
        # Rank 0's lock covers the folder. The other ranks lock their files too, as a rank may briefly outlive rank 0.
        self._lock = FolderLock(folder, f"--save_dir={folder}") if world.is_main else None
        finished = undelivered and len(self.parts) == 1 and self._final.exists() and not self.path.exists()
        try:
            with writing(self.path):
                self._file = open_locked(self._final if finished else self.path)
                if finished:
                    rename(self._final, self.path)
                self._empty = self.path.stat().st_size == 0
        except BaseException:  # also Ctrl-C: the error continues, and the folder becomes free for others
            if self._lock:
                self._lock.release()
            raise

    def is_row(self, row: object) -> bool:
        """Return whether a kept object is a valid row of this run: an invalid one would crash it or be trusted."""
        if type(row) is not dict or tuple(row) not in self._kinds:
            return False
        position, video = row["position"], row["video"]
        if type(position) is not int or type(video) is not str or not 0 <= position < self._fingerprint["videos"]:
            return False
        return "error" in row or self._fits(row)

    def knows(self, position: int) -> bool:
        return self.known.knows(self.known.order.index(position) // self.known.size)

    def resume(self, order: range, batch_size: int, restart: str = "") -> str:
        """Keep the rows of the complete batches of `order` in which no video has to be read again.

        restart: a reason to keep nothing. Return "" if the file belongs to this run. Otherwise the file is begun anew,
        and the reason is returned: "new" if there was no file, or a text for the user.
        """
        self.known, self.again = KnownBatches(order, batch_size), KeptRows()
        with writing(self.path):
            with open(self.path, "rb") as file:
                first = file.readline()
                why = "new" if not first else restart or self._difference(first)
                behind = 0 if why else len(first)
                if not why:
                    self.again = keep_batches(file, behind, self.is_row, self.known)
            pieces = [(0, behind), *self.again.pieces]
            if self.again.stale:
                self._replace(partial(copy_pieces, self.path, pieces))
            self._file.truncate(sum(end - start for start, end in pieces))
            if why:
                self._write(to_line(self._fingerprint))
                flush_folder(self.path.parent)
            self._flush()
            self._end = self.path.stat().st_size
        self._empty = self.known.count == 0 < len(order)  # a rank without videos is already complete
        return why

    def append(self, rows: Iterable[Mapping[str, object]]) -> None:
        """Write the rows of a batch. Raises RunError if that fails; earlier rows stay."""
        lines = [(row["position"], to_line(row)) for row in rows]
        with writing(self.path):
            self._write("".join(line for _, line in lines))
            if time.monotonic() - self._flushed >= SECONDS_BETWEEN_FLUSHES:
                self._flush()
        for position, line in lines:
            self.known.note(position, self._end)
            self._end += len(line)
        self._empty = False

    def settle(self) -> None:
        """Sort the rows, which are complete, by the order of the list. Raises RunError."""
        if not self.known.in_turn:
            self._replace(partial(self.known.copy_in_turn, self.path))

    def _replace(self, write: Callable[[Path], None]) -> None:
        """Rewrite the file atomically."""
        self._let_go()
        write_atomic(self.path, write)
        with writing(self.path):
            old, self._file = self._file, open_locked(self.path)
        old.close()

    def rows(self) -> Rows:
        """Return the rows of all ranks. For rank 0, once the others are done."""
        return Rows(self.parts)

    def finish(self) -> None:
        """Give the rows of all ranks their final name. For rank 0, like `rows`."""
        if len(self.parts) == 1:
            with writing(self.path):
                self._flush()
                self._let_go()
                rename(self.path, self._final)
            self.parts = []  # from now on, files with these names belong to another process
            return
        lines = itertools.chain([self._fingerprint], self.rows())
        write_stream(self._final, lambda file: file.writelines(map(to_line, lines)))

    def discard(self) -> None:
        """Remove the parts because they are useless or already delivered. For rank 0, like `rows`."""
        remove_files(part for part in self.parts if part != self.path)
        self._empty = bool(self.parts)

    def __exit__(self, *_) -> None:
        if self._empty:
            self._let_go()
            remove_files([self.path])
        self._file.close()
        if self._lock:
            self._lock.release()
        if self._empty and self.made_folder:
            with suppress(OSError):  # another rank's file may still be there
                self.path.parent.rmdir()

    def _let_go(self) -> None:
        if os.name == "nt":  # Windows cannot rename or remove open files; other systems keep the lock meanwhile
            self._file.close()

    def _write(self, text: str) -> None:
        write_all(self._file, text.encode("ascii"))

    def _flush(self) -> None:
        os.fsync(self._file.fileno())
        self._flushed = time.monotonic()

    def _difference(self, first: bytes) -> str:
        fingerprint = parsed(first)
        if fingerprint is None or "script" not in fingerprint:
            return "its first line is damaged"
        # Except for the weights' path, the protocol follows from the other keys. The same weights may have moved.
        differing = [
            name
            for name in self._fingerprint
            if name != "protocol" and fingerprint.get(name) != self._fingerprint[name]
        ]
        return f"another run's ({', '.join(differing)} differ)" if differing else ""


def remove_files(paths: Iterable[Path]) -> None:
    for path in paths:
        with suppress(OSError):
            path.unlink()
