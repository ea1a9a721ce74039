"""The video files below a folder, or that a pattern matches."""

import glob
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from reader.filelist import Entry, FileList
from utils.errors import InputError
from utils.storage import is_remote

EXTENSIONS = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".flv", ".wmv", ".3gp", ".ogv")
_CONTROL = re.compile("[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Video:
    """A video file: its path (the given folder's, extended), the names of the folders on the way to it, its size."""

    path: str
    folders: tuple[str, ...]
    empty: bool

    @property
    def stem(self) -> str:
        return os.path.splitext(os.path.basename(self.path))[0]


def find_videos(roots: list[str]) -> Iterator[Video]:
    """The video files below the folders, sorted within each folder; hidden files and folders are passed over.

    Symbolic links are followed, each folder is entered once.

    Raises:
        InputError: a root is no folder, a folder cannot be read, or a path cannot stand on one line of a list.
    """
    entered: set[tuple[int, int]] = set()
    for root in roots:
        if not os.path.isdir(root):
            raise InputError(f"--videos {root}: no such folder")
        yield from _below(root, (), entered)


def videos_at(path: str) -> FileList | None:
    """The videos of a folder, or of a pattern with *, ? or [ (** is any depth); None where `path` names one file.

    They are sorted, each is there once. Of what a pattern matches folders stand for all videos below them, and files
    count whose suffix is a video's or is written out in the pattern.

    Raises:
        InputError: there is none, or as `find_videos` does.
    """
    if is_remote(path) or os.path.isfile(path) or not (os.path.isdir(path) or glob.has_magic(path)):
        return None
    if os.path.isdir(path):
        found = [video.path for video in find_videos([path])]
        problem = "no video below this folder"
    else:
        matches = sorted(glob.glob(path, recursive=True))
        below = [video.path for video in find_videos([match for match in matches if os.path.isdir(match)])]
        suffixes = {*EXTENSIONS, Path(path).suffix.lower()} - {""}
        files = [match for match in matches if os.path.isfile(match) and Path(match).suffix.lower() in suffixes]
        for file in files:
            _check_path(file)
        found, problem = sorted({*below, *files}), "no video matches this pattern"
    if not found:
        raise InputError(f"{path}: {problem} ({', '.join(EXTENSIONS)})")
    return FileList(map(Entry, found))


def _below(folder: str, names: tuple[str, ...], entered: set[tuple[int, int]]) -> Iterator[Video]:
    status = os.stat(folder)
    if (status.st_dev, status.st_ino) in entered:
        return
    entered.add((status.st_dev, status.st_ino))
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name, reverse=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be read: {error.strerror}") from None
    while entries:
        entry = entries.pop()  # of a million files in one folder only those to come are held twice
        # Also macOS's `._name.mp4`, which holds no video.
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _below(entry.path, (*names, entry.name), entered)
        elif entry.name.lower().endswith(EXTENSIONS):
            _check_path(entry.path)
            # A link to nowhere counts like an empty file.
            yield Video(entry.path, names, not entry.is_file() or entry.stat().st_size == 0)


def _check_path(path: str) -> None:
    if path != path.strip() or _CONTROL.search(path):
        raise InputError(f"{path!r}: a file list cannot hold a line break, a control character or a blank at the start")
