"""What has been found out about videos, on the disk line by line: a run that was killed goes on from it."""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from utils.errors import InputError, RunError
from utils.lock import open_locked


class Journal:
    """A file of JSON objects, one per line; the first line says by which settings the others were found. Append only.

    A context manager, in which no other process has it. In memory it keeps nothing of the records: whoever needs one
    again notes its offset.
    """

    def __init__(self, path: Path, settings: Mapping[str, object]):
        """Makes the file, or takes it up without a line that was cut off in writing.

        Raises InputError where it is of other settings, or cannot be opened; RunError where another process has it.
        """
        self._path = path
        heading = json.dumps({"settings": settings}).encode() + b"\n"
        self._first = len(heading)  # where the first record stands
        try:
            self._file, self._reader = open_locked(path, "--out"), open(path, "rb")  # noqa: SIM115  (closed by __exit__)
        except OSError as error:
            raise InputError(f"{path}: cannot be written: {error.strerror}") from None
        start = self._reader.read(len(heading))
        if not heading.startswith(start):
            self.__exit__()
            raise InputError(f"{path}: is of other settings; remove it, or name another folder by --out")
        self._write(heading[len(start) :])
        self._file.truncate(_end_of_lines(self._reader))

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_) -> None:
        self._file.close()
        self._reader.close()

    def add(self, record: Mapping[str, object]) -> int:
        """The offset of the record, which the next run finds even if this one is killed. Raises RunError."""
        offset = self._file.seek(0, os.SEEK_END)
        self._write(json.dumps(record).encode() + b"\n")
        return offset

    def at(self, offset: int) -> dict:
        """The record at an offset."""
        self._reader.seek(offset)
        return json.loads(self._reader.readline())

    def records(self) -> Iterator[tuple[int, dict]]:
        """(offset, record) of every record in turn; lines that a broken disk has left are passed over."""
        offset = self._first
        self._reader.seek(offset)
        for line in self._reader:
            if isinstance(record := _parsed(line), dict):
                yield offset, record
            offset += len(line)

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        try:
            while left:  # on a full disk what fits is written, and the next call fails
                left = left[self._file.write(left) :]
        except OSError as error:
            raise RunError(f"{self._path}: cannot be written: {error.strerror}") from None


def _end_of_lines(file: BinaryIO) -> int:
    """The offset behind the last line that has its end."""
    start = file.seek(0, os.SEEK_END)
    while start:
        start = max(0, start - 65536)
        file.seek(start)
        if (found := file.read(65536).rfind(b"\n")) >= 0:
            return start + found + 1
    return 0


def _parsed(line: bytes) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
