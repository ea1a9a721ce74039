"""The video files below a folder, or that a pattern matches."""

import glob
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from reader.boxes import holds_text
from reader.filelist import Entry, FileList
from utils.errors import InputError, os_errors
from utils.log import say
from utils.storage.objects import is_remote

# Of the formats that reader/packets.py opens.
EXTENSIONS = (
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".flv", ".wmv", ".3gp", ".ogv",
    ".mts", ".m2ts", ".m2t", ".vob", ".asf", ".3g2", ".mxf", ".gif", ".m2v", ".dv", ".f4v", ".mj2", ".qt",
)  # fmt: skip
# Folders in which network storage and archives keep copies, thumbnails and what was deleted.
_NOT_CLIPS = {"@eadir", ".@__thumb", "#recycle", "@recycle", "#snapshot", "$recycle.bin", "__macosx"}
# What labelled videos say in their comment: whoever finds them among clips passes them over.
MADE_BY = "classes drawn by PaddlePaddle TSN"
_LABELLED = "labelled by predict.py"
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class Video:
    """A video file: its path (the given folder's, extended), the names of the folders on the way to it, its size."""

    path: str
    folders: tuple[str, ...]
    empty: bool

    @property
    def stem(self) -> str:
        return os.path.splitext(os.path.basename(self.path))[0]


def is_passed(name: str) -> bool:
    """Return whether a file or folder of this name is passed over: macOS's `._name.mp4` holds no video either."""
    return name.startswith(".") or name.casefold() in _NOT_CLIPS


def find_videos(roots: list[str], others: Counter[str] | None = None) -> Iterator[Video]:
    """Yield the video files below the folders, sorted within each folder.

    Hidden files and folders are passed over, and those in which network storage keeps copies. Symbolic links are
    followed, each folder is entered once. others: counts the files that are no videos by suffix.

    Raises InputError: a root is no folder, a folder cannot be read, or a path cannot stand on one line of a list.
    """
    entered: set[tuple[int, int]] = set()
    for root in roots:
        if not os.path.isdir(root):
            raise InputError(f"--videos {root}: no such folder")
        yield from _below(root, entered, Counter() if others is None else others)


def videos_at(path: str) -> FileList | None:
    """Return the videos of a folder, or of a pattern with *, ? or [ (** is any depth); None where `path` is one file.

    They are sorted, each is there once. Of what a pattern matches folders stand for all videos below them, and files
    count whose suffix is a video's or is written out in the pattern.

    Raises InputError: there is none, or as `find_videos` does.
    """
    if is_remote(path) or os.path.isfile(path) or not (os.path.isdir(path) or glob.has_magic(path)):
        return None
    others: Counter[str] = Counter()
    if os.path.isdir(path):
        found = [video.path for video in find_videos([path], others)]
        problem = "no video below this folder"
    else:
        try:
            matches = [match for match in sorted(glob.glob(path, recursive=True)) if not _is_copy(match, path)]
        except RecursionError:
            raise InputError(f"{path}: the folders are nested too deep: give the outermost one") from None
        below = [video.path for video in find_videos([match for match in matches if os.path.isdir(match)], others)]
        suffixes = {*EXTENSIONS, Path(path).suffix.lower()} - {""}
        files = [match for match in matches if os.path.isfile(match) and Path(match).suffix.lower() in suffixes]
        for file in files:
            _check_path(file)
        labelled = [file for file in files if is_labelled(file)]
        files = sorted({*files} - {*labelled})
        others[_LABELLED] += len({*labelled} - {*below})
        found, problem = sorted({*below, *files}), "no video matches this pattern"
    if others[_LABELLED]:
        say(f"{path}: passed over, as they are {_LABELLED} or live.py: {others[_LABELLED]}")
    if not found:
        raise InputError(f"{path}: {problem} ({', '.join(EXTENSIONS)})")
    return FileList(map(Entry, found))


def is_labelled(path: str) -> bool:
    """Return whether a video is one that predict.py or live.py has drawn on, whatever it is called."""
    if not path.lower().endswith(".mp4"):
        return False
    try:
        return holds_text(path, MADE_BY.encode())
    except (OSError, ValueError):  # whoever reads the video says what is wrong with it
        return False


def _is_copy(match: str, pattern: str) -> bool:
    """Return whether what a pattern matches lies in a folder that is passed over, and the pattern does not name it."""
    named = {part.casefold() for part in Path(pattern).parts}
    return any(part.casefold() in _NOT_CLIPS - named for part in Path(match).parts)


def _below(root: str, entered: set[tuple[int, int]], others: Counter[str]) -> Iterator[Video]:
    # What is left of each folder on the way, and the folders' names: no calls within calls, whose depth Python bounds.
    opened: list[tuple[list[os.DirEntry], tuple[str, ...]]] = [(_enter(root, entered), ())]
    while opened:
        entries, names = opened[-1]
        if not entries:
            opened.pop()
            continue
        entry = entries.pop()  # of a million files in one folder only those to come are held twice
        if is_passed(entry.name):
            continue
        if entry.is_dir():
            opened.append((_enter(entry.path, entered), (*names, entry.name)))
        elif entry.name.lower().endswith(EXTENSIONS):
            _check_path(entry.path)
            if is_labelled(entry.path):
                others[_LABELLED] += 1
                continue
            # A link to nowhere counts like an empty file.
            yield Video(entry.path, names, not entry.is_file() or entry.stat().st_size == 0)
        else:
            others[Path(entry.name).suffix.lower()] += 1


def _enter(folder: str, entered: set[tuple[int, int]]) -> list[os.DirEntry]:
    """Return what is in the folder, the first name last; nothing where it has been entered before."""
    with os_errors(InputError, f"{folder}: cannot be read"):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in entered:
            return []
        entered.add((status.st_dev, status.st_ino))
        return sorted(os.scandir(folder), key=lambda entry: entry.name, reverse=True)


def _check_path(path: str) -> None:
    if path != path.strip() or _CONTROL.search(path):
        raise InputError(f"{path!r}: a file list cannot hold a line break, a control character or a blank at the start")
