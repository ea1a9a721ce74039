"""Reader processes: one video at a time each, killed when stuck, replaced when dead, gone when the parent is."""

import contextlib
import multiprocessing
import multiprocessing.connection
import multiprocessing.resource_tracker
import os
import signal
import threading
import traceback
from pathlib import Path

import numpy as np

from reader.dataset import ClipSpec, VideoError, read_clip
from utils.errors import InputError, RunError

# Seconds after which a video is given up. The longest clip of Kinetics takes well under one.
TIME_LIMIT = 60.0
# Seconds in which a new process must report that it has imported what it needs, and how often that may fail.
START_LIMIT = 120.0
STARTS = 3
# Bytes that reading a video may take, on Linux. 8K video with 16 reference frames just fits; 7 kB can declare any amount.
MEMORY_LIMIT = 2 << 30


class WorkerProcess:
    """A reader process and the pipe to it, started when it is first needed. One thread at a time may call `read`.

    A pipe and not shared memory: nothing can be left behind in /dev/shm, and copying a clip (0.15 to 1 MB) costs
    about 1% of decoding it.
    """

    def __init__(self, spec: ClipSpec, time_limit: float = TIME_LIMIT):
        self._spec, self._time_limit = spec, time_limit
        self._process: multiprocessing.process.BaseProcess | None = None
        self._pipe: multiprocessing.connection.Connection | None = None
        self._lock = threading.Lock()  # between a start in one thread and `close` in another
        self._closed = False

    def read(self, path: str, epoch: int, index: int) -> tuple[np.ndarray, int | None]:
        """What `read_clip` returns, computed in the process.

        A process that dies is replaced and asked once more, as the system may have killed it for want of memory.

        Raises:
            VideoError: the video cannot be read, took longer than the time limit, or killed the process twice.
            InputError: what the clips are read with is a mistake, whatever the video.
            RunError: the process could not be started, or failed for a reason that is no fault of the video.
        """
        for _ in range(2):
            if self._process is None:
                self._start()
            try:
                return self._ask(path, epoch, index)
            except (EOFError, OSError):
                self._process.join(5)  # its end is under way: the exit code says more than our kill would
                code = self.kill()
        raise VideoError(path, f"its reader process ended with {_describe_exit(code)}, twice")

    def _ask(self, path: str, epoch: int, index: int) -> tuple[np.ndarray, int | None]:
        self._pipe.send((path, epoch, index))
        if not self._pipe.poll(self._time_limit):
            self.kill()
            raise VideoError(path, f"given up after {self._time_limit:g} s")
        kind, content = self._pipe.recv()
        if kind == "clip":
            clip = np.empty(self._spec.shape, np.uint8)
            self._pipe.recv_bytes_into(clip.data.cast("B"))
            return clip, content
        raise {"unreadable": VideoError(path, content), "input": InputError(content), "failed": RunError(content)}[kind]

    def close(self) -> None:
        """Kills the process, from any thread, for good: a `read` under way ends with an error, and so does the next."""
        with self._lock:
            self._closed = True
            if self._process is not None:
                self._process.kill()

    def kill(self) -> int | None:
        """The exit code of the process after it has been ended; None if there was none."""
        if self._process is None:
            return None
        with self._lock:
            process, pipe = self._process, self._pipe
            self._process = self._pipe = None
        process.kill()
        process.join()
        pipe.close()
        return process.exitcode

    def _start(self) -> None:
        for _ in range(STARTS):
            self._launch()
            try:
                if self._pipe.poll(START_LIMIT) and self._pipe.recv() == "ready":
                    return
            except (EOFError, OSError):
                self._process.join(5)
            code = self.kill()
        raise RunError(f"a reader process could not be started: it ended with {_describe_exit(code)}")

    def _launch(self) -> None:
        # spawn, not fork: the parent has threads (paddle, oneDNN, ours), of which a forked child inherits the locks.
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        try:
            with self._lock, _interrupts_blocked():
                if self._closed:
                    raise RunError("the reader processes have been closed")
                process = context.Process(target=_serve, args=(theirs, self._spec), daemon=True)
                process.start()
                self._process, self._pipe = process, ours
        except OSError as error:
            raise RunError(f"a reader process could not be started: {error.strerror or error}") from None
        finally:
            theirs.close()


@contextlib.contextmanager
def _interrupts_blocked():
    """A context in which this thread, and a process that it starts, do not get the SIGINT of Ctrl-C.

    Ctrl-C goes to the whole process group; the parent alone decides when its readers end.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    # Starting the tracker, which the first process would do, unblocks SIGINT behind our back.
    multiprocessing.resource_tracker.ensure_running()
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


def describe_failure(path: str, error: Exception) -> str:
    """One line on an exception that is no fault of the video at `path`: what it was reading, what happened, where."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{path}: {type(error).__name__}: {error} ({where.filename}:{where.lineno})"


def _describe_exit(code: int | None) -> str:
    if code is not None and code < 0:
        return f"signal {-code} ({signal.strsignal(-code)})"
    return f"exit code {code}"


def _serve(pipe: multiprocessing.connection.Connection, spec: ClipSpec) -> None:
    """The life of a reader process: clips for (path, epoch, index) until the pipe closes."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _limit_memory()
    try:
        pipe.send("ready")
        while True:
            path, epoch, index = pipe.recv()
            try:
                clip, label = read_clip(spec, path, epoch, index)
            except VideoError as error:
                pipe.send(("unreadable", error.reason))
            except InputError as error:
                pipe.send(("input", str(error)))
            except Exception as error:  # not the video's fault: the parent stops with this message
                pipe.send(("failed", describe_failure(path, error)))
            else:
                pipe.send(("clip", label))
                # Cast: of an array with several dimensions send_bytes would announce the first one as its length.
                pipe.send_bytes(clip.data.cast("B"))
    except (EOFError, OSError):
        return  # the parent has closed the pipe: it needs no more


def _limit_memory() -> None:
    """Makes this process fail to get more than MEMORY_LIMIT in addition to what it has. Linux only."""
    try:
        import resource

        data_pages = int(Path("/proc/self/statm").read_text().split()[5])  # see proc(5)
    except (ImportError, OSError):
        return
    limit = data_pages * resource.getpagesize() + MEMORY_LIMIT
    limits = [
        limit if old == resource.RLIM_INFINITY else min(old, limit) for old in resource.getrlimit(resource.RLIMIT_DATA)
    ]
    resource.setrlimit(resource.RLIMIT_DATA, tuple(limits))


def _end_with_parent() -> None:
    # A killed parent closes no pipe that this process looks at while it decodes, or hangs, in a video.
    multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)
