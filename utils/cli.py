"""End scripts properly: exit codes, one-line errors, and signals that let clean-up run."""

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
# C0 except tab and line ends, DEL, and C1.
_COMMANDS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")

# The last line of this process if it failed.
last_words = ""


class Terminated(BaseException):
    """SIGTERM, raised in the main thread so that `finally` blocks and context managers run."""


def _raise_terminated(signum, frame):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not cut the clean-up short
    raise Terminated


def run(main: Callable[[], None]) -> NoReturn:
    """Call `main` and end the process with the code that `exit_code` gives."""
    global is_running
    is_running = True
    code = exit_code(main)
    # As Python would, but without destroying all objects of Python and paddle first, which takes 0.2 s.
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, RunError, ValueError):  # already reported, or the start was interrupted
            stream.flush()
    os._exit(code)


def exit_code(main: Callable[[], None]) -> int:
    """Call `main` and return 0, 1 (RunError), 2 (InputError), 130 (Ctrl-C), 143 (SIGTERM), or its own exit code.

    Any other exception is a defect of the toolkit and keeps its traceback.
    """
    code = 0
    try:
        signal.signal(signal.SIGTERM, _raise_terminated)
        quieten_paddle()
        open_streams()
        try:
            main()
        except SystemExit as end:  # from --help, or from a launcher whose ranks have ended
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
        # The reader of the output is gone (`| head`). This is no error, but Python would complain again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    except MemoryError as error:  # a limit (`ulimit -v`), or a batch that fits no machine
        said = str(error).strip().partition("\n")[0]
        code = _complain(f"there is too little memory{said and f': {said}'}", 1)
    except Exception as error:
        global last_words
        last_words = repr(error)
        raise
    return code


def open_streams() -> None:
    """Prepare the standard streams: closed ones discard their output, and a full one ends the run in one line.

    Otherwise, the next opened file would get a closed stream's number, and receive what libraries print to stdout.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it gets the lowest free number: this one
        if getattr(sys, name) is None:
            stream = open(number, "w" if number else "r", encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)  # otherwise the stream made from it below would close with it
    for name, kind in (("stdout", _Output), ("stderr", _Warnings)):
        stream = getattr(sys, name)
        if type(stream) is io.TextIOWrapper:  # leave streams alone that a test or a notebook put there
            how = {"line_buffering": stream.line_buffering, "write_through": stream.write_through}
            # Print paths that are not UTF-8 with escapes instead of ending the run.
            setattr(sys, name, kind(stream.buffer, encoding=stream.encoding, errors="backslashreplace", **how))


def harmless(text: str) -> str:
    """Return the text with control characters escaped: a file's name could contain terminal commands.

    Lines stay lines.
    """
    return _COMMANDS.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


class _Output(io.TextIOWrapper):
    """Stdout that raises RunError when it cannot be written, and on every later write, because output was lost."""

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
            except BrokenPipeError:  # the reader is gone, which is no error
                raise
            except OSError as error:
                self._lost = error.strerror
        raise RunError(f"the standard output cannot be written: {self._lost}")


class _Warnings(io.TextIOWrapper):
    """Stderr that drops text it cannot write: a full disk below warnings and progress bars must not end a run."""

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            super().flush()


def quieten_paddle() -> None:
    """Silence paddle's reports about itself; call this before paddle is imported."""
    # The import warns if ccache is missing, which only matters for compiling operators.
    warnings.filterwarnings("ignore", message="No ccache found")
    # Its C++ side prints reports below level 2.
    os.environ.setdefault("GLOG_minloglevel", "2")


def _complain(message: object, code: int) -> int:
    global last_words
    last_words = line = harmless(" ".join(str(message).split("\n")))
    print(f"error: {line}" if code in (1, 2) else line, file=sys.stderr, flush=True)
    return code
