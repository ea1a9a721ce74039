"""What the server writes on the screen while it runs: however often clients bring a line about, the log stays short."""

import logging
from collections import Counter

from h11 import LocalProtocolError

# The parser of forms writes of each damaged one, whose sender is told already.
_SILENT = ("python_multipart", "multipart")  # its older versions have the shorter name
_RARER = ("uvicorn.error", "asyncio")


class Rarer(logging.Filter):
    """Lets the 1st, 2nd, 4th, 8th ... line of each kind through, with its number."""

    def __init__(self):
        super().__init__()
        self._counts: Counter[tuple] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and isinstance(record.exc_info[1], LocalProtocolError):
            return False  # an answer to who has broken HTTP meanwhile: uvicorn has told it so and closes the connection
        # Not what it says, which may name the connection: there would be as many kinds as clients.
        count = self._counts[key] = self._counts[key := (record.pathname, record.lineno, _place(record))] + 1
        if count > 1:
            record.msg, record.args = f"({count} times by now) {record.getMessage()}", ()
        return count & (count - 1) == 0


def limit_log() -> None:
    """Have the loggers that clients can make write do so ever more rarely, or not at all."""
    for name in _SILENT:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    for name in _RARER:
        logger = logging.getLogger(name)
        logger.filters = [kept for kept in logger.filters if not isinstance(kept, Rarer)]  # the next server counts anew
        logger.addFilter(Rarer())


def _place(record: logging.LogRecord) -> tuple[str, int] | None:
    """Return where the line's exception was raised; None where it tells of none."""
    trace = record.exc_info[2] if record.exc_info else None
    if trace is None:
        return None
    while trace.tb_next is not None:
        trace = trace.tb_next
    return trace.tb_frame.f_code.co_filename, trace.tb_lineno
