"""How every script ends: exit codes, one-line errors, and signals that let clean-up run."""

import atexit
import os
import signal
import sys
import warnings
from collections.abc import Callable
from typing import NoReturn

from utils.errors import InputError, RunError


class Terminated(BaseException):
    """SIGTERM, raised where the main thread stands so that `finally` blocks and context managers run."""


def _raise_terminated(signum, frame):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not cut the clean-up short
    raise Terminated


def run(main: Callable[[], None]) -> NoReturn:
    """Calls `main` and ends the process with the code that `exit_code` gives."""
    code = exit_code(main)
    # As Python would, but without taking itself and paddle to pieces first, which takes 0.2 s.
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


def exit_code(main: Callable[[], None]) -> int:
    """Calls `main`: 0, 1 (RunError), 2 (InputError), 130 (Ctrl-C) or 143 (SIGTERM).

    Any other exception is a defect of ours and keeps its traceback.
    """
    signal.signal(signal.SIGTERM, _raise_terminated)
    quieten_paddle()
    # A path that is not UTF-8 is printed with escapes instead of ending the run.
    sys.stdout.reconfigure(errors="backslashreplace")
    code = 0
    try:
        main()
        sys.stdout.flush()
    except InputError as error:
        code = _complain(error, 2)
    except RunError as error:
        code = _complain(error, 1)
    except KeyboardInterrupt:
        code = _complain("interrupted", 130)
    except Terminated:
        code = _complain("terminated", 143)
    except BrokenPipeError:
        # The reader of our output went away (`| head`): not an error, but Python would complain again while exiting.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    return code


def quieten_paddle() -> None:
    """Keeps off the screen what paddle says about itself; call it before paddle is imported."""
    # The import warns wherever there is no ccache, which only matters to those who compile operators.
    warnings.filterwarnings("ignore", message="No ccache found")
    # Its C++ side reports on itself below level 2.
    os.environ.setdefault("GLOG_minloglevel", "2")


def _complain(message: object, code: int) -> int:
    line = " ".join(str(message).split("\n"))
    print(f"error: {line}" if code in (1, 2) else line, file=sys.stderr, flush=True)
    return code
