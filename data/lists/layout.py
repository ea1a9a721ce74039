"""Tell how a data set's folders are meant: one for each class, possibly below train/, val/ and test/.

A layout with two possible meanings is an error that names both, because the choice decides what is learned.
"""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from data.lists.splits import split_of
from reader.videos import Video, is_passed
from utils.errors import InputError

SHOWN = 5  # names in a message


def is_split(videos: Sequence[Video]) -> bool:
    """Return whether the top folders are train/, val/ and test/. Raises InputError if they may also be classes."""
    first = {video.folders[0] for video in videos if video.folders}
    words = {name for name in first if split_of(name)}
    deeper = any(len(video.folders) > 1 for video in videos if video.folders and video.folders[0] in words)
    others = first - words
    if not words or others and not deeper:
        return False  # splits would have class folders below them
    if others:
        raise InputError(
            f"--videos: {named(words)} may be splits that hold class folders, or classes like {named(others)} beside "
            f"them: move {named(others)} to another folder if they are splits, rename them if they are classes"
        )
    return True


def check_level(videos: Sequence[Video], depth: int) -> None:
    """Raise InputError if there is only one class folder, and the folders in it may be the classes instead."""
    folders = {video.folders[depth] for video in videos}
    below = {video.folders[depth + 1] if len(video.folders) > depth + 1 else "" for video in videos}
    if len(folders) > 1 or len(below) < 2 or "" in below:
        return
    video = videos[0]
    folder = Path(video.path).parents[len(video.folders) - 1 - depth]
    raise InputError(
        f"--videos: all {len(videos)} videos are in {len(below)} folders ({named(below)}) of the one folder {folder}: "
        f"give --videos {folder.parent if depth else folder} if these are the classes; if {folder.name} is the only "
        "class, move the videos directly into it"
    )


def check_names(videos: Iterable[Video], depth: int) -> None:
    """Raise InputError if the name of a class folder is not UTF-8, as in archives from other systems."""
    for name in {video.folders[depth] for video in videos}:
        if not name.isprintable() and any("\ud800" <= c <= "\udfff" for c in name):
            raise InputError(
                f"--videos: the name of the class folder {os.fsencode(name)!r} is not UTF-8: rename it, for example "
                "with convmv"
            )


def empty_folders(roots: Iterable[str], videos: Iterable[Video], split: bool) -> list[str]:
    """Return the class folders without a video."""
    depth = 1 if split else 0
    full = {str(Path(v.path).parents[len(v.folders) - 1 - depth]) for v in videos if len(v.folders) > depth}
    above = [Path(root) for root in roots]
    if split:
        above = [path for root in above for path in _folders(root) if split_of(path.name)]
    return [str(path) for folder in above for path in _folders(folder) if str(path) not in full]


def _folders(folder: Path) -> list[Path]:
    return sorted(folder / entry.name for entry in os.scandir(folder) if entry.is_dir() and not is_passed(entry.name))


def named(names: Iterable[str]) -> str:
    """Return the names as text; if there are many, the first ones and the number of the others."""
    names = sorted(names)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def counted(suffixes: Counter[str]) -> str:
    """Return the number of files with each suffix, the most frequent first."""
    most = sorted(suffixes.items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{suffix or 'without a suffix'} {number}" for suffix, number in most[:SHOWN]]
    rest = sum(number for _, number in most[SHOWN:])
    return ", ".join([*shown, f"others {rest}"] if rest else shown)


def table(rows: Sequence[Sequence[object]], left: set[int]) -> str:
    """Return the rows as lines of aligned columns. left: the columns that are aligned to the left."""
    widths = [max(len(str(row[i])) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = (f"{cell!s:{'<' if i in left else '>'}{width}}" for i, (cell, width) in enumerate(zip(row, widths)))
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
