"""Several engines at once, each in a process of its own."""

import atexit
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from utils.cli import quieten_paddle
from utils.errors import RunError
from utils.processes.child import Child

# Processes and not threads: paddle.inference holds the interpreter while it computes, and with it every thread here.


class EngineProcesses:
    """Some processes that share the calls, each with the graph of a folder.

    They end with this process, however it ends.
    """

    def __init__(self, folder: Path, number: int, threads: int):
        """Returns when all have loaded the graph; `threads` is the number of each one's.

        Raises RunError where one cannot be started.
        """
        self.ahead = number
        self._calls: queue.SimpleQueue[tuple[np.ndarray, Future[np.ndarray]]] = queue.SimpleQueue()
        self._children: list[Child] = []
        ready: list[Future[None]] = [Future() for _ in range(number)]
        for future in ready:
            child = Child("a network process", _serve, str(folder), threads)
            self._children.append(child)
            atexit.register(child.close)  # before multiprocessing asks them to end and waits for it
            # daemon: at exit nobody waits for what has not been computed yet.
            threading.Thread(target=self._feed, args=(child, future), daemon=True).start()
        for future in ready:
            future.result()

    def start(self, parts: list[np.ndarray]) -> Callable[[], list[np.ndarray]]:
        """A function that waits for the outputs for `parts`, uint8 [B, ...] each, and returns them.

        It raises RunError when a process has ended.
        """
        results: list[Future[np.ndarray]] = [Future() for _ in parts]
        for call in zip(parts, results):
            self._calls.put(call)
        return lambda: [result.result() for result in results]

    def close(self) -> None:
        """Ends the processes."""
        for child in self._children:
            child.close()

    def _feed(self, child: Child, ready: Future[None]) -> None:
        try:
            child.start()
        except RunError as error:
            ready.set_exception(error)
            return
        ready.set_result(None)
        while True:
            part, result = self._calls.get()
            try:
                child.pipe.send(part.shape)
                child.pipe.send_bytes(np.ascontiguousarray(part).data.cast("B"))
                result.set_result(child.pipe.recv())
            except (EOFError, OSError):
                result.set_exception(RunError(f"a network process ended with {child.end()}"))
                return


def _serve(pipe: Connection, folder: str, threads: int) -> None:
    """Outputs for frames until the pipe closes."""
    quieten_paddle()
    import paddle

    from inference.engine import Engine

    paddle.disable_signal_handler()  # it would report on the signal that ends this process
    engine = Engine(Path(folder), threads)
    pipe.send("ready")
    while True:
        frames = np.empty(pipe.recv(), np.uint8)
        pipe.recv_bytes_into(frames.data.cast("B"))
        pipe.send(engine.compute(frames))
