"""The two errors that end a script with one line instead of a traceback."""


class InputError(Exception):
    """A mistake of the user's: a flag, a configuration, an input file. One line; exit code 2."""


class RunError(Exception):
    """A failure on the way that nobody could foresee: a full disk, a loss that is not finite. Exit code 1."""
