"""Clips that wait for the network: each of its threads takes those that are there when it is free, in their order."""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future

import numpy as np

# uint8 clips [N, V * T, H, W, C] -> logits float32 [N, K]
Compute = Callable[[np.ndarray], np.ndarray]


class Batches:
    """Threads that compute: the CPU's engine in one process must always be called from the same one."""

    def __init__(self, compute: Compute, most: int, threads: int, failed: Callable[[Exception], None]):
        """
        Args:
            most: clips that are computed in one call, if so many wait.
            threads: calls at the same time.
            failed: told once when a call fails, as all will from then on.
        """
        self._compute, self._most, self._failed = compute, most, failed
        self._failure: Exception | None = None
        self._asked: queue.SimpleQueue[tuple[np.ndarray, Future[np.ndarray]] | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._run, name="network", daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def ask(self, clip: np.ndarray) -> Future[np.ndarray]:
        """What will be the logits float32 [1, K] of a clip uint8 [V * T, H, W, C]; from any thread.

        A future that is cancelled in time is not computed.
        """
        future: Future[np.ndarray] = Future()
        self._asked.put((clip, future))
        return future

    def close(self) -> None:
        """Returns when all that was asked is answered."""
        self._asked.put(None)
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        ends = False
        while not ends:
            clips, futures, ends = self._take()
            if not clips:
                continue
            try:
                if self._failure is not None:
                    raise self._failure
                logits = self._compute(np.stack(clips))
            except Exception as error:
                for future in futures:
                    future.set_exception(error)
                self._fail(error)
            else:
                for i, future in enumerate(futures):
                    future.set_result(logits[i : i + 1])

    def _take(self) -> tuple[list[np.ndarray], list[Future[np.ndarray]], bool]:
        """(clips, their futures, whether there will be no more): those that are there, at least one, at most `most`."""
        clips, futures = [], []
        while len(clips) < self._most:
            try:
                asked = self._asked.get(block=not clips)
            except queue.Empty:
                break
            if asked is None:
                self._asked.put(None)  # for the other threads
                return clips, futures, True
            clip, future = asked
            if future.set_running_or_notify_cancel():
                clips.append(clip)
                futures.append(future)
        return clips, futures, False

    def _fail(self, error: Exception) -> None:
        if self._failure is None:
            self._failure = error
            self._failed(error)
