"""Keep records of videos on disk, a line each, so that a killed run can resume."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from utils.errors import InputError, os_errors
from utils.storage.files import write_all, writing
from utils.storage.lines import end_of_lines, parsed, to_line


class Records(AbstractContextManager):
    """An append-only file of JSON objects, one per line; the first line holds the settings of the others.

    The caller locks the folder. No record is kept in memory; `at` reads one again.
    """

    def __init__(self, path: Path, settings: Mapping[str, object]):
        """Create the file, or open it and drop a last line that was cut off.

        Raises InputError if its settings differ, or it cannot be opened.
        """
        self._path = path
        heading = to_line({"settings": settings}).encode()
        self._first = len(heading)  # offset of the first record
        with os_errors(InputError, f"{path}: cannot be written"):
            self._file = open(path, "ab", buffering=0)  # noqa: SIM115  (closed by __exit__)
            self._reader = open(path, "rb")  # noqa: SIM115
        start = self._reader.read(len(heading))
        if not heading.startswith(start):
            self.__exit__()
            raise InputError(f"{path}: was made with other settings; remove it, or name another folder by --out")
        self._write(heading[len(start) :])
        self._file.truncate(end_of_lines(self._reader))

    def __exit__(self, *_) -> None:
        self._file.close()
        self._reader.close()

    def add(self, record: Mapping[str, object]) -> int:
        """Write a record, which survives a kill, and return its offset. Raises RunError."""
        offset = self._file.seek(0, os.SEEK_END)
        self._write(to_line(record).encode())
        return offset

    def at(self, offset: int) -> dict:
        self._reader.seek(offset)
        return json.loads(self._reader.readline())

    def records(self) -> Iterator[tuple[int, dict]]:
        """Yield (offset, record) for each record in order; damaged lines are skipped."""
        offset = self._first
        self._reader.seek(offset)
        for line in self._reader:
            if (record := parsed(line)) is not None:
                yield offset, record
            offset += len(line)

    def _write(self, data: bytes) -> None:
        with writing(self._path):
            write_all(self._file, data)
