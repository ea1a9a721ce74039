"""What predict.py and eval.py know so far, a line of JSON per video: the same command continues from it.

NAME.partial.jsonl         rank 0's rows behind the fingerprint, a line that says what the run is, in their turn:
                           batches that are done again come last, as a video could not be read or is another one now
NAME.partial.rank1.jsonl   rank 1's
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

# A batch's rows are handed to the system at once, which survives the end of the process; a power cut costs the batches
# of so many seconds. A disk takes 1 to 20 ms to flush.
SECONDS_BETWEEN_FLUSHES = 0.2


def part_path(folder: Path, name: str, rank: int = 0) -> Path:
    return folder / f"{name}.partial{f'.rank{rank}' if rank else ''}.jsonl"


def read_rows(path: Path) -> Iterator[dict]:
    """Yield the rows behind the fingerprint of a file whose lines are whole. Raises RunError when it cannot be read."""
    with os_errors(RunError, f"{path}: cannot be read"), open(path, encoding="ascii") as file:
        yield from map(json.loads, itertools.islice(file, 1, None))


class Rows:
    """The rows of some files, each sorted by position, as one by position; iterated anew each time, never held."""

    def __init__(self, paths: Sequence[Path]):
        self._paths = paths

    def __iter__(self) -> Iterator[dict]:
        return heapq.merge(*map(read_rows, self._paths), key=itemgetter("position"))


class Journal(AbstractContextManager):
    """The file of one rank, which no other process may write meanwhile. A context manager.

    One that is left without a row leaves no file behind, and no folder that it has made.
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
        """Open the rank's file or creates it.

        fingerprint: says what the run is; rows of one with another are not its own. columns: what a readable video's
        row has behind `position`, `video` and `file`. undelivered: take up a finished file, as nobody has got it yet.
        fits: whether such a row is one that the run could have written.

        Raises:
            InputError: the folder cannot be made.
            RunError: another run has the folder, another process the file, or it cannot be written.
        """
        self.parts = [part_path(folder, name, rank) for rank in range(world.size)]
        self.path = self.parts[world.rank]
        self.known, self._end = KnownBatches(), 0  # what the rank's file has, and its bytes
        self.again = KeptRows()  # what was not true any more when it was taken up
        self._final, self._fingerprint = folder / f"{name}.jsonl", fingerprint
        self._kinds = [("position", "video", "file", *columns), ("position", "video", "file", "error")]
        self._fits, self._flushed = fits, 0.0
        self.made_folder = not folder.exists()  # this run, whichever rank
        make_save_dir(str(folder))
        # Rank 0's holds for all; the files of the others are locked as well, as a rank may outlive rank 0 for a moment.
        self._lock = FolderLock(folder, f"--save_dir={folder}") if world.is_main else None
        finished = undelivered and len(self.parts) == 1 and self._final.exists() and not self.path.exists()
        try:
            with writing(self.path):
                self._file = open_locked(self._final if finished else self.path)
                if finished:
                    rename(self._final, self.path)
                self._empty = self.path.stat().st_size == 0
        except BaseException:  # whatever it was, Ctrl-C too: it goes on, and the folder is free for others
            if self._lock:
                self._lock.release()
            raise

    def is_row(self, row: object) -> bool:
        """Return whether what a file has kept is a row of this run: what is not would end it, or be believed."""
        if type(row) is not dict or tuple(row) not in self._kinds:
            return False
        position, video = row["position"], row["video"]
        if type(position) is not int or type(video) is not str or not 0 <= position < self._fingerprint["videos"]:
            return False
        return "error" in row or self._fits(row)

    def knows(self, position: int) -> bool:
        return self.known.knows(self.known.order.index(position) // self.known.size)

    def resume(self, order: range, batch_size: int, restart: str = "") -> str:
        """Keep the rows of whole batches of `order` in which no video has to be read again.

        restart: why nothing is to be kept. Returns "" where the file is this run's; else it is begun anew, and this is
        why: "new", for there was none, or what people should know.
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
        self._empty = self.known.count == 0 < len(order)  # a rank without videos has all that it will have
        return why

    def append(self, rows: Iterable[Mapping[str, object]]) -> None:
        """Write the rows of a batch. Raises RunError when they cannot be written; those before them stay."""
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
        """Put the rows, which are all there, in the order of the list. Raises RunError."""
        if not self.known.in_turn:
            self._replace(partial(self.known.copy_in_turn, self.path))

    def _replace(self, write: Callable[[Path], None]) -> None:
        """Have the file written anew, whole or not at all."""
        self._let_go()
        write_atomic(self.path, write)
        with writing(self.path):
            old, self._file = self._file, open_locked(self.path)
        old.close()

    def rows(self) -> Rows:
        """Return the rows of all ranks; for rank 0, once the others are done."""
        return Rows(self.parts)

    def finish(self) -> None:
        """Give the rows of all ranks their final name. For rank 0, as `rows`."""
        if len(self.parts) == 1:
            with writing(self.path):
                self._flush()
                self._let_go()
                rename(self.path, self._final)
            self.parts = []  # what is called so from now on is another process's
            return
        lines = itertools.chain([self._fingerprint], self.rows())
        write_stream(self._final, lambda file: file.writelines(map(to_line, lines)))

    def discard(self) -> None:
        """Have the parts removed: they are of no use, or what they hold has been delivered. For rank 0, as `rows`."""
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
            with suppress(OSError):  # another rank's file may be there
                self.path.parent.rmdir()

    def _let_go(self) -> None:
        if os.name == "nt":  # Windows renames and removes no open file; elsewhere the lock is held over that
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
        # The protocol follows from the others but for the path of the weights; equal ones may lie elsewhere now.
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
