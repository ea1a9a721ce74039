"""Read Kinetics annotation files (CSV), and match their lines with video files."""

import csv
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from data.lists.splits import split_of
from reader.videos import Video
from utils.errors import InputError

# The usual downloaders end names with start and end in seconds, padded with zeros or not.
CLIP_NAME = re.compile(r"(.+)_(\d{1,9})_(\d{1,9})")


@dataclass(frozen=True, slots=True)
class Annotation:
    """A line of an annotation file, which describes one clip. `label` is "" if it was not published.

    youtube_id: for data sets other than Kinetics the file's name without its suffix; these have no times.
    """

    label: str
    youtube_id: str
    start: int | None  # seconds
    end: int | None  # seconds
    split: str
    where: str  # file:line

    @property
    def clip(self) -> tuple[str, int | None, int | None]:
        return self.youtube_id, self.start, self.end

    @property
    def file_name(self) -> str:
        """Name the file as downloaders do."""
        return self.youtube_id if self.start is None else f"{self.youtube_id}_{self.start:06d}_{self.end:06d}"


def read_annotations(paths: Sequence[str]) -> list[Annotation]:
    """Return all lines of all files, in order. Raises InputError, with file:line, if a file has another format."""
    return [row for path in paths for row in _read_file(path)]


def _read_file(path: str) -> Iterator[Annotation]:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            lines = csv.DictReader(file, skipinitialspace=True, strict=True)
            columns = [(name or "").strip() for name in lines.fieldnames or []]
            lines.fieldnames = columns
            missing = [name for name in ("youtube_id", "time_start", "time_end") if name not in columns]
            if missing:
                raise InputError(
                    f"{path}:1: expected a heading with youtube_id, time_start and time_end; no {missing[0]}"
                )
            split = split_of(re.split("[-_.]", Path(path).stem)[-1])  # train.csv, kinetics400_val.csv
            for line in lines:
                yield _parse(line, f"{path}:{lines.line_num}", split)
    except OSError as error:
        raise InputError(f"{path}: the annotations cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: no CSV file: {error}") from None


def _parse(line: dict[str, str | None], where: str, split_of_file: str | None) -> Annotation:
    youtube_id, start, end, label, split = (
        (line.get(name) or "").strip() for name in ("youtube_id", "time_start", "time_end", "label", "split")
    )
    if not youtube_id:
        raise InputError(f"{where}: no youtube_id")
    try:
        seconds = int(float(start)), int(float(end))
    except (ValueError, OverflowError):
        raise InputError(f"{where}: time_start and time_end must be seconds, not {start!r} and {end!r}") from None
    known = split_of(split) if split else split_of_file
    if known is None:
        raise InputError(f"{where}: split {split!r}: expected train, val or test, here or as the file's name")
    return Annotation(sys.intern(label), youtube_id, *seconds, sys.intern(known), where)


def drop_repeated(rows: Iterable[Annotation]) -> tuple[list[Annotation], list[tuple[str, str]]]:
    """Return the first line of each clip, and (file:line, remark) for each line that repeats a clip."""
    first: dict[tuple[str, int | None, int | None], Annotation] = {}
    remarks = []
    for row in rows:
        kept = first.setdefault(row.clip, row)
        if kept is not row:
            other = " with another split" if kept.split != row.split else ""
            other = other or (" with another label" if kept.label != row.label else "")
            remarks.append((row.where, f"the same clip{other} as {kept.where}, which counts"))
    return list(first.values()), remarks


def match(
    rows: Sequence[Annotation], videos: Sequence[Video], bad: Mapping[str, str]
) -> tuple[dict[int, Video], dict[int, str], list[tuple[str, str]]]:
    """Find the video of each row's clip: ({row number: video}, {row number: why there is none}, remarks on files).

    A file is named `id_start_end`, or just `id` if the annotations have only one clip with that id. Files in `bad`
    (path: reason) count as missing. If a clip has several files, the first good one in the order of `videos` is taken.
    """
    numbers = {row.clip: number for number, row in enumerate(rows)}
    of_id: dict[str, int | None] = {}  # id -> the row of its only clip; None: it has several clips
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
            times = "only other times" if row.youtube_id in cut else "no file"
            missing[number] = bad[same[0].path].removeprefix("an ") if same else times
    return found, missing, remarks + strangers
