"""A script of ours as a process of its own, which is told what its parent is told and does not outlive it."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from utils.cli import Terminated

_ROOT = Path(__file__).resolve().parents[2]
PR_SET_PDEATHSIG = 1  # from Linux's prctl.h


def run_script(script: str, arguments: Sequence[str]) -> int:
    """Return the exit code of a script, such as train.py, run by this interpreter with these arguments.

    Ctrl-C and SIGTERM are passed on, and its end is waited for: it saves what it has in hand. Where this process is
    killed, the system sends it SIGTERM (Linux).
    """
    command = [sys.executable, str(_ROOT / script), *arguments]
    # A group of its own: the terminal's Ctrl-C would else reach it twice, and twice means at once.
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0, preexec_fn=_ends_with(os.getpid()))
    try:
        return process.wait()
    except (KeyboardInterrupt, Terminated) as told:
        process.send_signal(signal.SIGINT if isinstance(told, KeyboardInterrupt) else signal.SIGTERM)
        try:
            process.wait()
        finally:  # told once more
            process.kill()
        raise


def _ends_with(parent: int):
    """Return what a new process does before it becomes another program; None where there is no such request."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl  # found here: the new process has but one thread of ours

    def ask() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it has ended in between
            os._exit(1)

    return ask
