"""How every script ends: exit codes, one-line errors, and signals that let clean-up run."""

import atexit
import contextlib
import io
import os
import re
import signal
import sys
import warnings
from collections.abc import Callable
from typing import NoReturn

from utils.errors import InputError, RunError

is_running = False  # whether this process is one of our scripts
# C0 but for tab and the ends of lines, DEL, and C1.
_COMMANDS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")

# The line that this process has ended with, where that was no success.
last_words = ""


class Terminated(BaseException):
    """SIGTERM, raised where the main thread stands so that `finally` blocks and context managers run."""


def _raise_terminated(signum, frame):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not cut the clean-up short
    raise Terminated


def run(main: Callable[[], None]) -> NoReturn:
    """Call `main` and end the process with the code that `exit_code` gives."""
    global is_running
    is_running = True
    code = exit_code(main)
    # As Python would, but without taking itself and paddle to pieces first, which takes 0.2 s.
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, RunError, ValueError):  # said already; or the start was cut short
            stream.flush()
    os._exit(code)


def exit_code(main: Callable[[], None]) -> int:
    """Call `main`: 0, 1 (RunError), 2 (InputError), 130 (Ctrl-C), 143 (SIGTERM), or what it exits with.

    Any other exception is a defect of ours and keeps its traceback.
    """
    code = 0
    try:
        signal.signal(signal.SIGTERM, _raise_terminated)
        quieten_paddle()
        open_streams()
        try:
            main()
        except SystemExit as end:  # of --help, and of a launcher whose ranks have ended
            code = end.code or 0
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
    except MemoryError as error:  # a limit (`ulimit -v`), or a batch that no machine would hold
        said = str(error).strip().partition("\n")[0]
        code = _complain(f"there is too little memory{said and f': {said}'}", 1)
    except Exception as error:
        global last_words
        last_words = repr(error)
        raise
    return code


def open_streams() -> None:
    """Make the standard streams fit for use: those that are closed go nowhere, one that is full ends in one line.

    Without a file under its number, the next file that is opened would get that of stdout, and what libraries print.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it gets the lowest number: this one
        if getattr(sys, name) is None:
            stream = open(number, "w" if number else "r", encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)  # what is made of it below would be closed with it
    for name, kind in (("stdout", _Output), ("stderr", _Warnings)):
        stream = getattr(sys, name)
        if type(stream) is io.TextIOWrapper:  # and not what a test or a notebook has put in its place
            how = {"line_buffering": stream.line_buffering, "write_through": stream.write_through}
            # A path that is not UTF-8 is printed with escapes instead of ending the run.
            setattr(sys, name, kind(stream.buffer, encoding=stream.encoding, errors="backslashreplace", **how))


def harmless(text: str) -> str:
    """Return the text with escapes for what a terminal takes as a command, as a file's name may hold.

    Lines stay lines.
    """
    return _COMMANDS.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


class _Output(io.TextIOWrapper):
    """Stdout, which raises RunError once it could not be written, and from then on: what was lost is not forgotten."""

    _lost: str | None = None

    def write(self, text: str) -> int:
        self._try(super().write, harmless(text))
        return len(text)

    def flush(self) -> None:
        self._try(super().flush)

    def _try(self, action: Callable, *arguments: str) -> int | None:
        if self._lost is None:
            try:
                return action(*arguments)
            except BrokenPipeError:  # nobody reads any more, which is no error
                raise
            except OSError as error:
                self._lost = error.strerror
        raise RunError(f"the standard output cannot be written: {self._lost}")


class _Warnings(io.TextIOWrapper):
    """Stderr, which drops what it cannot write: a full disk under warnings and progress bars ends no run."""

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            super().flush()


def quieten_paddle() -> None:
    """Keep off the screen what paddle says about itself; call it before paddle is imported."""
    # The import warns wherever there is no ccache, which only matters to those who compile operators.
    warnings.filterwarnings("ignore", message="No ccache found")
    # Its C++ side reports on itself below level 2.
    os.environ.setdefault("GLOG_minloglevel", "2")


def _complain(message: object, code: int) -> int:
    global last_words
    last_words = line = harmless(" ".join(str(message).split("\n")))
    print(f"error: {line}" if code in (1, 2) else line, file=sys.stderr, flush=True)
    return code
