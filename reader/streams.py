"""Work on a whole video, however long, in a separate process: results come one by one, each within a time limit."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

from reader.apart import Unanswered, VideoProcess, send
from utils.processes.child import NoAnswer
from utils.storage.copies import on_this_machine, temporary_folder

# Seconds between two signs of life while work has no result.
_BEAT = 0.5

# (path of a local file, arguments) -> results; None between them is a sign of life.
Work = Callable[..., Iterator[object]]

# In the process: (path, local file) of the latest video, and the stack that removes its local copy.
_last = ("", "")
_copies = ExitStack()


class StreamProcess(VideoProcess):
    """A process that does several kinds of work on one video at a time, with the limits of a reader process.

    A remote video is copied once for consecutive questions about it.
    """

    def __init__(self, time_limit: float, *works: Work):
        """Take the kinds of work, functions of modules; time_limit: seconds without a sign of life before giving up."""
        self.folder = temporary_folder()  # for files of the works; removed with the process
        how = partial(_on_copy, works, self.folder)
        super().__init__(how, time_limit, send=_send_each, scratch=self.folder)

    def results(self, path: str, work: Work, *arguments: object) -> Iterator[object]:
        """Yield the results of one of the works for the video at `path`, which may be remote.

        A video is given up if it makes no progress within the time limit, or kills the process once. Raises as
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
    """Yield the results of one of the works; the works are imported before the first question."""
    global _last
    if _last[0] != path:
        _last = ("", "")
        _copies.close()
        _last = path, _copies.enter_context(on_this_machine(path, folder))
    yield from work(_last[1], *arguments)


def _send_each(pipe: Connection, results: Iterator[object]) -> None:
    """Send each result as a tuple of one, empty tuples as signs of life, and None at the end."""
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
