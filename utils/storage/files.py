"""Files that are written whole or not at all, folders checked before work begins, and the cache folder.

A local folder stands in for a remote save_dir until a script has finished, because files in object storage cannot be
appended to. It lies in the cache folder under the path's digest. So the same command, if it was killed, finds there
what it had written.
"""

import csv
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, suppress
from io import FileIO
from pathlib import Path
from typing import TextIO

from utils.errors import InputError, RunError, os_errors
from utils.storage.objects import StorageError, check_writable, extended, is_remote, upload

_written: set[str] = set()  # files that this process has written

CACHE_VARIABLE = "PADDLE_TSN_CACHE"


def writing(path: str | os.PathLike) -> AbstractContextManager[None]:
    """Open a context whose OSError becomes a RunError: `path` cannot be written."""
    return os_errors(RunError, f"{path}: cannot be written")


def write_atomic(path: str | os.PathLike, write: Callable[[Path], None]) -> None:
    """Call `write` on a temporary path beside `path`, flush the file to the disk and rename it to `path`.

    Raises RunError if the disk is full or the folder is gone; the old file at `path` is then untouched.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with writing(path):
            write(temporary)
            with open(temporary, "r+b") as file:
                os.fsync(file.fileno())
            rename(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_all(file: FileIO, data: bytes) -> None:
    """Write all data to an unbuffered file; on a full disk, as much as fits. Raises OSError."""
    left = memoryview(data)
    while left:  # on a full disk a call writes what fits, and the next call fails
        left = left[file.write(left) :]


def unfinished(folder: Path, names: str) -> Iterator[Path]:
    """Yield the temporary files that killed calls of `write_atomic` left in the folder.

    names: a regular expression for the names of the final files.
    """
    for path in folder.glob(".*.tmp"):
        if re.fullmatch(rf"\.({names})\.\d+\.tmp", path.name):
            yield path


def rename(path: Path, target: Path) -> None:
    """Rename the file within its folder, for good. Raises OSError."""
    os.replace(path, target)
    note_written(target)
    flush_folder(target.parent)  # else a power cut could undo the renaming, but not later deletions


def note_written(path: Path) -> None:
    """Count a file as written by this process: an earlier run of the same command wrote it."""
    _written.add(os.path.abspath(path))


def written_below(folder: Path) -> list[Path]:
    """Return the files that this process has written in the folder or below it and that still exist."""
    start = os.path.join(os.path.abspath(folder), "")
    return [folder / path[len(start) :] for path in _written if path.startswith(start) and os.path.exists(path)]


def flush_folder(folder: Path) -> None:
    """Flush the names of the folder's files to the disk. Raises OSError."""
    if os.name != "nt":  # Windows cannot open folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_stream(path: str | os.PathLike, write: Callable[[TextIO], object]) -> None:
    """Call `write` on a text file, by `write_atomic`: in UTF-8; bytes of a path that are not UTF-8 stay unchanged."""

    def write_file(temporary: Path) -> None:
        with open(temporary, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            write(file)

    write_atomic(path, write_file)


def write_text(path: str | os.PathLike, text: str) -> None:
    write_stream(path, lambda file: file.write(text))


def write_csv(path: str | os.PathLike, header: Iterable[object], rows: Iterable[Iterable[object]]) -> None:
    """Write a table by `write_stream`, row by row, without keeping rows in memory."""

    def write(file: TextIO) -> None:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)

    write_stream(path, write)


def cache_folder() -> Path | None:
    """Return the folder that keeps files for the next run; None if it is switched off or there is no home folder.

    Raises InputError if CACHE_VARIABLE names a home folder that does not exist.
    """
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        expanded = os.path.expanduser(named)
        if expanded.startswith("~"):
            raise InputError(f"{CACHE_VARIABLE}={named}: there is no such home folder")
        return None if named == "off" else Path(expanded)
    base = os.path.expanduser(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    return None if base.startswith("~") else Path(base, "paddle-tsn")


def needed_cache_folder(path: str) -> Path:
    """Return the cache folder, which the remote `path` requires. Raises InputError if there is none."""
    if (root := cache_folder()) is None:
        off = os.environ.get(CACHE_VARIABLE) == "off"
        why = f"{CACHE_VARIABLE} is off" if off else f"there is no home folder, and {CACHE_VARIABLE} names none"
        raise InputError(f"{path}: needs a temporary folder on this machine, but {why}")
    return root


def check_save_dir(path: str) -> None:
    """Raise InputError unless files can be created in the folder, or in its nearest existing parent. Create nothing.

    In a remote folder an empty object may remain, which marks the folder.
    """
    folder = written_to(path)
    with os_errors(InputError, f"--save_dir={path}: cannot be written"):
        if is_remote(path):
            check_writable(path)
        with suppress(FileNotFoundError, NotADirectoryError):  # it can be made, if a parent allows it
            os.lstat(folder)
    # os.path, because the methods of Path raise if a parent may not be searched.
    while not os.path.exists(folder) and folder != folder.parent:
        if os.path.islink(folder):
            raise InputError(f"--save_dir={path}: {folder} is a link to nowhere")
        folder = folder.parent
    if not os.path.isdir(folder):
        raise InputError(f"--save_dir={path}: {folder} is not a folder")
    with os_errors(InputError, f"--save_dir={path}: {folder} cannot be written"):
        tempfile.TemporaryFile(dir=folder).close()


def written_to(path: str) -> Path:
    """Return the folder that `make_save_dir` makes for a script; it need not exist."""
    if not is_remote(path):
        return Path(path)
    digest = hashlib.sha256(os.fsencode(extended(path, ""))).hexdigest()
    return needed_cache_folder(path) / "save_dirs" / digest[:32]


def make_save_dir(path: str) -> Path:
    """Return the folder to write to, created if necessary; for a remote save_dir its local stand-in."""
    folder = written_to(path)
    with os_errors(InputError, f"--save_dir={path}: {f'{folder} ' if is_remote(path) else ''}cannot be created"):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def publish(folder: Path, path: str, clear: bool = True) -> str:
    """Return where a finished script's files are; `folder` is the result of `make_save_dir(path)`.

    The files of a remote save_dir are uploaded, .jsonl last, and then the local folder is removed, if `clear`. Hidden
    files and files called *.partial* are not uploaded.

    Raises RunError if that fails: the same command continues from the local folder.
    """
    if not is_remote(path):
        return str(folder)
    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    files = [file for file in files if not file.name.startswith(".") and ".partial" not in file.name]
    for file in sorted(files, key=lambda file: file.suffix == ".jsonl"):
        url = extended(path, f"/{file.relative_to(folder).as_posix()}")
        try:
            upload(file, url)
        except StorageError as error:
            raise RunError(
                f"{url}: cannot be written: {error.strerror}; the files are kept in {folder}, from where the same "
                "command continues"
            ) from None
    if clear:
        shutil.rmtree(folder, ignore_errors=True)
    return path


def check_local(name: str, path: str) -> None:
    """Raise InputError if `path`, given as `name`, is remote, because checkpoints need a local folder."""
    if is_remote(path):
        raise InputError(f"{name}={path}: checkpoints need a local folder")
