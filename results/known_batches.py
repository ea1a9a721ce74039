"""Which batches of a list a file of rows has, and where: in the order in which they were computed, which may be any."""

from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from utils.storage.lines import parsed
from utils.storage.stamps import signature


class KnownBatches:
    """The batches of so many positions of `order`, each known as a whole or not at all; the last one may be smaller."""

    def __init__(self, order: range = range(0), size: int = 1):
        self.order, self.size, self.count = order, size, 0  # count: of the rows of all that are known
        self._starts = array("q", [-1]) * -(-len(order) // size)  # where a batch's first line begins, in bytes

    def knows(self, batch: int) -> bool:
        return self._starts[batch] >= 0

    def positions(self, batch: int) -> range:
        return self.order[batch * self.size : (batch + 1) * self.size]

    def note(self, position: int, start: int) -> None:
        """Take up a row whose line begins at the byte `start`."""
        index = self.order.index(position)
        if index % self.size == 0:
            self._starts[index // self.size] = start
        self.count += 1

    def todo(self) -> Sequence[int]:
        """Return the positions of all that are not known, in turn."""
        number = self._starts.count(-1)
        if not number:
            return range(0)
        first, last = self._starts.index(-1), len(self._starts) - 1
        while self.knows(last):
            last -= 1
        if number == last - first + 1:
            return self.order[first * self.size : (last + 1) * self.size]
        unknown = (batch for batch in range(first, last + 1) if not self.knows(batch))
        return array("q", (position for batch in unknown for position in self.positions(batch)))

    @property
    def in_turn(self) -> bool:
        """Whether the rows of the file stand in the order of the list."""
        return all(before < after for before, after in zip(self._starts, self._starts[1:]))

    def copy_in_turn(self, source: Path, target: Path) -> None:
        """Write the first line of `source`, then the rows of all batches, which are known, in turn."""
        with open(source, "rb") as old, open(target, "wb") as new:
            new.write(old.readline())
            for batch, start in enumerate(self._starts):
                old.seek(start)
                new.writelines(islice(old, len(self.positions(batch))))


@dataclass
class KeptRows:
    """What is to stay of a file: pieces (first byte, byte behind the last), and what is not true any more."""

    pieces: list[tuple[int, int]] = field(default_factory=list)
    unreadable: int = 0  # rows of videos that could not be read: perhaps they can be now
    changed: int = 0  # rows of videos whose files are others now

    @property
    def stale(self) -> int:
        return self.unreadable + self.changed

    def add(self, start: int, end: int) -> None:
        if self.pieces and self.pieces[-1][1] == start:
            start = self.pieces.pop()[0]
        self.pieces.append((start, end))


def keep_batches(
    lines: Iterable[bytes], start: int, is_row: Callable[[object], bool], batches: KnownBatches
) -> KeptRows:
    """Take up the whole batches of `lines`, which begin at the byte `start`, in which nothing has to be done again.

    is_row: whether what a line holds is a row. Nothing is taken up from the first line on that is no row in its place.
    What `batches` notes is where the lines are once the pieces that stay have been joined.
    """
    kept, end, place = KeptRows(), start, start
    rows: list[dict] = []
    sizes: list[int] = []
    for line in lines:
        row = parsed(line)
        if not is_row(row) or row["position"] not in batches.order:
            break
        index = batches.order.index(row["position"])
        batch = index // batches.size
        if index % batches.size != len(rows) or rows and rows[0]["position"] not in batches.positions(batch):
            break
        if batches.knows(batch):
            break
        rows.append(row)
        sizes.append(len(line))
        if len(rows) == len(batches.positions(batch)):
            unreadable = sum("error" in row for row in rows)
            changed = sum(map(is_stale, rows)) - unreadable
            kept.unreadable, kept.changed = kept.unreadable + unreadable, kept.changed + changed
            if not unreadable + changed:
                kept.add(end, end + sum(sizes))
                for row, size in zip(rows, sizes):
                    batches.note(row["position"], place)
                    place += size
            end += sum(sizes)
            rows, sizes = [], []
    return kept


def copy_pieces(source: Path, pieces: Iterable[tuple[int, int]], target: Path) -> None:
    with open(source, "rb") as old, open(target, "wb") as new:
        for start, end in pieces:
            old.seek(start)
            while start < end:
                start += new.write(old.read(min(end - start, 1 << 20)))


def is_stale(row: dict) -> bool:
    """Return whether the row's video is to be read again: it could not be read, or is not the same file any more."""
    return "error" in row or row.get("file") != signature(row["video"])
