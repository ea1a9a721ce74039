"""Name the splits of a data set, and read which videos are already in each."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from reader.filelist import read_list
from reader.videos import Video

SPLITS = ("train", "val", "test")
_SPLIT_WORDS = {"training": "train", "valid": "val", "validate": "val", "validation": "val", "testing": "test"}


def split_of(word: str) -> str | None:
    """Return train, val or test for one of its usual spellings, else None."""
    word = _SPLIT_WORDS.get(word.casefold(), word.casefold())
    return word if word in SPLITS else None


def listed_in(folder: Path) -> dict[str, str]:
    """Return the split of each path in the lists of a folder.

    For a path in several lists it is the first one, since test.list may repeat val.list. Raises InputError if a list
    cannot be read.
    """
    found: dict[str, str] = {}
    for split in SPLITS:
        path = folder / f"{split}.list"
        for entry in read_list(str(path), num_classes=1_000_000) if path.exists() else ():
            found.setdefault(entry.path, split)
    return found


def respelled(before: Mapping[str, str], videos: Iterable[Video]) -> dict[str, str]:
    """Return the same by the paths of the videos: --videos may be given in another way, such as absolute."""
    now = {os.path.abspath(video.path): video.path for video in videos} if before else {}
    return {now.get(os.path.abspath(path), path): split for path, split in before.items()}
