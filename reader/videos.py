"""Find the video files below a folder, or those that a pattern matches."""

import glob
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from reader.boxes import holds_text
from reader.filelist import CONTROL, Entry, FileList
from utils.errors import InputError, os_errors
from utils.log import say
from utils.storage.objects import is_remote

# Suffixes of the formats that reader/packets.py opens.
EXTENSIONS = (
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".flv", ".wmv", ".3gp", ".ogv",
    ".mts", ".m2ts", ".m2t", ".vob", ".asf", ".3g2", ".mxf", ".gif", ".m2v", ".dv", ".f4v", ".mj2", ".qt",
)  # fmt: skip
# Folders in which network storage and archives keep copies, thumbnails and deleted files.
_NOT_CLIPS = {"@eadir", ".@__thumb", "#recycle", "@recycle", "#snapshot", "$recycle.bin", "__macosx"}
# The comment in labelled videos: a search for clips skips files that have it.
MADE_BY = "classes drawn by PaddlePaddle TSN"
_LABELLED = "labelled by predict.py"


@dataclass(frozen=True, slots=True)
class Video:
    """A video file: its path (below the given folder), the names of the folders in between, whether it is empty."""

    path: str
    folders: tuple[str, ...]
    empty: bool

    @property
    def stem(self) -> str:
        return os.path.splitext(os.path.basename(self.path))[0]


def is_passed(name: str) -> bool:
    """Return whether a file or folder of this name is skipped, such as macOS's `._name.mp4`, which holds no video."""
    return name.startswith(".") or name.casefold() in _NOT_CLIPS


def find_videos(roots: list[str], others: Counter[str]) -> Iterator[Video]:
    """Yield the video files below the folders, sorted within each folder.

    Hidden files and folders are skipped, and so are the folders in which network storage keeps copies. Symbolic links
    are followed; each folder is entered once. others: counts the files that are not videos, by suffix.

    Raises InputError if a root is not a folder, a folder cannot be read, or a path does not fit on one line of a list.
    """
    entered: set[tuple[int, int]] = set()
    for root in roots:
        if not os.path.isdir(root):
            raise InputError(f"--videos {root}: no such folder")
        yield from _below(root, entered, others)


def videos_at(path: str) -> FileList | None:
    """Return the videos of a folder, or of a pattern with *, ? or [ (** is any depth); None if `path` is one file.

    They are sorted, and each appears once. A folder that matches a pattern stands for all videos below it. A file that
    matches counts if its suffix is a video's, or is written out in the pattern.

    Raises InputError if there is no video, or as `find_videos` does.
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
        found = {video.path for video in find_videos([match for match in matches if os.path.isdir(match)], others)}
        suffixes = {*EXTENSIONS, Path(path).suffix.lower()} - {""}
        files = [match for match in matches if os.path.isfile(match) and Path(match).suffix.lower() in suffixes]
        for file in files:
            _check_path(file)
        labelled = {file for file in files if is_labelled(file)}
        others[_LABELLED] += len(labelled)
        found, problem = sorted(found.union(files) - labelled), "no video matches this pattern"
    if others[_LABELLED]:
        say(f"{path}: skipped videos {_LABELLED} or live.py: {others[_LABELLED]}")
    if not found:
        raise InputError(f"{path}: {problem} ({', '.join(EXTENSIONS)})")
    return FileList(map(Entry, found))


def is_labelled(path: str) -> bool:
    """Return whether predict.py or live.py has drawn on the video, whatever its name."""
    if not path.lower().endswith(".mp4"):
        return False
    try:
        return holds_text(path, MADE_BY.encode())
    except (OSError, ValueError):  # reading the video will report what is wrong with it
        return False


def _is_copy(match: str, pattern: str) -> bool:
    """Return whether a match lies in a folder that is skipped and that the pattern does not name."""
    named = {part.casefold() for part in Path(pattern).parts}
    return any(part.casefold() in _NOT_CLIPS - named for part in Path(match).parts)


def _below(root: str, entered: set[tuple[int, int]], others: Counter[str]) -> Iterator[Video]:
    # A stack of (entries left, names of the folders on the way) in place of recursion, whose depth Python limits.
    opened: list[tuple[list[os.DirEntry], tuple[str, ...]]] = [(_enter(root, entered), ())]
    while opened:
        entries, names = opened[-1]
        if not entries:
            opened.pop()
            continue
        entry = entries.pop()  # frees each entry, as a folder may have a million files
        if is_passed(entry.name):
            continue
        if entry.is_dir():
            opened.append((_enter(entry.path, entered), (*names, entry.name)))
        elif entry.name.lower().endswith(EXTENSIONS):
            _check_path(entry.path)
            if is_labelled(entry.path):
                others[_LABELLED] += 1
                continue
            # A broken link counts as an empty file.
            yield Video(entry.path, names, not entry.is_file() or entry.stat().st_size == 0)
        else:
            others[Path(entry.name).suffix.lower()] += 1


def _enter(folder: str, entered: set[tuple[int, int]]) -> list[os.DirEntry]:
    """Return the folder's entries, the first name last; [] if the folder has been entered before."""
    with os_errors(InputError, f"{folder}: cannot be read"):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in entered:
            return []
        entered.add((status.st_dev, status.st_ino))
        return sorted(os.scandir(folder), key=lambda entry: entry.name, reverse=True)


def _check_path(path: str) -> None:
    if path != path.strip() or CONTROL.search(path):
        raise InputError(f"{path!r}: a file list cannot hold a line break, a control character or a blank at the start")
