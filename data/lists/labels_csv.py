"""Read CSV files that name several classes per video, and find the videos: for MODEL.labels multi."""

import csv
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress

from data.lists.annotations import Annotation, csv_lines, drop_repeated
from data.lists.classes import choose_classes, label_of
from data.lists.dealing import SplitClip
from data.lists.found import Found
from data.lists.splits import split_of_line
from reader.videos import Video
from utils.errors import InputError, os_errors

COLUMNS = ("path", "labels")


def is_of_many(paths: Sequence[str]) -> bool:
    """Return whether the first file has the columns path and labels. Raises InputError if it cannot be read."""
    unreadable = os_errors(InputError, f"{paths[0]}: the annotations cannot be read")
    with unreadable, open(paths[0], encoding="utf-8-sig", errors="replace", newline="") as file, suppress(csv.Error):
        return {name.strip() for name in next(csv.reader(file), [])} >= set(COLUMNS)
    return False  # a damaged file: `csv_lines` raises the error


def read_many(paths: Sequence[str]) -> list[Annotation]:
    """Return the lines of all files. A line's label holds the names of its classes, separated by `;`.

    Raises InputError, with file:line, if a file has another format.
    """
    rows = []
    for path in paths:
        for line, where in csv_lines(path, COLUMNS):
            names = [name.strip() for name in line["labels"].split(";") if name.strip()]
            if not line["path"] or not names:
                empty = "labels" if line["path"] else "path"
                raise InputError(f"{where}: {empty} is empty; expected a line such as clip.mp4,jump;run,train")
            split = split_of_line(line.get("split", ""), path, where)
            rows.append(Annotation(";".join(names), os.path.normpath(line["path"]), None, None, split, where))
    return rows


def from_many(rows: list[Annotation], videos: list[Video], bad: Mapping[str, str], labels: str | None) -> Found:
    """Return the clips of the lines, whose paths begin below --videos or at the working folder.

    bad: why videos cannot be listed, by path. Raises InputError if no clip is found.
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
