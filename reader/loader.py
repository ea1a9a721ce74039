"""Batches in list order, read in parallel, within bounded memory."""

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from reader.dataset import ClipSpec, VideoError, read_clip
from reader.filelist import Entry
from reader.workers import TIME_LIMIT, WorkerProcess
from utils.errors import InputError, RunError


@dataclass
class Batch:
    """Videos that follow one another in the order of reading; the unreadable ones are named, not padded."""

    frames: np.ndarray  # uint8 [N, T, H, W, 3 * seglen]
    labels: np.ndarray  # int64 [N]; -1 where the list gives none
    indices: list[int]  # [N], positions in the list; in training the replacement's
    unreadable: list[tuple[int, str]] = field(default_factory=list)  # (position, reason)


@dataclass
class _Clip:
    index: int
    clip: np.ndarray | None  # None: unreadable, and not replaced
    label: int | None
    unreadable: list[tuple[int, str]]


class Loader:
    """Reads the videos of a list into batches, with one thread here for every reader process.

    A context manager: leaving it ends the processes, whatever happened inside.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        spec: ClipSpec,
        batch_size: int,
        *,
        num_classes: int,
        num_workers: int,
        buffer_videos: int = 0,
        replace: bool = False,
        time_limit: float = TIME_LIMIT,
    ):
        """
        Args:
            num_workers: reader processes, at most one per video; 0 reads here, in one thread.
            buffer_videos: clips read ahead of the consumer; at least one batch and two per process.
            replace: in place of an unreadable video read the next readable one of the list (training).
            time_limit: seconds after which a video is given up; needs a process.
        """
        self._entries, self._spec, self._batch_size = entries, spec, batch_size
        self._num_classes, self._replace, self._time_limit = num_classes, replace, time_limit
        self._num_workers = min(num_workers, len(entries))
        self._ahead = max(min(buffer_videos, 2 * batch_size), batch_size, 2 * self._num_workers)
        self._local = threading.local()
        self._processes: list[WorkerProcess] = []
        self._pool = ThreadPoolExecutor(max(1, self._num_workers), thread_name_prefix="reader")
        # Positions known to be unreadable: not tried again in later epochs.
        self._bad: dict[int, str] = {}
        self._closed = False

    def __enter__(self) -> "Loader":
        return self

    def __exit__(self, *_) -> None:
        self._closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in self._processes:
            process.interrupt()  # the thread that waits for its answer wakes up
        self._pool.shutdown(wait=True)
        for process in self._processes:
            process.kill()

    def batches(self, order: Sequence[int] | None = None, epoch: int = 0) -> Iterator[Batch]:
        """The batches of one pass over the positions `order` (default: all, in list order); the last may be smaller."""
        order = range(len(self._entries)) if order is None else order
        pending: deque[Future[_Clip]] = deque()
        todo = iter(order)
        try:
            for start in range(0, len(order), self._batch_size):
                clips = []
                for _ in range(start, min(start + self._batch_size, len(order))):
                    while len(pending) < self._ahead and (index := next(todo, None)) is not None:
                        pending.append(self._pool.submit(self._read, index, epoch))
                    clips.append(pending.popleft().result())
                yield self._assemble(clips)
        finally:
            for future in pending:
                future.cancel()

    def _assemble(self, clips: list[_Clip]) -> Batch:
        good = [c for c in clips if c.clip is not None]
        frames = np.stack([c.clip for c in good]) if good else np.empty((0, *self._spec.shape), np.uint8)
        labels = np.array([-1 if c.label is None else c.label for c in good], np.int64)
        return Batch(frames, labels, [c.index for c in good], [u for c in clips for u in c.unreadable])

    def _read(self, index: int, epoch: int) -> _Clip:
        """One clip; in training that of the next readable video, with the randomness of the one it stands for."""
        unreadable = []
        for candidate in self._candidates(index):
            if candidate not in self._bad:
                try:
                    clip, label = self._read_one(self._entries[candidate], epoch, index)
                    return _Clip(candidate, clip, label, unreadable)
                except VideoError as error:
                    self._bad[candidate] = error.reason
            unreadable.append((candidate, self._bad[candidate]))
        if self._replace:
            raise InputError(f"none of the {len(self._entries)} videos can be read; {self._entries[index].path}: {self._bad[index]}")
        return _Clip(index, None, None, unreadable)

    def _candidates(self, index: int) -> Iterator[int]:
        number = len(self._entries)
        return ((index + i) % number for i in range(number if self._replace else 1))

    def _read_one(self, entry: Entry, epoch: int, index: int) -> tuple[np.ndarray, int | None]:
        clip, label = self._reader()(entry.path, epoch, index)
        label = entry.label if label is None else label
        if label is not None and not 0 <= label < self._num_classes:
            raise VideoError(entry.path, f"its label {label} is outside 0..{self._num_classes - 1}")
        return clip, label

    def _reader(self) -> Callable[[str, int, int], tuple[np.ndarray, int | None]]:
        if self._num_workers == 0:
            return lambda path, epoch, index: read_clip(self._spec, path, epoch, index)
        if not hasattr(self._local, "process"):
            self._local.process = WorkerProcess(self._spec, self._time_limit)
            self._processes.append(self._local.process)
        if self._closed:
            raise RunError("the loader is closed")  # seen by nobody: it keeps a late thread from starting a process
        return self._local.process.read


def timed(batches: Iterator[Batch]) -> Iterator[tuple[Batch, float]]:
    """Each batch with the seconds its consumer waited for it."""
    while True:
        start = time.perf_counter()
        batch = next(batches, None)
        if batch is None:
            return
        yield batch, time.perf_counter() - start


def worker_count(num_reader_threads: int, num_videos: int) -> int:
    """Reader processes to start: the configured number, at most one per core and per video; 0 for a single video.

    More processes than cores only take memory and time to start (about 60 MB and 0.3 s each).
    """
    if num_videos == 1:
        return 0
    return min(num_reader_threads, num_videos, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
