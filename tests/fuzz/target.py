"""A reader under test, as the fuzzing process sees it."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / "tests" / "fixtures"


@dataclass(frozen=True)
class Target:
    """One reader under test.

    write: puts broken file number n, or a folder of them, into a folder and returns its path.
    read: raises one of `errors` for a file that cannot be used, AssertionError for a wrong result.
    memory: MB that reading may take, whatever the file declares.
    quiet: whether nothing may be written to stderr.
    """

    write: Callable[[Path, random.Random, int], Path]
    read: Callable[[Path, random.Random], None]
    errors: tuple[type[Exception], ...]
    memory: int
    quiet: bool = True


def one_line(error: BaseException) -> str:
    """Return why an error's text is not fit to be a line on a terminal; "" if it is."""
    text = str(error)
    if not text or any(ord(c) < 32 or 127 <= ord(c) < 160 for c in text):
        return f"its text is no line: {text[:200]!r}"
    return f"its text has {len(text)} characters" if len(text) > 1500 else ""
