"""Ends a process whose run has lost another one, whatever it waits for: NCCL waits for ever, and says nothing."""

import atexit
import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from multiprocessing.connection import Connection, wait

from utils import cli

# How the error of a process begins that ends because another one has: not the cause, only its echo.
PEER_GONE = "another process has ended: rank "
# Seconds in which a process whose main thread has heard of it, too, may end in good order.
GRACE = 8.0
# Seconds in which the main thread, which has seen a connection's end, may be told whose it was.
_ECHO = 1.0


class Watch:
    """A thread that waits for the end of others, and tells them of this one's: with its last line, if it has one."""

    def __init__(self, others: Mapping[Connection, str]):
        """others: connections for nothing else, and what whoever is at the other end is called: "1 on gpu-box"."""
        self._others, self._told, self._lock = others, False, threading.Lock()
        self._lost, self._seen = "", threading.Event()
        atexit.register(lambda: self._tell(cli.last_words or None))
        threading.Thread(target=self._look, daemon=True).start()

    def lost(self, name: str) -> str:
        """Return the line on the loss that this process knows of; of `name`, where it knows of none."""
        self._seen.wait(_ECHO)
        return self._lost or f"{PEER_GONE}{name}"

    def end(self, line: str) -> None:
        """End this process with an error of one line, and tell the others."""
        self._tell(line)
        if not cli.last_words:  # which the main thread has said, but it has not come to its end
            print(f"error: {line}", file=sys.stderr, flush=True)
        os._exit(1)

    def _look(self) -> None:
        left = dict(self._others)
        while left:
            for connection in wait(list(left)):
                name = left.pop(connection)
                try:
                    said = connection.recv()
                except (EOFError, OSError):
                    said = ""  # killed, or its machine is out of reach
                if said is None:
                    continue  # it is done
                named = f"{PEER_GONE}{name}{said and f': {said}'}"
                self._lost = said if said.startswith(PEER_GONE) else named
                self._seen.set()
                self._tell(self._lost)
                time.sleep(GRACE)
                self.end(self._lost)

    def _tell(self, words: str | None) -> None:
        with self._lock:
            if not self._told:
                self._told = True
                for connection in self._others:
                    with contextlib.suppress(OSError):  # it is gone itself
                        connection.send(words)


@contextlib.contextmanager
def time_limit(seconds: float, watch: Watch, line: str) -> Iterator[None]:
    """Return a context that ends this process with an error of one line where it takes longer."""
    timer = threading.Timer(seconds, watch.end, [line])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
