"""Reader processes: one video at a time each, killed when stuck, replaced when dead."""

import queue
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from reader.apart import TIME_LIMIT, VideoProcess
from reader.clip import ClipSpec
from utils.errors import RunError
from utils.storage.copies import temporary_folder
from utils.storage.stamps import signature


class FileClip(NamedTuple):
    """What was read of a video."""

    clip: np.ndarray  # see `read_clip`
    label: int | None
    file: list[int] | None  # in epoch 0: what told it from another one before it was read, utils/storage/stamps.py
    mirrored: bool


class WorkerProcess(VideoProcess):
    """A reader process, which answers (path, epoch, index, frames) with a FileClip.

    A pipe and not shared memory: nothing can be left behind in /dev/shm, and copying a clip (0.15 to 1 MB) costs
    about 1% of decoding it.
    """

    def __init__(self, spec: ClipSpec, time_limit: float = TIME_LIMIT):
        folder = temporary_folder()
        super().__init__(partial(read_file, spec, folder), time_limit, needs="reader.dataset", scratch=folder)


class WorkerPool:
    """Some reader processes; any thread may ask, and one that is free answers."""

    def __init__(self, spec: ClipSpec, number: int, time_limit: float = TIME_LIMIT):
        self._processes = [WorkerProcess(spec, time_limit) for _ in range(number)]
        # The one used last first: who asks one after the other needs no second process.
        self._idle: queue.LifoQueue[WorkerProcess] = queue.LifoQueue()
        for process in self._processes:
            self._idle.put(process)
        self._reading: dict[str, WorkerProcess] = {}

    def __len__(self) -> int:
        return len(self._processes)

    def read(self, path: str, epoch: int = 0, index: int = 0) -> tuple[np.ndarray, int | None]:
        """Return what `read_clip` returns, computed in a process. Raises as VideoProcess.answer."""
        return self.read_file(path, epoch, index)[:2]

    def read_file(self, path: str, epoch: int, index: int, frames: int | None = None) -> FileClip:
        """Return the same with more that is known of it. More threads than processes wait for each other."""
        process = self._reading[path] = self._idle.get()
        try:
            return process.answer(path, epoch, index, frames)
        finally:
            self._reading.pop(path, None)
            self._idle.put(process)

    def drop(self, path: str) -> None:
        """Free the process that reads a path, from any thread. The file is removed before, or it is read again."""
        if (process := self._reading.get(path)) is not None:
            process.interrupt()

    def start(self) -> None:
        """Start a process before it is asked; what keeps it from starting is told when it is."""
        process = self._idle.get()
        with suppress(RunError):
            process.start()
        self._idle.put(process)

    def close(self) -> None:
        """End the processes for good; the threads that wait for their answers wake up."""
        for process in self._processes:
            process.close()

    def reap(self) -> None:
        """Return when what `close` has ended is gone, and its temporary files; no thread may ask any more."""
        for process in self._processes:
            process.kill()


def read_file(
    spec: ClipSpec, folder: Path | None, path: str, epoch: int, index: int, frames: int | None = None
) -> FileClip:
    """Return what is read of a video. `folder` is made for the copy of a remote one; frames: see `read_clip`."""
    from reader.dataset import Seen, read_clip  # only here: it takes time, and readers alone decode

    # Here, where a disk that hangs has its time limit. Answers and features are kept of the first epoch alone, and of
    # a folder of 300 frames it takes a third of the time that three of them take to read.
    file, seen = None if epoch else signature(path), Seen()
    return FileClip(*read_clip(spec, path, epoch, index, folder, seen, frames), file, seen.mirrored)
