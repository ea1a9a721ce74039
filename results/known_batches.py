"""Note which batches of a list a file of rows has, and where. Batches may have been computed in any order."""

from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from utils.storage.lines import parsed
from utils.storage.stamps import signature


class KnownBatches:
    """The batches of `size` positions of `order`, each known completely or not at all. The last may be smaller."""

    def __init__(self, order: range = range(0), size: int = 1):
        self.order, self.size, self.count = order, size, 0  # count: the rows of all known batches
        self._starts = array("q", [-1]) * -(-len(order) // size)  # where each batch's first line begins, in bytes

    def knows(self, batch: int) -> bool:
        return self._starts[batch] >= 0

    def positions(self, batch: int) -> range:
        return self.order[batch * self.size : (batch + 1) * self.size]

    def note(self, position: int, start: int) -> None:
        """Note a row whose line begins at the byte `start`."""
        index = self.order.index(position)
        if index % self.size == 0:
            self._starts[index // self.size] = start
        self.count += 1

    def todo(self) -> Sequence[int]:
        """Return the positions of all unknown batches in order."""
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
        """Return whether the rows of the file are in the order of the list."""
        return all(before < after for before, after in zip(self._starts, self._starts[1:]))

    def copy_in_turn(self, source: Path, target: Path) -> None:
        """Write the first line of `source`, then the rows of all batches in order; all batches must be known."""
        with open(source, "rb") as old, open(target, "wb") as new:
            new.write(old.readline())
            for batch, start in enumerate(self._starts):
                old.seek(start)
                new.writelines(islice(old, len(self.positions(batch))))


@dataclass
class KeptRows:
    """The parts of a file to keep, as (first byte, byte after the last), and the number of outdated rows."""

    pieces: list[tuple[int, int]] = field(default_factory=list)
    unreadable: int = 0  # rows of videos that could not be read but may be readable now
    changed: int = 0  # rows of videos whose files have changed

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
    """Note the complete batches of `lines`, which begin at the byte `start`, in which no row is outdated.

    is_row: whether an object is a valid row. Reading stops at the first line that is invalid or out of place.
    `batches` gets the places that lines have once the kept pieces are joined.
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
    """Return whether the row's video must be read again: it was unreadable, or its file has changed."""
    return "error" in row or row.get("file") != signature(row["video"])
