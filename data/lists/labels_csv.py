"""Read CSV files that name several classes a video, and find the videos: for MODEL.labels multi."""

import csv
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from data.lists.annotations import Annotation, drop_repeated
from data.lists.classes import choose_classes, label_of
from data.lists.dealing import SplitClip
from data.lists.found import Found
from data.lists.splits import split_of
from reader.videos import Video
from utils.errors import InputError, os_errors

COLUMNS = ("path", "labels")


def is_of_many(paths: Sequence[str]) -> bool:
    """Return whether the first file has the heading of such a file. Raise InputError where it cannot be read."""
    return set(COLUMNS) <= set(_heading(paths[0]))


def _heading(path: str) -> list[str]:
    unreadable = os_errors(InputError, f"{path}: the annotations cannot be read")
    with unreadable, open(path, encoding="utf-8-sig", errors="replace", newline="") as file, suppress(csv.Error):
        return [name.strip() for name in next(csv.reader(file), [])]
    return []  # a damaged file: whoever reads its lines tells


def read_many(paths: Sequence[str]) -> list[Annotation]:
    """Return the lines of all files, whose label has the names of the classes with `;` between them.

    Raises InputError, with file:line, if a file has another format.
    """
    rows = []
    for path in paths:
        if not set(COLUMNS) <= set(heading := _heading(path)):
            raise InputError(f"{path}:1: expected a heading with path and labels, as in {paths[0]}")
        of_file = split_of(re.split("[-_.]", Path(path).stem)[-1])  # train.csv, mine_val.csv
        try:
            with open(path, encoding="utf-8-sig", newline="") as file:
                lines = csv.DictReader(file, heading, skipinitialspace=True, strict=True)
                next(lines)
                rows += [_parse(line, f"{path}:{lines.line_num}", of_file) for line in lines]
        except (UnicodeDecodeError, csv.Error) as error:
            raise InputError(f"{path}: no CSV file: {error}") from None
    return rows


def _parse(line: dict[str, str | None], where: str, split_of_file: str | None) -> Annotation:
    path, labels, split = ((line.get(name) or "").strip() for name in (*COLUMNS, "split"))
    names = [name.strip() for name in labels.split(";") if name.strip()]
    if not path or not names:
        raise InputError(f"{where}: no {'labels' if path else 'path'}; expected a line such as clip.mp4,jump;run,train")
    known = split_of(split) if split else split_of_file
    if known is None:
        raise InputError(f"{where}: split {split!r}: expected train, val or test, here or as the file's name")
    return Annotation(";".join(names), os.path.normpath(path), None, None, known, where)


def from_many(rows: list[Annotation], videos: list[Video], bad: Mapping[str, str], labels: str | None) -> Found:
    """Return the clips of the lines: a path is one below --videos, or leads to the file from here.

    bad: why videos cannot be listed, by path. Raises InputError when there is not one.
    """
    rows, remarks = drop_repeated(rows)
    classes = choose_classes((name for row in rows for name in row.label.split(";")), labels or "own")
    places = {os.path.abspath(video.path): video for video in videos}
    below = {os.path.join(*video.folders, os.path.basename(video.path)): video for video in videos}
    clips, missing = [], []
    for row in rows:
        video = below.get(row.youtube_id) or places.get(os.path.abspath(row.youtube_id))
        if video is None or video.path in bad:
            missing.append((row, bad[video.path].removeprefix("an ") if video else "no file"))
            continue
        ids = {classes.find(name) for name in map(label_of, row.label.split(";"))}
        clips.append(SplitClip(video.path, row.split, tuple(sorted(ids))))
    if not clips:
        what = f"{rows[0].where} has {rows[0].youtube_id}, found {videos[0].path}"
        raise InputError(f"none of {len(rows)} annotated clips is among {len(videos)} video files: {what}")
    listed = {clip.path for clip in clips}
    remarks += [(v.path, bad.get(v.path, "not in the annotations")) for v in videos if v.path not in listed]
    return Found(clips, classes, Counter(row.split for row in rows), missing, remarks, many=True)
