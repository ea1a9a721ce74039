"""Name the splits of a data set, and read which videos are already in each."""

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from reader.filelist import read_list
from reader.videos import Video
from utils.errors import InputError

SPLITS = ("train", "val", "test")
_SPLIT_OF = {split: split for split in SPLITS}
_SPLIT_OF |= {"training": "train", "valid": "val", "validate": "val", "validation": "val", "testing": "test"}


def split_of(word: str) -> str | None:
    """Return train, val or test for one of its usual spellings, else None."""
    return _SPLIT_OF.get(word.casefold())


def split_of_file(path: str) -> str | None:
    """Return the split that ends a file's name, such as train.csv or kinetics400_val.csv, else None."""
    return split_of(re.split("[-_.]", Path(path).stem)[-1])


def split_of_line(word: str, path: str, where: str) -> str:
    """Return the split that a line of a file names, or else the file's name. Raises InputError if neither does.

    where: the place of the line, for the error.
    """
    known = split_of(word) if word else split_of_file(path)
    if known is None:
        raise InputError(f"{where}: split {word!r}: expected train, val or test here, or at the end of the file's name")
    return known


def listed_in(folder: Path) -> dict[str, str]:
    """Return the split of each path in the lists of a folder. Raises InputError if a list cannot be read.

    A path in several lists has the split of the first one, because test.list may repeat val.list.
    """
    found: dict[str, str] = {}
    for split in SPLITS:
        path = folder / f"{split}.list"
        for entry in read_list(str(path), num_classes=1_000_000) if path.exists() else ():
            found.setdefault(entry.path, split)
    return found


def respelled(before: Mapping[str, str], videos: Iterable[Video]) -> dict[str, str]:
    """Return the splits `before` by the paths of `videos`, which may now be absolute, for example."""
    now = {os.path.abspath(video.path): video.path for video in videos} if before else {}
    return {now.get(os.path.abspath(path), path): split for path, split in before.items()}
