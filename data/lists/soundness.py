"""Tell which video files cannot be opened and which are equal, before they go into lists, without decoding.

data/check.py reads the videos of lists as training does, and finds more.
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

# For fewer files, starting another process takes longer than opening them.
_FILES_A_PROCESS = 100


def find_broken(paths: Sequence[str]) -> dict[str, str]:
    """Return the reason by path for each file that cannot be opened. Processes open them: a file may crash one."""
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
    """Raise VideoError if a file cannot be opened."""
    from reader.packets import open_video, video_stream  # slow to import

    try:
        check_file(path)
        with open_video(path) as container:
            video_stream(path, container)
    except (VideoError, MemoryError):
        raise
    except Exception as error:  # the file's fault or ours
        raise VideoError(path, describe_failure(path, error)) from error


def find_copies(paths: Sequence[str]) -> list[list[str]]:
    """Return groups of two or more files with equal bytes. Only files of equal size are read, each once."""
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
