"""What predict.py and eval.py know so far, a line of JSON per video: the same command goes on from it.

NAME.partial.jsonl         rank 0's rows behind a head, a line that says what the run is, in the order they are computed
NAME.partial.rank1.jsonl   rank 1's
NAME.jsonl                 all rows by position, once the run is over
"""

import heapq
import itertools
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from operator import itemgetter
from pathlib import Path

from metrics.features import FeatureFile
from utils.errors import RunError
from utils.files import flush_folder, make_save_dir, rename, unfinished, write_stream, writing
from utils.lock import open_locked
from utils.log import say
from utils.processes.ranks import World

# A batch's rows are handed to the system at once, which survives the end of the process; a power cut costs the batches
# of so many seconds. A disk takes 1 to 20 ms to flush.
SECONDS_BETWEEN_FLUSHES = 0.2
_FINAL = r"(predictions|metrics|confusion|evaluation|features|timeline|report|config)\.\w+"  # the files made of it


def part_path(folder: Path, name: str, rank: int = 0) -> Path:
    """The file of a rank while the run is under way."""
    return folder / f"{name}.partial{f'.rank{rank}' if rank else ''}.jsonl"


def to_line(values: Mapping[str, object]) -> str:
    """A head or a row as its line. Raises ValueError for NaN and infinity, which are no JSON."""
    return json.dumps(values, allow_nan=False) + "\n"


def read_rows(path: Path) -> Iterator[dict]:
    """The rows behind the head of a file whose lines are whole. Raises RunError when it cannot be read."""
    try:
        with open(path, encoding="ascii") as file:
            yield from map(json.loads, itertools.islice(file, 1, None))
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror or error}") from None


class Rows:
    """The rows of some files, each sorted by position, as one by position; iterated anew each time, never held."""

    def __init__(self, paths: Sequence[Path]):
        self._paths = paths

    def __iter__(self) -> Iterator[dict]:
        return heapq.merge(*map(read_rows, self._paths), key=itemgetter("position"))


class Journal:
    """The file of one rank, which no other process may write meanwhile. A context manager.

    One that is left without a row leaves no file behind, and no folder that it has made.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        head: Mapping[str, object],
        columns: Sequence[str],
        world: World = World(),
        undelivered: bool = False,
    ):
        """Opens the rank's file or creates it.

        head: says what the run is; rows of one with another head are not its own. columns: what a readable video's row
        has behind `position` and `video`. undelivered: take up a finished file, as nobody has got it yet.

        Raises:
            InputError: the folder cannot be made.
            RunError: another process has the file, or it cannot be written.
        """
        self.parts = [part_path(folder, name, rank) for rank in range(world.size)]
        self.path = self.parts[world.rank]
        self.count = 0  # rows in the rank's file
        self.order: Sequence[int] = ()  # the positions that its rows are to have, in turn
        self.batch_size = 1
        self._final, self._head = folder / f"{name}.jsonl", head
        self._kinds = [("position", "video", *columns), ("position", "video", "error")]
        self._flushed = 0.0
        self.made_folder = not folder.exists()  # this run, whichever rank
        make_save_dir(str(folder))
        finished = undelivered and len(self.parts) == 1 and self._final.exists() and not self.path.exists()
        with writing(self.path):
            self._file = open_locked(self._final if finished else self.path)
            if finished:
                rename(self._final, self.path)
            self._empty = self.path.stat().st_size == 0

    def resume(self, order: Sequence[int], batch_size: int, restart: str = "") -> str:
        """Keeps the rows of whole batches of `order`, from its beginning on, and cuts off what comes behind them.

        restart: why nothing is to be kept. Returns "" where the file is this run's; else it is begun anew, and this is
        why: "new", for there was none, or what people should know.
        """
        self.order, self.batch_size = order, batch_size
        with writing(self.path):
            with open(self.path, "rb") as file:
                first = file.readline()
                why = "new" if not first else restart or self._difference(first)
                self.count, kept = (0, 0) if why else self._whole_batches(len(first), file)
            self._file.truncate(kept)
            if why:
                self._write(to_line(self._head))
                flush_folder(self.path.parent)
            self._flush()
        self._empty = self.count == 0 < len(order)  # a rank without videos has all that it will have
        return why

    def append(self, rows: Iterable[Mapping[str, object]]) -> None:
        """Writes the rows of a batch. Raises RunError when they cannot be written; those before them stay."""
        lines = [to_line(row) for row in rows]
        with writing(self.path):
            self._write("".join(lines))
            if time.monotonic() - self._flushed >= SECONDS_BETWEEN_FLUSHES:
                self._flush()
        self.count, self._empty = self.count + len(lines), False

    def rows(self) -> Rows:
        """The rows of all ranks; for rank 0, once the others are done."""
        return Rows(self.parts)

    def finish(self) -> None:
        """Gives the rows of all ranks their final name. For rank 0, as `rows`."""
        if len(self.parts) == 1:
            with writing(self.path):
                self._flush()
                self._let_go()
                rename(self.path, self._final)
            self.parts = []  # what is called so from now on is another process's
            return
        lines = itertools.chain([self._head], self.rows())
        write_stream(self._final, lambda file: file.writelines(map(to_line, lines)))

    def discard(self) -> None:
        """Has the parts removed: they are of no use, or what they hold has been delivered. For rank 0, as `rows`."""
        _remove(part for part in self.parts if part != self.path)
        self._empty = bool(self.parts)

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_) -> None:
        if self._empty:
            self._let_go()
            _remove([self.path])
            if self.made_folder:
                with suppress(OSError):  # another rank's file may be there
                    self.path.parent.rmdir()
        self._file.close()

    def _let_go(self) -> None:
        if os.name == "nt":  # Windows renames and removes no open file; elsewhere the lock is held over that
            self._file.close()

    def _write(self, text: str) -> None:
        left = memoryview(text.encode("ascii"))
        while left:  # on a full disk what fits is written, and the next call fails
            left = left[self._file.write(left) :]

    def _flush(self) -> None:
        os.fsync(self._file.fileno())
        self._flushed = time.monotonic()

    def _difference(self, first: bytes) -> str:
        head = _parsed(first)
        if head is None or "script" not in head:
            return "its first line is damaged"
        # The protocol follows from the others but for the path of the weights; equal ones may lie elsewhere now.
        differing = [name for name in self._head if name != "protocol" and head.get(name) != self._head[name]]
        return f"another run's ({', '.join(differing)} differ)" if differing else ""

    def _whole_batches(self, end: int, lines: Iterable[bytes]) -> tuple[int, int]:
        """(rows, end in bytes) of the batches that are there as a whole, of lines that begin at the byte `end`."""
        rows, kept = 0, (0, end)
        for position, line in zip(self.order, lines):
            row = _parsed(line)
            if row is None or tuple(row) not in self._kinds or row["position"] != position:
                break
            rows, end = rows + 1, end + len(line)
            if rows % self.batch_size == 0 or rows == len(self.order):
                kept = rows, end
        return kept


@contextmanager
def open_journal(
    folder: Path,
    name: str,
    head: Mapping[str, object],
    columns: Sequence[str],
    order: Sequence[int],
    batch_size: int,
    world: World = World(),
    restart: bool = False,
    undelivered: bool = False,
    features: FeatureFile | None = None,
) -> Iterator[Journal]:
    """The rank's journal, with what it knows already of its `order`; all ranks must call it, and rank 0 says how it is.

    head, undelivered: as for `Journal`; `videos` in the head is their number. features: what the rows need beside them.

    Raises InputError and RunError as `Journal` does, and RunError when the ranks do not share the folder.
    """
    with Journal(folder, name, head, columns, world, undelivered) as journal:
        why = journal.resume(order, batch_size, "--restart=True" if restart else "")
        if features is not None and not features.open(journal.count):
            why = journal.resume(order, batch_size, f"{features.path.name} is missing or another run's")
            features.open(0)
        whys, counts, made = zip(*world.gather((why, journal.count, journal.made_folder)))
        journal.made_folder = any(made)
        if world.is_main:
            _check_parts(journal.parts)
            _remove(set(folder.glob(f"{name}.partial.rank*.jsonl")) - set(journal.parts))  # of a run of more ranks
            _remove(unfinished(folder, _FINAL))
            if "" in whys:
                known = sum(counts)
                say(f"{journal.path}: {known} of {head['videos']} videos are known already: going on behind them")
            elif why != "new":
                say(f"{journal.path}: {why}: starting anew")
        yield journal


def _check_parts(parts: Iterable[Path]) -> None:
    for part in parts:
        if not part.exists():
            raise RunError(f"{part}: no such file: --save_dir must be a folder that all processes share")


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        with suppress(OSError):
            path.unlink()


def _parsed(line: bytes) -> dict | None:
    """A line's content; None of one that is torn or damaged."""
    try:
        values = json.loads(line.decode("ascii"))
    except (ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) and line.endswith(b"\n") else None
