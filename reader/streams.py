"""Work on a whole video, however long, in a process of its own: results one by one, each within a time limit."""

import multiprocessing.connection
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from reader.integrity import VideoError
from reader.workers import describe_failure, limit_memory
from utils.copies import on_this_machine, temporary_folder
from utils.errors import InputError, RunError
from utils.processes.child import Child, NoAnswer

# Seconds between two signs of life of work that has no result to give.
_BEAT = 0.5

# (path of a local file, arguments) -> results; None between them is a sign of life.
Work = Callable[..., Iterator[object]]


class StreamProcess(Child):
    """A process that does one kind of work on one video at a time, with the limits of a reader process.

    A context manager: leaving it ends the process.
    """

    def __init__(self, work: Work, time_limit: float):
        """work: a function of a module. time_limit: seconds after which it is given up without a sign of life."""
        folder = temporary_folder()
        super().__init__("a reader process", _serve, work, folder, scratch=folder)
        self._time_limit = time_limit

    def __enter__(self) -> "StreamProcess":
        return self

    def __exit__(self, *_) -> None:
        self.kill()

    def results(self, path: str, *arguments: object) -> Iterator[object]:
        """What the work gives for the video at `path`, which may be a remote one.

        Raises:
            VideoError: the video cannot be read, made no progress within the time limit, or killed the process.
            InputError, RunError: the fault is not the video's.
        """
        try:
            for kind, content in self.stream((path, *arguments), self._time_limit):
                if kind == "result":
                    yield content
                elif kind != "alive":
                    raise {"unreadable": VideoError(path, content), "input": InputError(content)}.get(
                        kind, RunError(content)
                    )
        except NoAnswer as error:
            raise VideoError(path, str(error)) from None


def _serve(pipe: multiprocessing.connection.Connection, work: Work, folder: Path) -> None:
    """Results for (path, arguments) until the pipe closes. `folder` is made for the copy of a remote video."""
    limit_memory()
    pipe.send("ready")
    while True:
        path, *arguments = pipe.recv()
        try:
            with on_this_machine(path, folder) as local:
                _send(pipe, work(local, *arguments))
        except VideoError as error:
            pipe.send(("unreadable", error.reason))
        except InputError as error:
            pipe.send(("input", str(error)))
        except RunError as error:
            pipe.send(("failed", str(error)))
        except MemoryError:
            pipe.send(("unreadable", "it takes more memory than there is"))
        except OSError as error:
            pipe.send(("unreadable", error.strerror or str(error)))
        except Exception as error:  # not the video's fault
            pipe.send(("failed", describe_failure(path, error)))
        pipe.send(None)


def _send(pipe: multiprocessing.connection.Connection, results: Iterator[object]) -> None:
    sent = time.monotonic()
    for result in results:
        if result is not None:
            pipe.send(("result", result))
        elif time.monotonic() - sent > _BEAT:
            pipe.send(("alive", None))
        else:
            continue
        sent = time.monotonic()
