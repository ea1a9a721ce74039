"""Ends what a run has started, once the run itself is gone, however: python cluster/guardian.py MARK FOLDER

It waits for the end of its standard input, which the run holds open, then kills every process that has MARK in its
environment, and removes FOLDER. Of Ray's own processes some live on for a minute when their parents are killed.
Linux alone; it imports nothing of ours, so that it starts at once.
"""

import contextlib
import os
import shutil
import signal
import sys
import time


def marked(mark: bytes) -> list[int]:
    """The ids of the living processes with `mark` in their environment."""
    found = []
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):  # it has ended, or is another user's
            if name.isdigit():
                with open(f"/proc/{name}/environ", "rb") as file:
                    if mark in file.read():
                        found.append(int(name))
    return found


def main(mark: str, folder: str) -> None:
    with contextlib.suppress(KeyboardInterrupt):
        sys.stdin.buffer.read()
    deadline = time.monotonic() + 10
    while (left := marked(mark.encode())) and time.monotonic() < deadline:
        for pid in left:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
