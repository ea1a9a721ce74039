"""Define the errors that end a script with one line instead of a traceback, and turn other errors into them."""

from collections.abc import Iterator
from contextlib import contextmanager


class InputError(Exception):
    """A mistake by the user: a flag, a configuration, an input file. One line; exit code 2."""


class RunError(Exception):
    """A failure that nobody could foresee: a full disk, a loss that is not finite. Exit code 1."""


class FormatError(Exception):
    """Bytes are damaged, are of another format, or are not to be trusted. One line, without the path."""


@contextmanager
def os_errors(kind: type[Exception], what: str) -> Iterator[None]:
    """Open a context that turns an OSError into an error of this kind.

    The message is `what`, followed by the system's reason.
    """
    try:
        yield
    except OSError as error:
        raise kind(f"{what}: {error.strerror or error}") from None


def last_line(error: Exception) -> str:
    """Return the last line of the error's message, where libraries say what it is; its type if it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[-1]


def quoted(text: str, length: int = 80) -> str:
    """Return the text quoted on one line, shortened to about `length` characters."""
    return repr(text if len(text) <= length else text[: length - 3] + "...")
