"""Files of JSON objects, one per line, that are appended to: of a process that is killed the last one may be torn."""

import json
import os
from collections.abc import Mapping
from typing import BinaryIO


def to_line(values: Mapping[str, object]) -> str:
    """Return the object as its line, in ASCII. Raise ValueError for NaN and infinity, which are no JSON."""
    return json.dumps(values, allow_nan=False) + "\n"


def parsed(line: bytes) -> dict | None:
    """Return a line's object; None for one that is torn or damaged."""
    try:
        values = json.loads(line.decode("ascii"))
    except (ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) and line.endswith(b"\n") else None


def end_of_lines(file: BinaryIO) -> int:
    """Return the offset behind the last line that has its end, whatever has been written behind it."""
    start = file.seek(0, os.SEEK_END)
    while start:
        start = max(0, start - 65536)
        file.seek(start)
        if (found := file.read(65536).rfind(b"\n")) >= 0:
            return start + found + 1
    return 0
