"""A child process on a pipe: started on demand, killed if it hangs, gone when its parent is gone."""

import contextlib
import multiprocessing
import multiprocessing.connection
import multiprocessing.resource_tracker
import os
import shutil
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterator
from pathlib import Path

from utils.cli import open_streams
from utils.errors import RunError, os_errors

# Seconds that a new process has to report that it is ready, and the number of attempts.
START_LIMIT = 120.0
STARTS = 3
_ROOT = str(Path(__file__).resolve().parents[2])
_STARTING = threading.Lock()  # only one thread at a time may hide the main module


class NoAnswer(Exception):
    """A child process took too long over a question, or died of it twice. One line, without the question itself."""


class Child:
    """A process that runs `serve(pipe, *arguments)`, which sends "ready" through `pipe` and then answers questions.

    One thread at a time may start, ask and kill it.
    """

    def __init__(self, name: str, serve: Callable, *arguments: object, scratch: Path | None = None):
        """Take the work of the process, which is not started yet.

        Args:
            name: its name in messages, with the article: "a reader process".
            scratch: a folder that `serve` may make for its files; it is removed with the process or its parent.
        """
        self._name, self._serve, self._arguments, self._scratch = name, serve, arguments, scratch
        self._process: multiprocessing.process.BaseProcess | None = None
        self.pipe: multiprocessing.connection.Connection | None = None
        self._lock = threading.Lock()  # between a start in one thread and `close` in another
        self._closed = False

    @property
    def pid(self) -> int | None:
        """The process id; None if there is no process."""
        return self._process and self._process.pid

    def start(self) -> None:
        """Start the process, unless it runs, and wait until it is ready. Raises RunError if it cannot be started."""
        if self._process is not None:
            return
        for _ in range(STARTS):
            self._launch()
            try:
                if self.pipe.poll(START_LIMIT) and self.pipe.recv() == "ready":
                    return
            except (EOFError, OSError):
                pass
            end = self.end()
        raise RunError(f"{self._name} could not be started: it ended with {end}")

    def ask(self, question: object, time_limit: float) -> object:
        """Return the answer of the process, which is started if necessary.

        A process that dies is replaced and asked once more: the system may have killed it for lack of memory.

        Raises:
            NoAnswer: the process took longer than `time_limit` seconds and was killed, or it died twice.
            RunError: it could not be started.
        """
        for _ in range(2):
            self.start()
            try:
                self.pipe.send(question)
                if not self.pipe.poll(time_limit):
                    self.kill()
                    raise NoAnswer(f"given up after {time_limit:g} s")
                return self.pipe.recv()
            except (EOFError, OSError):
                end = self.end()
        raise NoAnswer(f"its {self._name.split(' ', 1)[1]} ended with {end}, twice")

    def stream(self, question: object, time_limit: float) -> Iterator[object]:
        """Yield the answers to a question until the process sends None. If the caller stops earlier, kill the process.

        Raises:
            NoAnswer: the process was silent for more than `time_limit` seconds and was killed, or it died.
            RunError: it could not be started.
        """
        self.start()
        answer = self
        try:
            self.pipe.send(question)
            while self.pipe.poll(time_limit):
                answer = self.pipe.recv()
                if answer is None:
                    return
                yield answer
        except (EOFError, OSError):
            raise NoAnswer(f"its {self._name.split(' ', 1)[1]} ended with {self.end()}") from None
        finally:
            if answer is not None:
                self.kill()
        raise NoAnswer(f"given up after {time_limit:g} s without progress")

    def end(self) -> str:
        """Reap the process, whose pipe broke, and return how it ended: "signal 9 (Killed)" or "exit code 1"."""
        self._process.join(5)  # it is about to end by itself: its own exit code says more than our kill would
        return _describe_exit(self.kill())

    def kill(self) -> int | None:
        """Kill the process and return its exit code; None if there was no process."""
        if self._process is None:
            return None
        with self._lock:
            process, pipe = self._process, self.pipe
            self._process = self.pipe = None
        process.kill()
        process.join()
        pipe.close()
        _remove(self._scratch)
        return process.exitcode

    def close(self) -> None:
        """Kill the process for good, from any thread: a thread that waits for its answer sees the end of the pipe."""
        self._closed = True  # before the lock: `_launch` looks at it with the lock held
        self.interrupt()

    def interrupt(self) -> None:
        """Kill the process, from any thread: a thread that waits for its answer asks a new process, see `ask`."""
        with self._lock:
            if self._process is not None:
                self._process.kill()

    def _launch(self) -> None:
        # spawn, not fork: a forked child would inherit the locks of the parent's threads (paddle, oneDNN, ours).
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        failing = os_errors(RunError, f"{self._name} could not be started")
        with theirs, failing, self._lock, interrupts_blocked(), _main_hidden(self._serve), _daemon_hidden():
            if self._closed:
                raise RunError(f"{self._name} was closed")
            arguments = self._serve, self._scratch, theirs, *self._arguments
            process = context.Process(target=_live, args=arguments, daemon=True)
            process.start()
            self._process, self.pipe = process, ours


def _live(
    serve: Callable, scratch: Path | None, pipe: multiprocessing.connection.Connection, *arguments: object
) -> None:
    """Run `serve` in the process until the parent closes the pipe or is gone."""
    open_streams()
    threading.Thread(target=_end_with_parent, args=(scratch,), daemon=True).start()
    with contextlib.suppress(EOFError, OSError):  # the parent has closed the pipe: it has no more questions
        serve(pipe, *arguments)


def _end_with_parent(scratch: Path | None) -> None:
    # While this process decodes a video, or hangs in one, it would not notice that a killed parent's pipe is closed.
    multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
    _remove(scratch)
    os._exit(1)


def _remove(scratch: Path | None) -> None:
    """Remove the folder for good, even if another thread is just putting a file into it."""
    for _ in range(3):
        if scratch is not None and scratch.exists():
            shutil.rmtree(scratch, ignore_errors=True)


@contextlib.contextmanager
def interrupts_blocked():
    """Open a context in which this thread, and processes that it starts, do not get the SIGINT of Ctrl-C.

    Ctrl-C goes to the whole process group, but the parent alone decides when its children end.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    # The first process would start the resource tracker, and that would unblock SIGINT without notice.
    multiprocessing.resource_tracker.ensure_running()
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


@contextlib.contextmanager
def _main_hidden(serve: Callable):
    """Open a context in which new processes do not import the running program, unless `serve` is defined in it.

    A short program may lack the `if __name__ == "__main__":` that would keep it from running again. It may also have a
    utils.py beside it, which the process must not find before ours.
    """
    with _STARTING:  # even if nothing is hidden here: another thread may be hiding it just now
        if serve.__module__ == "__main__":
            yield
            return
        program = sys.modules["__main__"]
        sys.modules["__main__"] = types.ModuleType("__main__")
        sys.path.insert(0, _ROOT)
        try:
            yield
        finally:
            sys.path.remove(_ROOT)
            sys.modules["__main__"] = program


@contextlib.contextmanager
def _daemon_hidden():
    """Open a context in which a pool's worker may start processes, which multiprocessing forbids to a daemon.

    It forbids them because they could outlive a killed daemon; ours end with their parent, however that ends.
    """
    current = multiprocessing.current_process()
    before, current.daemon = current.daemon, False
    try:
        yield
    finally:
        current.daemon = before


def _describe_exit(code: int | None) -> str:
    if code is not None and code < 0:
        return f"signal {-code} ({signal.strsignal(-code)})"
    return f"exit code {code}"
