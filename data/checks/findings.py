"""Find the problems of the videos of some lists from their records in the journal."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from data.checks.listings import Listings
from data.checks.oddities import Usual, first_of_each, repeated, usual
from data.checks.records import Records
from reader.filelist import Entry

# A value is odd from this many times the median up, and from this fraction of it down. A list may mix cameras of 24 to
# 60 frames a second. Rates are odd in slow motion, in a time lapse, or if a header is wrong.
FACTORS = {"length": 2.0, "side": 2.0, "shape": 1.5, "rate": 4.0}
PROBLEMS = ("unreadable", "duration", "size", "frame rate", "same bytes", "looks alike")


class VideoProblem(NamedTuple):
    """A row of problems.csv."""

    list: str
    line: int
    video: str
    problem: str  # one of PROBLEMS
    reason: str


class Findings:
    """Numbers for each of the D videos of `listings`, from the last record of each in the journal.

    offsets: int64 [D], the record's offset in the journal; -1 if there is no record of the file as it is now.
    """

    def __init__(self, listings: Listings, journal: Records, length: str):
        """length: the unit of a video's length, "seconds", or "frames" for pickles and folders."""
        self.listings, self._journal, self.length = listings, journal, length
        number = listings.num_videos
        self.offsets = np.full(number, -1, np.int64)
        self.readable = np.zeros(number, bool)
        self._marks = np.zeros(number, np.uint64)  # hash of size and end: the same for equal files
        # Length; square root of the number of pixels; width / height; frames per second.
        self._numbers = {name: np.full(number, np.nan, np.float32) for name in FACTORS}
        self._digests = np.zeros(number, "V32")  # SHA-256 of the candidates
        self._similar: dict[int, str] = {}  # video -> the video of another list that it looks like

    def note(self, video: int, offset: int, record: dict) -> None:
        """Note a record, which starts at `offset` in the journal."""
        self.offsets[video], self.readable[video] = offset, record["error"] is None
        if record["error"] is None:
            self._marks[video] = ((record["bytes"] << 32) + record["end"]) % 2**64
            for name, value in self._measures(record).items():
                self._numbers[name][video] = value

    def _measures(self, record: dict) -> dict[str, float]:
        """Return the numbers of a readable video for each of FACTORS; NaN if unknown."""
        width, height = record["width"], record["height"]
        values = record[self.length], (width * height) ** 0.5, width / height, record["fps"]
        return {name: np.nan if value is None else value for name, value in zip(FACTORS, values)}

    def candidates(self) -> np.ndarray:
        """Return the readable videos that have the same size and end as another one."""
        readable = np.flatnonzero(self.readable)
        return readable[repeated(self._marks[readable])]

    def note_digest(self, video: int, sha256: str) -> None:
        self._digests[video] = bytes.fromhex(sha256)

    def note_similar(self, video: int, reason: str) -> None:
        """Note that a video looks like a video of another list."""
        self._similar[video] = reason

    def record(self, video: int) -> dict:
        return self._journal.at(int(self.offsets[video]))

    def problems(self) -> Iterator[VideoProblem]:
        """Yield every problem of every line, in the order of the lists."""
        ranges, first = self.usual(), self._first_with_these_bytes()
        wrong = ~self.readable  # bool [D]; the records of these videos are read again for the reason
        for name, numbers in self._numbers.items():
            wrong |= ranges[name].is_odd(numbers)
        wrong[list(self._similar)] = True
        videos, lines = self.listings.videos, np.arange(len(self.listings))
        for position in np.flatnonzero(wrong[videos] | (first < lines)).tolist():
            path, entry = self.listings.line(position)
            found = list(self._faults(self.record(videos[position]), ranges))
            if first[position] < position:
                found.append(("same bytes", self._same(entry, int(first[position]))))
            if (reason := self._similar.get(int(videos[position]))) is not None:
                found.append(("looks alike", reason))
            for problem, reason in found:
                yield VideoProblem(path, entry.line, entry.path, problem, reason)

    def _faults(self, record: dict, ranges: dict[str, Usual]) -> Iterator[tuple[str, str]]:
        """Yield (problem, reason) for each fault of a single video."""
        if record["error"] is not None:
            yield "unreadable", record["error"]
            return
        measures = self._measures(record)
        odd = {name: _shown(ranges[name]) for name in FACTORS if ranges[name].is_odd(np.float32(measures[name]))}
        if "length" in odd and self.length == "frames":
            yield "duration", f"{record['frames']} frames; {odd['length']}"
        elif "length" in odd:
            yield "duration", f"{round(record['seconds'], 2)} s; {_shown(ranges['length'], ' s')}"
        words = {"side": "root of its pixels", "shape": "width / height"}
        if sizes := [f"{words[name]} {measures[name]:.4g}; {odd[name]}" for name in words if name in odd]:
            yield "size", f"{record['width']}x{record['height']}: {', '.join(sizes)}"
        if "rate" in odd:
            yield "frame rate", f"{record['fps']:.5g} frames/s; {odd['rate']}"

    def usual(self) -> dict[str, Usual]:
        """Return what is usual for each of FACTORS, over the videos of all lists, each counted once."""
        return {name: usual(numbers, FACTORS[name]) for name, numbers in self._numbers.items()}

    def _first_with_these_bytes(self) -> np.ndarray:
        """Return int [N]: for each line the first line with the same bytes; for an unreadable video the line itself."""
        contents = np.arange(self.listings.num_videos)  # each content has the number of its first video
        candidates = self.candidates()
        contents[candidates] = candidates[first_of_each(self._digests[candidates])]
        lines = np.arange(len(self.listings))
        readable = self.readable[self.listings.videos]
        lines[readable] = lines[readable][first_of_each(contents[self.listings.videos][readable])]
        return lines

    def _same(self, entry: Entry, first: int) -> str:
        path, other = self.listings.line(first)
        label = f", which has label {other.label}, not {entry.label}" if other.label != entry.label else ""
        return f"as {path}:{other.line}: {other.path}{label}"


def _shown(range: Usual, unit: str = "") -> str:
    median, low, high = (f"{value:.4g}" for value in range)
    return f"the median is {median}{unit}, the usual range is {low} to {high}{unit}"
