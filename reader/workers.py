"""Reader processes: each reads one video at a time, is killed if it hangs, and replaced if it dies."""

import queue
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from reader.apart import TIME_LIMIT, VideoProcess
from reader.clip import ClipSpec
from utils.errors import RunError
from utils.processes.parallel import end_all
from utils.storage.copies import temporary_folder
from utils.storage.stamps import signature


class FileClip(NamedTuple):
    """The clip read from a video, and facts that go with it."""

    clip: np.ndarray  # see `read_clip`
    label: int | None
    file: list[int] | None  # in epoch 0: utils/storage/stamps.py:signature of the file before it was read
    mirrored: bool


class WorkerProcess(VideoProcess):
    """A reader process, which answers (path, epoch, index, frames) with a FileClip.

    It answers through a pipe, not shared memory: so nothing can be left in /dev/shm, and copying a clip (0.15 to 1 MB)
    costs about 1% of decoding it.
    """

    def __init__(self, spec: ClipSpec, time_limit: float = TIME_LIMIT):
        folder = temporary_folder()
        super().__init__(partial(read_file, spec, folder), time_limit, needs="reader.dataset", scratch=folder)


class WorkerPool:
    """Some reader processes: any thread may ask, and a free process answers."""

    def __init__(self, spec: ClipSpec, number: int, time_limit: float = TIME_LIMIT):
        self._processes = [WorkerProcess(spec, time_limit) for _ in range(number)]
        # Last in, first out: a thread that asks alone never needs a second process.
        self._idle: queue.LifoQueue[WorkerProcess] = queue.LifoQueue()
        for process in self._processes:
            self._idle.put(process)
        self._reading: dict[str, WorkerProcess] = {}

    def __len__(self) -> int:
        return len(self._processes)

    def read_file(self, path: str, epoch: int = 0, index: int = 0, frames: int | None = None) -> FileClip:
        """Return the clip, read in a process; if none is free, the thread waits. Raises as VideoProcess.answer."""
        process = self._reading[path] = self._idle.get()
        try:
            return process.answer(path, epoch, index, frames)
        finally:
            self._reading.pop(path, None)
            self._idle.put(process)

    def drop(self, path: str) -> None:
        """Free the process that reads a path, from any thread. Remove the file first, or it is read again."""
        if (process := self._reading.get(path)) is not None:
            process.interrupt()

    def start(self) -> None:
        """Start a process before it is asked; if it cannot start, the first question reports why."""
        process = self._idle.get()
        with suppress(RunError):
            process.start()
        self._idle.put(process)

    def close(self, threads: ThreadPoolExecutor | None = None) -> None:
        """End the processes for good, with their temporary files; threads: that ask them, which end with them."""
        end_all(self._processes, threads)


def read_file(
    spec: ClipSpec, folder: Path | None, path: str, epoch: int, index: int, frames: int | None = None
) -> FileClip:
    """Return the clip of a video. folder: made for the copy of a remote video; frames: see `read_clip`."""
    from reader.dataset import VideoFacts, read_clip  # imported here: it takes time, and only reader processes decode

    # In the reader process, whose time limit also covers a disk that hangs. Answers and features are kept from the
    # first epoch only, and the signature of a folder of 300 frames takes a third of the time of reading three of them.
    file, seen = None if epoch else signature(path), VideoFacts()
    return FileClip(*read_clip(spec, path, epoch, index, folder, seen, frames), file, seen.mirrored)
