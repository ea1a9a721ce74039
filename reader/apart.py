"""Work on videos in separate processes, because a stranger's file may hang, take all memory, or kill the process."""

import importlib
import pickle
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager
from multiprocessing.connection import Connection
from pathlib import Path

from reader.integrity import VideoError
from utils.errors import InputError, RunError
from utils.processes.child import Child, NoAnswer

# Seconds after which a video is given up. The longest clip of Kinetics takes well under one.
TIME_LIMIT = 60.0
# Bytes that reading a video may take, on Linux. 8K with 16 reference frames just fits; 7 kB can ask for any amount.
MEMORY_LIMIT = 2 << 30


class Unanswered(VideoError):
    """The process took too long over the video, or ended. This may be the machine's fault."""


def send(pipe: Connection, answer: object) -> None:
    """Send an object for the other end's `recv`; the bytes of an array are copied once on the way, not more often."""
    pipe.send_bytes(pickle.dumps(answer, protocol=5))


class VideoProcess(Child, AbstractContextManager):
    """A process that does one kind of work, on one video at a time. One thread at a time may ask it.

    A context manager: leaving it ends the process.
    """

    def __init__(
        self,
        work: Callable,
        time_limit: float = TIME_LIMIT,
        *,
        name: str = "a reader process",
        needs: str | None = None,
        limited: bool = True,
        send: Callable[[Connection, object], None] = send,
        scratch: Path | None = None,
    ):
        """Take the kind of work; the process is not started yet.

        Args:
            work: takes the path of a video and other arguments. A function of a module, not of the running program.
            time_limit: seconds after which a video is given up.
            needs: a module that takes long to import; the process imports it before it is ready.
            limited: whether the work may take no more than MEMORY_LIMIT.
            send: sends the result of the work.
            name, scratch: see Child.
        """
        super().__init__(name, _serve, work, needs, limited, send, scratch=scratch)
        self._time_limit = time_limit

    def __exit__(self, *_) -> None:
        self.kill()

    def answer(self, path: str, *arguments: object) -> object:
        """Return the result of the work, computed in the process.

        Raises:
            VideoError: the video cannot be used; Unanswered if it took too long, or killed the process twice.
            InputError: a setting of the work is a mistake, whatever the video.
            RunError: the process could not be started, or failed through no fault of the video.
        """
        try:
            answer = self.ask((path, *arguments), self._time_limit)
        except NoAnswer as error:
            raise Unanswered(path, str(error)) from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def failure(self, path: str, *arguments: object) -> str | None:
        """Return why the work cannot be done on the video, or None if it was. Raises the other errors of `answer`."""
        try:
            self.answer(path, *arguments)
        except VideoError as error:
            return error.reason
        return None


def _serve(pipe: Connection, work: Callable, needs: str | None, limited: bool, send: Callable) -> None:
    """Answer each (path, *arguments), or send the error for the parent to raise, until the pipe closes."""
    if needs is not None:
        importlib.import_module(needs)
    if limited:
        limit_memory()
    pipe.send("ready")
    while True:
        path, *arguments = pipe.recv()
        try:
            send(pipe, work(path, *arguments))
        except Exception as error:
            pipe.send(fault(path, error))


def fault(path: str, error: Exception) -> VideoError | InputError | RunError:
    """Return the error to show, without a traceback, for an exception from work on the video at `path`."""
    match error:
        case VideoError():
            return VideoError(path, error.reason)  # the error's own path may be a copy's
        case InputError() | RunError():
            return error
        case MemoryError():
            return VideoError(path, "it takes more memory than there is")
        case OSError():
            return VideoError(path, error.strerror or str(error))
    return RunError(describe_failure(path, error))


def describe_failure(path: str, error: Exception) -> str:
    """Return one line on an exception that is not the fault of the video at `path`: the path, the error, its place."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{path}: {type(error).__name__}: {error} ({where.filename}:{where.lineno})"


def limit_memory() -> None:
    """Limit this process to MEMORY_LIMIT in addition to the memory it has now. Linux only."""
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
