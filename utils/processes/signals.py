"""SIGTERM and Ctrl-C as requests to stop: the current step is finished and saved first."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator

STOPPING = b"stopping after this step and saving it; Ctrl-C again stops at once, without saving\n"


class StopRequest:
    """A context in which a first SIGTERM or Ctrl-C only sets `signal_number`; a second Ctrl-C interrupts at once."""

    def __init__(self, announced: bool = True):
        """Prepare the context; announced: print a line to stderr at the first signal, as the step may take long."""
        self.signal_number: int | None = None
        self._announced = announced

    def __enter__(self) -> "StopRequest":
        self._previous = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number, frame) -> None:
        if number == signal.SIGINT and self.signal_number is not None:
            raise KeyboardInterrupt
        if self.signal_number is None and self._announced:
            # Past Python's buffers: the signal may have come in the middle of a print().
            with contextlib.suppress(OSError):  # stderr is closed, or on a full disk
                os.write(sys.stderr.fileno(), STOPPING)
        self.signal_number = number

    @property
    def flags(self) -> list[bool]:
        """[Ctrl-C, SIGTERM]: which of the two has arrived."""
        return [self.signal_number == number for number in (signal.SIGINT, signal.SIGTERM)]


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Open a context that delays SIGTERM and Ctrl-C to its end, for work that fails in strange ways if interrupted.

    Signals are noted, not blocked: if this thread blocks a signal, one of NumPy's threads gets it, and Python then
    handles it here all the same.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Python handles signals in the main thread only
        return
    noted: list[int] = []
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    # None: a library's handler, which Python could not restore.
    before = {number: handler for number, handler in handlers.items() if handler not in (None, signal.SIG_IGN)}
    for number in before:
        signal.signal(number, lambda number, frame: noted.append(number))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number in noted[:1]:
            signal.raise_signal(number)
