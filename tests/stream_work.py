"""Work that goes on, hangs, dies or fails, for the process that does it."""

import os
import signal
import time
from collections.abc import Iterator

from reader.integrity import VideoError
from utils.errors import InputError, RunError


def work(path: str, what: str) -> Iterator[object]:
    yield os.getpid()
    if what == "steady":
        for _ in range(15):
            time.sleep(0.1)
            yield None
    elif what == "hang":
        time.sleep(60)
    elif what == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    else:
        failures = {
            "video": VideoError("copy", "damaged"),
            "input": InputError("no such decoder"),
            "run": RunError("disk full"),
            "memory": MemoryError(),
            "system": FileNotFoundError(2, "No such file"),
            "bug": ValueError("oh"),
        }
        raise failures[what]
    yield "done"
