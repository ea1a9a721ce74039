"""Files of JSON objects, one per line, that are appended to: if the process is killed, the last line may be torn."""

import json
import os
from collections.abc import Mapping
from typing import BinaryIO


def to_line(values: Mapping[str, object]) -> str:
    """Return the object as a line in ASCII. Raise ValueError for NaN and infinity, which JSON does not have."""
    return json.dumps(values, allow_nan=False) + "\n"


def parsed(line: bytes) -> dict | None:
    """Return the object of a line; None if the line is torn or damaged."""
    try:
        values = json.loads(line.decode("ascii"))
    except (ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) and line.endswith(b"\n") else None


def end_of_lines(file: BinaryIO) -> int:
    """Return the offset after the last complete line, whatever follows it."""
    start = file.seek(0, os.SEEK_END)
    while start:
        start = max(0, start - 65536)
        file.seek(start)
        if (found := file.read(65536).rfind(b"\n")) >= 0:
            return start + found + 1
    return 0
