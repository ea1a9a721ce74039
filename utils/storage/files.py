"""Files that are whole or not there, folders that are known to be writable before work begins, and the cache folder.

A remote save_dir has a local folder in its place until a script has ended its work: nothing can be appended to a file
in object storage. It lies in the cache folder under the path's digest, so that the same command finds there what it
had written when it was killed.
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

_written: set[str] = set()  # by this process

CACHE_VARIABLE = "PADDLE_TSN_CACHE"


def writing(path: str | os.PathLike) -> AbstractContextManager[None]:
    """Open a context whose OSError becomes the RunError that `path` cannot be written."""
    return os_errors(RunError, f"{path}: cannot be written")


def write_atomic(path: str | os.PathLike, write: Callable[[Path], None]) -> None:
    """Call `write` on a temporary path beside `path`, flush what it wrote to the disk and rename it.

    Raises RunError: the disk is full, or the folder is gone; what stood at `path` is untouched.
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
    """Write all of it to an unbuffered file; on a full disk what fits. Raises OSError."""
    left = memoryview(data)
    while left:  # on a full disk what fits is written, and the next call fails
        left = left[file.write(left) :]


def unfinished(folder: Path, names: str) -> Iterator[Path]:
    """Yield what `write_atomic` has left of files of the folder where its process was killed.

    names: a regular expression.
    """
    for path in folder.glob(".*.tmp"):
        if re.fullmatch(rf"\.({names})\.\d+\.tmp", path.name):
            yield path


def rename(path: Path, target: Path) -> None:
    """Give the file another name in its folder, for good. Raises OSError."""
    os.replace(path, target)
    note_written(target)
    flush_folder(target.parent)  # else a power cut could undo the renaming, but not what is deleted after it


def note_written(path: Path) -> None:
    """Count a file as this process's own, as `rename` does: an ended run of the same command had written it."""
    _written.add(os.path.abspath(path))


def written_below(folder: Path) -> list[Path]:
    """Return what this process has given its final name in the folder or below, and what is there still."""
    start = os.path.join(os.path.abspath(folder), "")
    return [folder / path[len(start) :] for path in _written if path.startswith(start) and os.path.exists(path)]


def flush_folder(folder: Path) -> None:
    """Return when the names of the folder's files are on the disk. Raises OSError."""
    if os.name != "nt":  # Windows cannot open folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_stream(path: str | os.PathLike, write: Callable[[TextIO], object]) -> None:
    """Call `write` on a text file, with `write_atomic`: UTF-8, and bytes of a path that are not stay as they are."""

    def write_file(temporary: Path) -> None:
        with open(temporary, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            write(file)

    write_atomic(path, write_file)


def write_text(path: str | os.PathLike, text: str) -> None:
    write_stream(path, lambda file: file.write(text))


def write_csv(path: str | os.PathLike, header: Iterable[object], rows: Iterable[Iterable[object]]) -> None:
    """Write a table with `write_stream`; of the rows it holds none."""

    def write(file: TextIO) -> None:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)

    write_stream(path, write)


def cache_folder() -> Path | None:
    """Return where what took time to make or fetch is kept for the next run; None: nowhere, for want of a home folder.

    Raises InputError where CACHE_VARIABLE names a home folder that there is not.
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
    """Return the cache folder, which the remote `path` cannot do without. Raises InputError where there is none."""
    if (root := cache_folder()) is None:
        off = os.environ.get(CACHE_VARIABLE) == "off"
        why = f"{CACHE_VARIABLE} is off" if off else f"there is no home folder, and {CACHE_VARIABLE} names none"
        raise InputError(f"{path}: needs a temporary folder on this machine, but {why}")
    return root


def check_save_dir(path: str) -> None:
    """Raise InputError unless files can be created in the folder, or in its nearest parent. Creates nothing there.

    Of a remote folder an empty object may remain, which marks it.
    """
    folder = written_to(path)
    with os_errors(InputError, f"--save_dir={path}: cannot be written"):
        if is_remote(path):
            check_writable(path)
        with suppress(FileNotFoundError, NotADirectoryError):  # to be made, if a parent allows it
            os.lstat(folder)
    # os.path: the methods of Path raise where a parent may not be searched.
    while not os.path.exists(folder) and folder != folder.parent:
        if os.path.islink(folder):
            raise InputError(f"--save_dir={path}: {folder} is a link to nowhere")
        folder = folder.parent
    if not os.path.isdir(folder):
        raise InputError(f"--save_dir={path}: {folder} is not a folder")
    with os_errors(InputError, f"--save_dir={path}: {folder} cannot be written"):
        tempfile.TemporaryFile(dir=folder).close()


def written_to(path: str) -> Path:
    """Return the folder that a script writes to, as `make_save_dir` has it; it need not be there."""
    if not is_remote(path):
        return Path(path)
    digest = hashlib.sha256(os.fsencode(extended(path, ""))).hexdigest()
    return needed_cache_folder(path) / "save_dirs" / digest[:32]


def make_save_dir(path: str) -> Path:
    """Return the folder to write to, created if need be; of a remote save_dir the local one in its place."""
    folder = written_to(path)
    with os_errors(InputError, f"--save_dir={path}: {f'{folder} ' if is_remote(path) else ''}cannot be created"):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def publish(folder: Path, path: str, clear: bool = True) -> str:
    """Return where the files of a script that has ended its work are; `folder` is what `make_save_dir(path)` gave.

    The files of a remote save_dir are uploaded, .jsonl the last, and the local folder is removed, if `clear`. Hidden
    files and those called *.partial* are not part of it.

    Raises RunError where that fails: the same command continues from the local folder.
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
                f"{url}: cannot be written: {error.strerror}; what it should hold is kept in {folder}, from where "
                "the same command goes on"
            ) from None
    if clear:
        shutil.rmtree(folder, ignore_errors=True)
    return path


def check_local(name: str, path: str) -> None:
    """Raise InputError for a remote path, given as `name`, where the work needs a folder on this machine."""
    if is_remote(path):
        raise InputError(f"{name}={path}: checkpoints are written to and read from local folders alone")
