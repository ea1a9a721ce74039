"""Queue clips for the network: each free thread takes the clips that are waiting, in order.

A failed call is repeated clip by clip, because memory may have been short for a moment. After FAILURES failures in a
row, the network is given up.
"""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, NoReturn

import numpy as np

# uint8 clips [N, V * T, H, W, C] -> a function that waits for their logits, float32 [N, K]
Start = Callable[[np.ndarray], Callable[[], np.ndarray]]
FAILURES = 3


class NetworkError(Exception):
    """The network failed twice with a clip."""


class Asked(Future):
    """A result to wait for. `began`: when a thread started on it."""

    began = 0.0


class VideoQueue:
    """A queue, and the threads that compute its clips."""

    def __init__(
        self, start: Start, most: int, threads: int, failed: Callable[[Exception], None], *, ahead: bool = False
    ):
        """Start the threads.

        Args:
            most: clips computed in one call if enough are waiting.
            threads: calls at the same time.
            failed: called once when the network is given up; nothing is computed afterwards.
            ahead: a thread starts the next call, if one is waiting, before it waits for the previous one.
        """
        self._start, self._most, self._failed, self._ahead = start, most, failed, ahead
        self._failure: Exception | None = None  # why the network was given up
        self._failures = 0  # in a row
        self._lock = threading.Lock()
        self._asked: queue.SimpleQueue[tuple[np.ndarray | Callable[[], Any], Asked] | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._run, name="network", daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def ask(self, asked: np.ndarray | Callable[[], Any]) -> Asked:
        """Return a future of the logits float32 [1, K] of a clip uint8 [V * T, H, W, C], or of a NetworkError.

        Of a function it is the future of its result, computed by a network thread. Any other thread may call this. A
        future that is cancelled in time is not computed.
        """
        future = Asked()
        self._asked.put((asked, future))
        return future

    def close(self) -> None:
        """Wait until everything that was asked is answered."""
        self._asked.put(None)
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        started: deque[tuple[list[np.ndarray], list[Future[np.ndarray]], Callable[[], np.ndarray]]] = deque()
        ends = False
        while started or not ends:
            clips, futures, ends = self._take(block=not started)
            if clips:
                started.append((clips, futures, self._begin(clips)))
            if started and not (clips and self._ahead and len(started) == 1):
                self._finish(*started.popleft())

    def _begin(self, clips: list[np.ndarray]) -> Callable[[], np.ndarray]:
        """Return a function that waits for the logits float32 [N, K] of N clips, or raises the error of the start."""
        try:
            if self._failure is not None:
                raise self._failure
            return self._start(np.stack(clips))
        except Exception as error:
            return partial(_throw, error)

    def _finish(
        self, clips: list[np.ndarray], futures: list[Future[np.ndarray]], wait: Callable[[], np.ndarray]
    ) -> None:
        try:
            logits = self._wait(wait)
        except NetworkError:
            for clip, future in zip(clips, futures):
                try:
                    future.set_result(self._wait(self._begin([clip])))
                except NetworkError as error:
                    future.set_exception(error)
        else:
            for i, future in enumerate(futures):
                future.set_result(logits[i : i + 1])

    def _wait(self, wait: Callable[[], np.ndarray]) -> np.ndarray:
        """Return the logits. Raises NetworkError, and gives the network up after FAILURES of them in a row."""
        try:
            logits = wait()
        except Exception as error:
            with self._lock:
                self._failures += 1
                given_up = self._failures >= FAILURES and self._failure is None
                if given_up:
                    self._failure = error
            if given_up:
                self._failed(error)
            raise NetworkError(str(error)) from error
        self._failures = 0
        return logits

    def _take(self, block: bool) -> tuple[list[np.ndarray], list[Future[np.ndarray]], bool]:
        """Return (clips, their futures, whether this is the end) for the waiting clips, at most `most`.

        With `block`, wait for at least one. Function calls in the queue are computed first.
        """
        clips, futures = [], []
        while len(clips) < self._most:
            try:
                asked = self._asked.get(block=block and not clips)
            except queue.Empty:
                break
            if asked is None:
                self._asked.put(None)  # for the other threads
                return clips, futures, True
            clip, future = asked
            if not future.set_running_or_notify_cancel():
                continue
            future.began = time.monotonic()
            if callable(clip):
                try:
                    future.set_result(clip())
                except Exception as error:
                    future.set_exception(error)
            else:
                clips.append(clip)
                futures.append(future)
        return clips, futures, False


def _throw(error: Exception) -> NoReturn:
    raise error
