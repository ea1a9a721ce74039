"""End the processes that a run started, however the run ends: `python apps/cluster/guardian.py MARK FOLDER`.

The guardian waits for the end of its standard input, which the run holds open. Then it kills every process with MARK
in its environment, and removes FOLDER. Some of Ray's processes live on for a minute after their parents are killed.
Some of them write a title over their environment; they are found by their logs in FOLDER. Linux only. To start at
once, it imports none of our modules.
"""

import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator


def started(mark: bytes, folder: str) -> Iterator[int]:
    """Yield the ids of living processes with `mark` in their environment, and of Ray's that log to `folder`."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):  # it has ended, or belongs to another user
            if mark in read(name, "environ") or (read(name, "cmdline").startswith(b"ray::") and has_open(name, folder)):
                yield int(name)


def read(pid: str, name: str) -> bytes:
    with open(f"/proc/{pid}/{name}", "rb") as file:
        return file.read()


def has_open(pid: str, folder: str) -> bool:
    for number in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):  # closed meanwhile
            if os.readlink(f"/proc/{pid}/fd/{number}").startswith(f"{folder}/"):
                return True
    return False


def main(mark: str, folder: str) -> None:
    with contextlib.suppress(KeyboardInterrupt):
        sys.stdin.buffer.read()
    deadline = time.monotonic() + 10
    while (left := list(started(mark.encode(), folder))) and time.monotonic() < deadline:
        for pid in left:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
