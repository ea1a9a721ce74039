"""Reader processes: one video at a time each, killed when stuck, replaced when dead, gone when the parent is."""

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
import traceback

import numpy as np

from reader.dataset import ClipSpec, VideoError, read_clip
from utils.errors import RunError

# Seconds after which a video is given up. The longest clip of Kinetics takes well under one.
TIME_LIMIT = 60.0
# Seconds in which a new process must report that it has imported what it needs.
START_LIMIT = 120.0


class WorkerProcess:
    """A reader process and the pipe to it. Not thread-safe: one thread owns it.

    A pipe and not shared memory: nothing can be left behind in /dev/shm, and copying a clip (0.15 to 1 MB) costs
    about 1% of decoding it.
    """

    def __init__(self, spec: ClipSpec, time_limit: float = TIME_LIMIT):
        self._spec, self._time_limit = spec, time_limit
        self._process: multiprocessing.process.BaseProcess | None = None
        self._pipe: multiprocessing.connection.Connection | None = None

    def read(self, path: str, epoch: int, index: int) -> tuple[np.ndarray, int | None]:
        """What `read_clip` returns, computed in the process, which is started when there is none.

        Raises:
            VideoError: the video cannot be read, took longer than the time limit, or killed the process.
            RunError: the process could not be started, or failed for a reason that is no fault of the video.
        """
        if self._process is None:
            self._start()
        try:
            self._pipe.send((path, epoch, index))
            if not self._pipe.poll(self._time_limit):
                self.kill()
                raise VideoError(path, f"given up after {self._time_limit:g} s")
            kind, content = self._pipe.recv()
            if kind == "clip":
                clip = np.empty(self._spec.shape, np.uint8)
                self._pipe.recv_bytes_into(clip.data.cast("B"))
                return clip, content
        except (EOFError, OSError):
            self._process.join(5)  # its end is under way: the exit code says more than our kill would
            code = self.kill()
            raise VideoError(path, f"its reader process ended with {_describe_exit(code)}") from None
        if kind == "unreadable":
            raise VideoError(path, content)
        raise RunError(f"{path}: {content}")

    def interrupt(self) -> None:
        """Kills the process from any thread; the owner's `read` then ends with an error."""
        process = self._process
        if process is not None:
            process.kill()

    def kill(self) -> int | None:
        """The exit code of the process after it has been ended; None if there was none."""
        if self._process is None:
            return None
        process, pipe = self._process, self._pipe
        self._process = self._pipe = None
        process.kill()
        process.join()
        pipe.close()
        return process.exitcode

    def _start(self) -> None:
        # spawn, not fork: the parent has threads (paddle, oneDNN, ours), of which a forked child inherits the locks.
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        # Ctrl-C goes to the whole process group. Blocked in this thread, it is blocked in the child from its first
        # instruction on; the parent decides when the child ends.
        previous = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            process = context.Process(target=_serve, args=(theirs, self._spec), daemon=True)
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, previous)
        theirs.close()
        self._process, self._pipe = process, ours
        try:
            started = ours.poll(START_LIMIT) and ours.recv() == "ready"
        except (EOFError, OSError):
            started = False
        if not started:
            raise RunError(f"a reader process could not be started: it ended with {_describe_exit(self.kill())}")


def _describe_exit(code: int | None) -> str:
    if code is not None and code < 0:
        return f"signal {-code} ({signal.Signals(-code).name})"
    return f"exit code {code}"


def _serve(pipe: multiprocessing.connection.Connection, spec: ClipSpec) -> None:
    """The life of a reader process: clips for (path, epoch, index) until the pipe closes."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        pipe.send("ready")
        while True:
            path, epoch, index = pipe.recv()
            try:
                clip, label = read_clip(spec, path, epoch, index)
            except VideoError as error:
                pipe.send(("unreadable", error.reason))
            except Exception as error:  # not the video's fault: the parent stops with this message
                where = traceback.extract_tb(error.__traceback__)[-1]
                pipe.send(("failed", f"{type(error).__name__}: {error} ({where.filename}:{where.lineno})"))
            else:
                pipe.send(("clip", label))
                # Cast: of an array with several dimensions send_bytes would announce the first one as its length.
                pipe.send_bytes(clip.data.cast("B"))
    except (EOFError, OSError):
        return  # the parent has closed the pipe: it needs no more


def _end_with_parent() -> None:
    # A killed parent closes no pipe that this process looks at while it decodes, or hangs, in a video.
    multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)
