"""Whether video files can be opened, and which of them are the same, before they stand in lists. Nothing is decoded.

data/check.py reads what is in lists as training does, and finds more.
"""

import os
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from reader.apart import VideoProcess, describe_failure
from reader.integrity import VideoError, check_file
from utils.log import progress_bar
from utils.processes.limits import available_cores
from utils.processes.parallel import ask_all, in_parallel
from utils.storage.shelf import digest

# Files below which another process would take longer to start than they take.
_FILES_A_PROCESS = 100


def find_broken(paths: Sequence[str]) -> dict[str, str]:
    """Return why some files cannot be opened as videos, by path. Processes open them: anybody's file may end one."""
    number = min(available_cores(), 1 + len(paths) // _FILES_A_PROCESS)
    children = [VideoProcess(_open) for _ in range(number)]
    ask = lambda process, path: (path, process.failure(path))  # noqa: E731
    broken = {}
    with closing(ask_all(children, ask, paths)) as answers, progress_bar(len(paths), "opening videos") as bar:
        for path, reason in answers:
            if reason is not None:
                broken[path] = reason
            bar.update()
    return broken


def _open(path: str) -> None:
    """Raise VideoError for a file that cannot be opened."""
    from reader.packets import open_video, video_stream  # only here: it takes time

    try:
        check_file(path)
        with open_video(path) as container:
            video_stream(path, container)
    except (VideoError, MemoryError):
        raise
    except Exception as error:  # of the file or ours: data/check.py tells
        raise VideoError(path, describe_failure(path, error)) from error


def find_copies(paths: Sequence[str]) -> list[list[str]]:
    """Return the files of the same bytes, two or more in each. Only those of one size are read, each file once."""
    of_size = defaultdict(list)
    for path in paths:
        status = os.stat(path)
        of_size[status.st_size].append((path, (status.st_dev, status.st_ino)))
    candidates = {file: path for same in of_size.values() if len(same) > 1 for path, file in same}
    digests = {}
    with ThreadPoolExecutor(available_cores()) as pool, progress_bar(len(candidates), "comparing") as bar:
        for file, found in in_parallel(pool, available_cores(), _with_digest, candidates.items()):
            digests[file] = found
            bar.update()
    copies = defaultdict(list)
    for same in of_size.values():
        for path, file in same if len(same) > 1 else ():
            copies[digests[file]].append(path)
    return [same for same in copies.values() if len(same) > 1]


def _with_digest(task: tuple[tuple[int, int], str]) -> tuple[tuple[int, int], str]:
    file, path = task
    return file, digest(Path(path))
