"""Limit the server's log on the screen, however many lines clients cause."""

import logging
from collections import Counter

from h11 import LocalProtocolError

# The form parser logs every damaged form, although its sender gets an answer.
_SILENT = ("python_multipart", "multipart")  # older versions use the shorter name
_RARER = ("uvicorn.error", "asyncio")


class Rarer(logging.Filter):
    """Passes only the 1st, 2nd, 4th, 8th ... line of each kind, with its number."""

    def __init__(self):
        super().__init__()
        self._counts: Counter[tuple] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and isinstance(record.exc_info[1], LocalProtocolError):
            return False  # after an answer: uvicorn has told the client and closes the connection
        # Not by the message: it may name the connection, so each client would be its own kind.
        count = self._counts[key] = self._counts[key := (record.pathname, record.lineno, _place(record))] + 1
        if count > 1:
            record.msg, record.args = f"({count} times by now) {record.getMessage()}", ()
        return count & (count - 1) == 0


def limit_log() -> None:
    """Make the loggers that clients can trigger write less and less often, or not at all."""
    for name in _SILENT:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    for name in _RARER:
        logger = logging.getLogger(name)
        logger.filters = [kept for kept in logger.filters if not isinstance(kept, Rarer)]  # the next server counts anew
        logger.addFilter(Rarer())


def _place(record: logging.LogRecord) -> tuple[str, int] | None:
    """Return where the line's exception was raised, or None if it has none."""
    trace = record.exc_info[2] if record.exc_info else None
    if trace is None:
        return None
    while trace.tb_next is not None:
        trace = trace.tb_next
    return trace.tb_frame.f_code.co_filename, trace.tb_lineno
