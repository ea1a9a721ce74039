"""Work for a child process: it succeeds, hangs, kills its process or fails."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection

from reader.integrity import VideoError
from utils.errors import InputError, RunError

# (the work, the error that it leads to, the start of its message)
FAULTS = [
    ("video", VideoError, "clip.mp4: damaged"),
    ("memory", VideoError, "clip.mp4: it takes more memory than there is"),
    ("system", VideoError, "clip.mp4: No such file"),
    ("input", InputError, "no such decoder"),
    ("run", RunError, "disk full"),
    ("bug", RunError, "clip.mp4: ValueError: oh ("),
]


def work(path: str, what: str) -> Iterator[object]:
    yield os.getpid()
    if what == "steady":
        for _ in range(15):
            time.sleep(0.1)
            yield None
    else:
        answer(path, what)
    yield "done"


def answer(path: str, what: str) -> object:
    """Return a fact about this process, or fail as asked."""
    if what == "hang":
        time.sleep(60)
    if what == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    failures = {
        "video": VideoError("copy", "damaged"),
        "input": InputError("no such decoder"),
        "run": RunError("disk full"),
        "memory": MemoryError(),
        "system": FileNotFoundError(2, "No such file"),
        "bug": ValueError("oh"),
    }
    if what in failures:
        raise failures[what]
    return {"pid": os.getpid(), "module": "colorsys" in sys.modules, "lambda": lambda: None}[what]


class Greedy:
    """Settings of data/reencode.py that always lead to a MemoryError."""

    keyint, crf, preset, fps = 12, 23, "veryfast", None

    @property
    def short_side(self) -> int:
        raise MemoryError


def die(pipe: Connection) -> None:
    """End by SIGKILL at the first request."""
    pipe.send("ready")
    pipe.recv()
    os.kill(os.getpid(), signal.SIGKILL)


def refuse(pipe: Connection) -> None:
    """Fail as the process that traces graphs does."""
    pipe.send("ready")
    pipe.recv()
    pipe.send(("failed", "ValueError: no such operator"))
