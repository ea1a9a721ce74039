"""Work on a whole video, however long, in a process of its own: results one by one, each within a time limit."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

from reader.apart import Unanswered, VideoProcess, send
from utils.processes.child import NoAnswer
from utils.storage.copies import on_this_machine, temporary_folder

# Seconds between two signs of life of work that has no result to give.
_BEAT = 0.5

# (path of a local file, arguments) -> results; None between them is a sign of life.
Work = Callable[..., Iterator[object]]

# In the process: (path, file on this machine) of the video that it was asked about last, and what ends its copy.
_last = ("", "")
_copies = ExitStack()


class StreamProcess(VideoProcess):
    """A process that does several kinds of work on one video at a time, with the limits of a reader process.

    A remote video is copied once for all that is asked about it in a row.
    """

    def __init__(self, time_limit: float, *works: Work):
        """time_limit: seconds after which it is given up without a sign of life. works: functions of modules."""
        self.folder = temporary_folder()  # for files of the works; gone with the process
        how = partial(_on_copy, works, self.folder)
        super().__init__(how, time_limit, send=_send_each, scratch=self.folder)

    def results(self, path: str, work: Work, *arguments: object) -> Iterator[object]:
        """Yield what one of the works gives for the video at `path`, which may be remote.

        A video is given up that makes no progress within the time limit, or kills the process once. Raises as
        VideoProcess.answer.
        """
        try:
            for message in self.stream((path, work, *arguments), self._time_limit):
                if isinstance(message, Exception):
                    raise message
                yield from message
        except NoAnswer as error:
            raise Unanswered(path, str(error)) from None


def _on_copy(works: Sequence[Work], folder: Path, path: str, work: Work, *arguments: object) -> Iterator[object]:
    """Yield the results of one of the works, which are imported before the first question."""
    global _last
    if _last[0] != path:
        _last = ("", "")
        _copies.close()
        _last = path, _copies.enter_context(on_this_machine(path, folder))
    yield from work(_last[1], *arguments)


def _send_each(pipe: Connection, results: Iterator[object]) -> None:
    """Send tuples of one result, empty ones as signs of life, and None behind the last."""
    sent = time.monotonic()
    for result in results:
        if result is not None:
            send(pipe, (result,))
        elif time.monotonic() - sent > _BEAT:
            send(pipe, ())
        else:
            continue
        sent = time.monotonic()
    send(pipe, None)
