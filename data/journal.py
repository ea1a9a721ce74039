"""What has been found out about videos, on the disk line by line: a run that was killed goes on from it."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from utils.errors import InputError, RunError


class Journal:
    """A file of JSON objects, one per line; the first line says by which settings the others were found. Append only.

    A context manager. In memory it keeps nothing of them: whoever needs a record again notes its offset.
    """

    def __init__(self, path: Path, settings: Mapping[str, object]):
        """Makes the file, or takes it up without a line that was cut off in writing.

        Raises InputError where it is of other settings, or cannot be written.
        """
        self._path = path
        heading = json.dumps({"settings": settings}).encode() + b"\n"
        self._first = len(heading)  # where the first record stands
        try:
            with open(path, "a+b") as file:
                file.seek(0)
                start = file.read(len(heading))
                if not heading.startswith(start):
                    raise InputError(f"{path}: is of other settings; remove it, or name another folder by --out")
                file.write(heading[len(start) :])
                _drop_torn_line(file)
            self._file = open(path, "a+b")  # noqa: SIM115  (closed by __exit__)
        except OSError as error:
            raise InputError(f"{path}: cannot be written: {error.strerror}") from None

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_) -> None:
        self._file.close()

    def add(self, record: Mapping[str, object]) -> int:
        """The offset of the record, which the next run finds even if this one is killed. Raises RunError."""
        line = json.dumps(record).encode() + b"\n"
        try:
            self._file.seek(0, 2)
            self._file.write(line)
            self._file.flush()
            return self._file.tell() - len(line)
        except OSError as error:
            raise RunError(f"{self._path}: cannot be written: {error.strerror}") from None

    def at(self, offset: int) -> dict:
        """The record at an offset."""
        self._file.seek(offset)
        return json.loads(self._file.readline())

    def records(self) -> Iterator[tuple[int, dict]]:
        """(offset, record) of every record in turn; lines that a broken disk has left are passed over."""
        offset = self._first
        while True:
            self._file.seek(offset)
            if not (line := self._file.readline()):
                return
            if isinstance(record := _parsed(line), dict):
                yield offset, record
            offset += len(line)


def _drop_torn_line(file: BinaryIO) -> None:
    start = file.seek(0, 2)
    while start:
        start = max(0, start - 65536)
        file.seek(start)
        if (found := file.read(65536).rfind(b"\n")) >= 0:
            file.truncate(start + found + 1)
            return


def _parsed(line: bytes) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
