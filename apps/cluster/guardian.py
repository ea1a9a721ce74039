"""Ends what a run has started once it is gone, however: `python apps/cluster/guardian.py MARK FOLDER`.

It waits for the end of its standard input, which the run holds open, then kills every process that has MARK in its
environment, and removes FOLDER. Of Ray's own processes some live on for a minute when their parents are killed; those
that write a title over their environment are known by their logs in FOLDER. Linux alone; it imports nothing of ours, so
that it starts at once.
"""

import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator


def started(mark: bytes, folder: str) -> Iterator[int]:
    """Yield the ids of the living processes with `mark` in their environment, or that are Ray's and log to `folder`."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):  # it has ended, or is another user's
            if mark in read(name, "environ") or (read(name, "cmdline").startswith(b"ray::") and has_open(name, folder)):
                yield int(name)


def read(pid: str, name: str) -> bytes:
    with open(f"/proc/{pid}/{name}", "rb") as file:
        return file.read()


def has_open(pid: str, folder: str) -> bool:
    for number in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):  # closed since
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
