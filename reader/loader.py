"""Batches in list order, read in parallel, within bounded memory."""

import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from reader.apart import TIME_LIMIT
from reader.clip import ClipSpec
from reader.filelist import Entry
from reader.integrity import VideoError
from reader.labels import LABELS, Label, ids_of, mirrored
from reader.workers import WorkerPool
from utils.config.foreign import list_advice
from utils.errors import InputError
from utils.processes.limits import available_cores


@dataclass
class Batch:
    """Consecutive videos in the order of reading; unreadable videos are listed, not padded.

    In a pass every position appears once: in `indices` if it was read or replaced, otherwise in `unreadable`. A
    replaced position is also in `unreadable`.
    """

    frames: np.ndarray  # uint8 [N, V * T, H, W, 3 * seglen], see ClipSpec.shape
    labels: np.ndarray  # int64 [N], -1 without a label; with many labels uint8 [N, K], see reader/labels.py
    indices: list[int]  # [N], list positions of the videos in `frames`; for a replacement the replacement's own
    unreadable: list[tuple[int, str]] = field(default_factory=list)  # (position, reason)
    files: list[list[int] | None] = field(default_factory=list)  # [N], see reader/workers.py:FileClip


@dataclass
class _ReadClip:
    asked: int  # position in the list
    index: int  # position of the video that was read; differs from `asked` for a replacement
    clip: np.ndarray | None  # None: unreadable and not replaced
    label: Label | None
    file: list[int] | None  # see Batch
    error: str | None  # why `asked` is unreadable


class Loader:
    """Reads the videos of a list into batches, with one thread of this process for every reader process.

    A context manager: leaving it ends the reader processes, whatever happened inside.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        spec: ClipSpec,
        batch_size: int,
        *,
        num_classes: int | None,
        labels: str = "single",
        num_workers: int,
        buffer_videos: int = 0,
        replace: bool = False,
        time_limit: float = TIME_LIMIT,
        mirrors: Mapping[int, int] | None = None,
    ):
        """Take the videos and how to read them; the processes start on entering the context.

        Args:
            num_classes: labels must be below it; None: labels are not used, so any will do.
            labels: MODEL.labels.
            num_workers: reader processes, at most one per video.
            buffer_videos: clips read ahead of the consumer; at least one batch and two per process.
            replace: replace an unreadable video by the next readable one of the list (training).
            time_limit: seconds after which a video is given up.
            mirrors: from the class in the list to the class of the mirrored clip, for classes where these differ.
        """
        self._entries, self._spec, self.batch_size = entries, spec, batch_size
        self._num_classes, self._replace, self._mirrors = num_classes, replace, mirrors or {}
        self._labels = LABELS[labels](num_classes)
        self._workers = WorkerPool(spec, min(num_workers, len(entries)), time_limit)
        self._ahead = max(min(buffer_videos, 2 * batch_size), batch_size, 2 * len(self._workers))
        self._pool = ThreadPoolExecutor(len(self._workers), thread_name_prefix="reader")
        # Unreadable positions, which `replace` does not try again; TRAIN.max_unreadable bounds their number. Without
        # `replace` every pass tries every video. So a validation does not depend on earlier passes, even in a resumed
        # run, but each video that hangs costs `time_limit` again; and a pass over millions stores nothing per video.
        self._bad: dict[int, str] = {}

    def __enter__(self) -> "Loader":
        self._pool.submit(self._workers.start)  # starts while the caller prepares other things
        return self

    def __exit__(self, *_) -> None:
        self._workers.close(self._pool)

    @property
    def num_workers(self) -> int:
        return len(self._workers)

    def batches(self, order: Sequence[int] | None = None, epoch: int = 0) -> Iterator[Batch]:
        """Yield the batches of one pass over the positions `order` (default: all, as listed); the last may be smaller.

        position + k * length of the list means the same video again; in training with other frames and another crop.
        """
        order = range(len(self._entries)) if order is None else order
        with closing(self._clips(order, epoch)) as clips:
            while group := list(islice(clips, self.batch_size)):
                yield self._assemble(group)

    def _clips(self, order: Sequence[int], epoch: int) -> Iterator[_ReadClip]:
        """Yield the clips of `order` one by one; at most `self._ahead` of them are read or being read."""
        pending: deque[Future[_ReadClip]] = deque()
        todo = iter(order)
        try:
            while True:
                for index in islice(todo, self._ahead - len(pending)):
                    pending.append(self._pool.submit(self._read, index, epoch))
                if not pending:
                    return
                yield _result(pending.popleft())
        finally:
            for future in pending:
                future.cancel()

    def _assemble(self, clips: list[_ReadClip]) -> Batch:
        good = [c for c in clips if c.clip is not None]
        frames = np.stack([c.clip for c in good]) if good else np.empty((0, *self._spec.shape), np.uint8)
        labels = self._labels.batch([c.label for c in good])
        unreadable = [(c.asked, c.error) for c in clips if c.error is not None]
        return Batch(frames, labels, [c.index for c in good], unreadable, [c.file for c in good])

    def _read(self, index: int, epoch: int) -> _ReadClip:
        """Return a clip. In training the next readable video replaces an unreadable one, but keeps its randomness."""
        number = len(self._entries)
        asked = index % number
        bad = self._bad if self._replace else {}
        for candidate in ((asked + i) % number for i in range(number if self._replace else 1)):
            if candidate not in bad:
                try:
                    clip, label, file = self._read_one(self._entries[candidate], epoch, index)
                    return _ReadClip(asked, candidate, clip, label, file, bad.get(asked))
                except VideoError as error:
                    bad[candidate] = error.reason
        path, why = self._entries[asked].path, bad[asked]
        if not self._replace:
            return _ReadClip(asked, asked, None, None, None, why)
        raise InputError(f"none of the {number} videos can be read; {path}: {why}{list_advice(path, why)}")

    def _read_one(self, entry: Entry, epoch: int, index: int) -> tuple[np.ndarray, Label | None, list[int] | None]:
        clip, label, file, is_mirrored = self._workers.read_file(entry.path, epoch, index, entry.frames)
        label = entry.label if label is None else label
        for one in ids_of(label) if self._num_classes is not None else ():
            if not 0 <= one < self._num_classes:
                raise VideoError(entry.path, f"its label {one} is outside 0..{self._num_classes - 1}")
        return clip, mirrored(label, self._mirrors) if is_mirrored else label, file


def timed(batches: Iterator[Batch]) -> Iterator[tuple[Batch, float]]:
    """Yield each batch with the seconds that its consumer waited for it."""
    while True:
        start = time.perf_counter()
        batch = next(batches, None)
        if batch is None:
            return
        yield batch, time.perf_counter() - start


def worker_count(num_reader_threads: int | str, num_videos: int, ranks_here: int = 1) -> int:
    """Return a rank's number of reader processes: the given number or "auto", at most one per video and core.

    num_videos: this rank's videos. ranks_here: the ranks on this machine, which share its cores.

    More processes than cores only cost memory and time to start (about 60 MB and 0.3 s each). Even a single video gets
    a process: without it, nothing would limit the time and memory of a hostile video.
    """
    cores = available_cores() // ranks_here
    return max(1, min(cores if num_reader_threads == "auto" else num_reader_threads, num_videos, cores))


def _result(future: Future[_ReadClip]) -> _ReadClip:
    """Return the result of a future; while waiting, SIGTERM and Ctrl-C take effect within a second.

    Python handles a signal before it starts to wait for a lock, or when the wait is interrupted. A signal in between
    would have to wait until the video is read: a minute, if the video hangs.
    """
    while not wait((future,), timeout=1.0).done:
        pass
    return future.result()
