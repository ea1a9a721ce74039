"""Read Kinetics annotation files (CSV), and match their lines with video files."""

import csv
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from data.lists.splits import split_of_line
from reader.videos import Video
from utils.errors import InputError

# Downloaders end names with start and end in seconds, with or without leading zeros.
CLIP_NAME = re.compile(r"(.+)_(\d{1,9})_(\d{1,9})")


@dataclass(frozen=True, slots=True)
class Annotation:
    """A line of an annotation file, which describes one clip. Data sets other than Kinetics have no times."""

    label: str  # "" if it was not published
    youtube_id: str  # for data sets other than Kinetics, the file's name without its suffix
    start: int | None  # seconds
    end: int | None  # seconds
    split: str
    where: str  # file:line

    @property
    def clip(self) -> tuple[str, int | None, int | None]:
        return self.youtube_id, self.start, self.end

    @property
    def file_name(self) -> str:
        """Return the name that downloaders give to the file, without its suffix."""
        return self.youtube_id if self.start is None else f"{self.youtube_id}_{self.start:06d}_{self.end:06d}"


def read_annotations(paths: Sequence[str]) -> list[Annotation]:
    """Return all lines of all files, in order. Raises InputError, with file:line, if a file has another format."""
    return [row for path in paths for row in _read_file(path)]


def csv_lines(path: str, needed: Sequence[str]) -> Iterator[tuple[dict[str, str], str]]:
    """Yield (the texts by column, file:line) for each line of a CSV file.

    Raises InputError for a file that cannot be read, is not CSV or lacks a needed column.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            lines = csv.DictReader(file, skipinitialspace=True, strict=True)
            lines.fieldnames = columns = [(name or "").strip() for name in lines.fieldnames or []]
            if missing := [name for name in needed if name not in columns]:
                raise InputError(f"{path}:1: expected a heading with {', '.join(needed)}; {missing[0]} is missing")
            for line in lines:
                yield {name: (line[name] or "").strip() for name in columns}, f"{path}:{lines.line_num}"
    except OSError as error:
        raise InputError(f"{path}: the annotations cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a CSV file: {error}") from None


def _read_file(path: str) -> Iterator[Annotation]:
    for line, where in csv_lines(path, ("youtube_id", "time_start", "time_end")):
        youtube_id, start, end = line["youtube_id"], line["time_start"], line["time_end"]
        if not youtube_id:
            raise InputError(f"{where}: youtube_id is empty")
        try:
            seconds = int(float(start)), int(float(end))
        except (ValueError, OverflowError):
            raise InputError(f"{where}: time_start and time_end must be seconds, not {start!r} and {end!r}") from None
        label, split = sys.intern(line.get("label", "")), split_of_line(line.get("split", ""), path, where)
        yield Annotation(label, youtube_id, *seconds, split, where)


def drop_repeated(rows: Iterable[Annotation]) -> tuple[list[Annotation], list[tuple[str, str]]]:
    """Return the first line of each clip, and (file:line, remark) for each line that repeats a clip."""
    first: dict[tuple[str, int | None, int | None], Annotation] = {}
    remarks = []
    for row in rows:
        kept = first.setdefault(row.clip, row)
        if kept is not row:
            other = "split" if kept.split != row.split else "label" if kept.label != row.label else ""
            differs = f"; only its {other} differs" if other else ""
            remarks.append((row.where, f"the same clip as {kept.where}, which is used{differs}"))
    return list(first.values()), remarks


def match(
    rows: Sequence[Annotation], videos: Sequence[Video], bad: Mapping[str, str]
) -> tuple[dict[int, Video], dict[int, str], list[tuple[str, str]]]:
    """Return ({row number: its video}, {row number: why it has none}, remarks on files).

    A file is named `id_start_end`, or just `id` if the annotations have only one clip with that id. Files in `bad`
    (path: reason) count as missing. If a clip has several files, the first good one in the order of `videos` is taken.
    """
    numbers = {row.clip: number for number, row in enumerate(rows)}
    of_id: dict[str, int | None] = {}  # id -> the row of its only clip; None if it has several clips
    for number, row in enumerate(rows):
        of_id[row.youtube_id] = None if row.youtube_id in of_id else number
    cut: set[str] = set()  # ids that have a file for at least one clip
    named, whole = defaultdict(list), defaultdict(list)  # row number -> videos named id_start_end, videos named id
    strangers = []
    for video in videos:
        stem = video.stem
        parts = CLIP_NAME.fullmatch(stem)
        clip = numbers.get((parts[1], int(parts[2]), int(parts[3]))) if parts else None
        alone = of_id.get(stem)
        if clip is not None:
            named[clip].append(video)
        if alone is not None:
            whole[alone].append(video)
        if clip is None and alone is None:
            strangers.append((video.path, "not in the annotations"))
        if parts and parts[1] in of_id:
            cut.add(parts[1])

    found, missing, remarks = {}, {}, []
    for number, row in enumerate(rows):
        same = [*named.get(number, ()), *whole.get(number, ())]
        good = [video for video in same if video.path not in bad]
        remarks += [(video.path, bad[video.path]) for video in same if video.path in bad]
        remarks += [(video.path, f"the same clip as {good[0].path}, which is listed") for video in good[1:]]
        if good:
            found[number] = good[0]
        else:
            times = "only files with other times" if row.youtube_id in cut else "no file"
            missing[number] = bad[same[0].path].removeprefix("an ") if same else times
    return found, missing, remarks + strangers
