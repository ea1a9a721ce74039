"""End a process whose run has lost another process, whatever it waits for: NCCL waits for ever, and says nothing."""

import atexit
import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from multiprocessing.connection import Connection, wait

from utils import cli

# An error begins with this if a process ends because another one has: it is an echo and not the cause.
PEER_GONE = "another process has ended: rank "
# Seconds that the main thread has to end in good order, in case it has noticed the loss, too.
GRACE = 8.0
# Seconds that the main thread waits, after a connection broke, to learn which rank was lost.
_ECHO = 1.0


class Watch:
    """A thread that waits for other processes to end, and tells them when this one ends, with its last line if any."""

    def __init__(self, others: Mapping[Connection, str]):
        """Start the thread; others: dedicated connections -> the name of the rank at the other end: "1 on gpu-box"."""
        self._others, self._told, self._lock = others, False, threading.Lock()
        self._lost, self._seen = "", threading.Event()
        atexit.register(lambda: self._tell(cli.last_words or None))
        threading.Thread(target=self._look, daemon=True).start()

    def lost(self, otherwise: str) -> str:
        """Return the line on the loss that this process knows of; if it knows of none, `otherwise`."""
        self._seen.wait(_ECHO)
        return self._lost or otherwise

    def end(self, line: str) -> None:
        """End this process with an error of one line, and tell the other processes."""
        self._tell(line)
        if not cli.last_words:  # if there are any, the main thread has printed its error but not yet ended
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
                    said = ""  # it was killed, or its machine is out of reach
                if said is None:
                    continue  # it has finished
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
                    with contextlib.suppress(OSError):  # it is gone already
                        connection.send(words)


@contextlib.contextmanager
def time_limit(seconds: float, watch: Watch, line: str) -> Iterator[None]:
    """Open a context that ends this process with an error of one line if it takes longer than `seconds`."""
    timer = threading.Timer(seconds, watch.end, [line])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
