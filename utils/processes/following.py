"""Run one of our scripts as a separate process that gets its parent's signals and does not outlive it."""

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
    """Run a script, such as train.py, with this interpreter and these arguments, and return its exit code.

    Ctrl-C and SIGTERM are passed on; this process then waits while the script saves its work. If this process is
    killed, the system sends the script SIGTERM (Linux).
    """
    command = [sys.executable, str(_ROOT / script), *arguments]
    # A process group of its own: otherwise Ctrl-C would reach it twice, and the second one ends it at once.
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0, preexec_fn=_ends_with(os.getpid()))
    try:
        return process.wait()
    except (KeyboardInterrupt, Terminated) as told:
        process.send_signal(signal.SIGINT if isinstance(told, KeyboardInterrupt) else signal.SIGTERM)
        try:
            process.wait()
        finally:  # also after a second signal
            process.kill()
        raise


def _ends_with(parent: int):
    """Return a function for the new process to call before it runs the script; None if the system is not Linux."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl  # looked up here: after the fork the new process should do as little as possible

    def ask() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # the parent has ended in between
            os._exit(1)

    return ask
