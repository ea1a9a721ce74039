"""Clips that wait for the network, computed together: those that are there when it is free, in the order they came."""

import queue
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

import numpy as np

from inference.pipeline import Network

_Asked = tuple[np.ndarray, Future[np.ndarray]]


class Batches:
    """A network in a thread of its own: the CPU's engine must always be called from the same one."""

    def __init__(self, network: Network, most: int, failed: Callable[[Exception], None]):
        """
        Args:
            most: clips that are computed together.
            failed: told once when the network fails, which it does for good; all that is asked then fails the same way.
        """
        self._network, self._most, self._failed = network, most, failed
        self._asked: queue.SimpleQueue[_Asked | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="network", daemon=True)
        self._thread.start()

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
        self._thread.join()

    def _run(self) -> None:
        pending: deque[tuple[list[Future], Callable]] = deque()
        failure: Exception | None = None
        ends = False
        while pending or not ends:
            asked, ends = self._waiting(wait=not pending) if not ends else ([], True)
            futures = [future for _, future in asked]
            try:
                if failure is not None:
                    raise failure
                if asked:
                    pending.append((futures, self._network.start(np.stack([clip for clip, _ in asked]))))
                if pending and (len(pending) > self._network.ahead or not asked):
                    futures, wait = pending.popleft()
                    for future, logits in zip(futures, wait().logits):
                        future.set_result(logits[None])
            except Exception as error:
                for future in (*futures, *(future for group, _ in pending for future in group)):
                    future.set_exception(error)
                pending.clear()
                if failure is None:
                    failure = error
                    self._failed(error)

    def _waiting(self, wait: bool) -> tuple[list[_Asked], bool]:
        """(what is there, up to `most`; whether there will be no more). wait: for at least one."""
        found: list[_Asked] = []
        while len(found) < self._most:
            try:
                asked = self._asked.get(block=wait and not found)
            except queue.Empty:
                break
            if asked is None:
                return found, True
            if asked[1].set_running_or_notify_cancel():
                found.append(asked)
        return found, False
